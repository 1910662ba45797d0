#include "bind/parsers.h"

#include <cerrno>

#include "bind/define.h"
#include "parse/websocket.h"

namespace uvio {

namespace {

constexpr size_t kStateWords = sizeof(http1::State) / sizeof(int32_t);
constexpr size_t kMinWords = kStateWords + 4 * http1::kHeadWords;

napi_value ReturnInt(napi_env env, int32_t result) {
  napi_value out = nullptr;
  napi_create_int32(env, result, &out);
  return out;
}

}  // namespace

// http1Bind(words: Int32Array): 0 or -EINVAL. The memory must never be detached: it is private to
// the loop room.
napi_value Parsers::BindHttp1(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value;
  void* self = nullptr;
  napi_get_cb_info(env, info, &count, &value, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  void* data = nullptr;
  size_t words = 0;
  napi_typedarray_type type = napi_int8_array;
  if (count < 1 || parsers->words_ != nullptr ||
      napi_get_typedarray_info(env, value, &type, &words, &data, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array || words < kMinWords || data == nullptr ||
      napi_create_reference(env, value, 1, &parsers->words_) != napi_ok) {
    return ReturnInt(env, -EINVAL);
  }
  parsers->http1_ = static_cast<int32_t*>(data);
  parsers->http1_words_ = words;
  return ReturnInt(env, 0);
}

// http1Parse(bytes: Uint8Array, from, to): words of records, or -EINVAL.
napi_value Parsers::ParseHttp1(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value value[3];
  void* self = nullptr;
  napi_get_cb_info(env, info, &count, value, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  void* data = nullptr;
  size_t length = 0;
  int32_t from = 0;
  int32_t to = 0;
  if (count < 3 || parsers->http1_ == nullptr ||
      napi_get_typedarray_info(env, value[0], nullptr, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      napi_get_value_int32(env, value[1], &from) != napi_ok ||
      napi_get_value_int32(env, value[2], &to) != napi_ok || from < 0 || to < from ||
      static_cast<size_t>(to) > length) {
    return ReturnInt(env, -EINVAL);
  }
  auto* state = reinterpret_cast<http1::State*>(parsers->http1_);
  // A head that goes on began in this buffer.
  if (state->head_start < 0 || state->head_start > to) return ReturnInt(env, -EINVAL);
  const uint32_t words = http1::Parse(
      state, static_cast<const uint8_t*>(data), static_cast<uint32_t>(from),
      static_cast<uint32_t>(to), parsers->http1_ + kStateWords,
      static_cast<uint32_t>(parsers->http1_words_ - kStateWords), &parsers->targets_);
  return ReturnInt(env, static_cast<int32_t>(words));
}

// websocketMask(bytes: Uint8Array, key, phase): 0 or -EINVAL.
napi_value Parsers::MaskWebSocket(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value value[3];
  napi_get_cb_info(env, info, &count, value, nullptr, nullptr);
  void* data = nullptr;
  size_t length = 0;
  int32_t key = 0;
  uint32_t phase = 0;
  if (count < 3 ||
      napi_get_typedarray_info(env, value[0], nullptr, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      napi_get_value_int32(env, value[1], &key) != napi_ok ||
      napi_get_value_uint32(env, value[2], &phase) != napi_ok) {
    return ReturnInt(env, -EINVAL);
  }
  websocket::Mask(static_cast<uint8_t*>(data), length, static_cast<uint32_t>(key), phase);
  return ReturnInt(env, 0);
}

napi_status Parsers::Define(napi_env env, napi_value exports) {
  const Call calls[] = {{"http1Bind", BindHttp1}, {"http1Parse", ParseHttp1},
                        {"websocketMask", MaskWebSocket}};
  return DefineAll(env, exports, this, calls);
}

void Parsers::Dispose(napi_env env) {
  if (words_ != nullptr) napi_delete_reference(env, words_);
  words_ = nullptr;
  http1_ = nullptr;
}

}  // namespace uvio
