#include "bind/parsers.h"

#include <cerrno>

#include "bind/define.h"
#include "parse/websocket.h"

namespace uvio {

namespace {

constexpr size_t kStateWords = sizeof(http1::State) / sizeof(int32_t);
constexpr size_t kMinWords = kStateWords + 4 * http1::kHeadWords;

// In front of the marks of PostgreSQL.
constexpr size_t kAnswerWords = 3;

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

bool ReadBytes(napi_env env, napi_value value, Bytes* out) {
  void* data = nullptr;
  napi_typedarray_type type = napi_int8_array;
  if (napi_get_typedarray_info(env, value, &type, &out->length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != napi_uint8_array) {
    return false;
  }
  out->data = static_cast<uint8_t*>(data);
  return true;
}

// Three arguments: bytes, and from where to where in them.
bool ReadRange(napi_env env, const napi_value* value, Bytes* bytes, size_t* from, size_t* to) {
  int32_t first = 0;
  int32_t last = 0;
  if (!ReadBytes(env, value[0], bytes) ||
      napi_get_value_int32(env, value[1], &first) != napi_ok ||
      napi_get_value_int32(env, value[2], &last) != napi_ok || first < 0 || last < first ||
      static_cast<size_t>(last) > bytes->length) {
    return false;
  }
  *from = static_cast<size_t>(first);
  *to = static_cast<size_t>(last);
  return true;
}

struct Words {
  int32_t* data = nullptr;
  size_t length = 0;
};

// Keeps an Int32Array of at least `least` words alive, once.
bool KeepWords(napi_env env, napi_value value, size_t least, napi_ref* ref, Words* out) {
  void* data = nullptr;
  napi_typedarray_type type = napi_int8_array;
  if (*ref != nullptr ||
      napi_get_typedarray_info(env, value, &type, &out->length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != napi_int32_array || out->length < least || data == nullptr ||
      napi_create_reference(env, value, 1, ref) != napi_ok) {
    return false;
  }
  out->data = static_cast<int32_t*>(data);
  return true;
}

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
  Words words;
  if (count < 1 || !KeepWords(env, value, kMinWords, &parsers->words_, &words)) {
    return ReturnInt(env, -EINVAL);
  }
  parsers->http1_ = words.data;
  parsers->http1_words_ = words.length;
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

// postgresBind(marks: Int32Array): 0 or -EINVAL. The memory must never be detached.
napi_value Parsers::BindPostgres(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value;
  void* self = nullptr;
  napi_get_cb_info(env, info, &count, &value, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  Words words;
  if (count < 1 || !KeepWords(env, value, kAnswerWords, &parsers->marks_ref_, &words)) {
    return ReturnInt(env, -EINVAL);
  }
  parsers->marks_ = words.data;
  parsers->marks_words_ = words.length;
  parsers->window_ = std::make_unique_for_overwrite<postgres::Window>();
  parsers->window_->used.wide = 0;
  parsers->window_->used.json_count = 0;
  return ReturnInt(env, 0);
}

// postgresTexts(bytes, from, to, kinds: Uint8Array): the string of all ASCII fields, or -EINVAL.
// The first word: where it stopped; the second: code units of the other fields; the
// third: documents of JSON; then marks.
napi_value Parsers::ReadPostgresTexts(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value value[4];
  void* self = nullptr;
  napi_get_cb_info(env, info, &count, value, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  Bytes bytes;
  Bytes kinds;
  size_t from = 0;
  size_t to = 0;
  if (count < 4 || parsers->marks_ == nullptr || !ReadRange(env, value, &bytes, &from, &to) ||
      !ReadBytes(env, value[3], &kinds)) {
    return ReturnInt(env, -EINVAL);
  }
  int32_t* marks = parsers->marks_;
  postgres::Window* window = parsers->window_.get();
  const size_t stop =
      postgres::ReadTexts(bytes.data, from, to, kinds.data, kinds.length, window,
                          marks + kAnswerWords, parsers->marks_words_ - kAnswerWords);
  marks[0] = static_cast<int32_t>(stop);
  marks[1] = static_cast<int32_t>(window->used.wide);
  marks[2] = static_cast<int32_t>(window->used.json_count);
  napi_value text = nullptr;
  napi_create_string_latin1(env, reinterpret_cast<const char*>(window->narrow),
                            window->used.narrow, &text);
  return text;
}

// postgresWide(): the string of all fields of the last call that are not ASCII.
napi_value Parsers::TakePostgresWide(napi_env env, napi_callback_info info) {
  void* self = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  if (parsers->window_ == nullptr) return ReturnInt(env, -EINVAL);
  const postgres::Window& window = *parsers->window_;
  napi_value text = nullptr;
  napi_create_string_utf16(env, window.wide, window.used.wide, &text);
  return text;
}

// postgresJson(): the array of the last call's documents.
napi_value Parsers::TakePostgresJson(napi_env env, napi_callback_info info) {
  void* self = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  if (parsers->window_ == nullptr) return ReturnInt(env, -EINVAL);
  const postgres::Window& window = *parsers->window_;
  const size_t length = window.used.json_count > 0 ? window.used.json : 0;
  napi_value text = nullptr;
  napi_create_string_latin1(env, reinterpret_cast<const char*>(window.json), length, &text);
  return text;
}

// postgresCopy(bytes, from, to, target: Uint8Array, at): 0 or -EINVAL. The first word: where it
// stopped; the second: where it stopped in `target`.
napi_value Parsers::CopyPostgres(napi_env env, napi_callback_info info) {
  size_t count = 5;
  napi_value value[5];
  void* self = nullptr;
  napi_get_cb_info(env, info, &count, value, nullptr, &self);
  auto* parsers = static_cast<Parsers*>(self);
  Bytes bytes;
  Bytes target;
  size_t from = 0;
  size_t to = 0;
  int32_t at = 0;
  if (count < 5 || parsers->marks_ == nullptr || !ReadRange(env, value, &bytes, &from, &to) ||
      !ReadBytes(env, value[3], &target) ||
      napi_get_value_int32(env, value[4], &at) != napi_ok || at < 0 ||
      static_cast<size_t>(at) > target.length) {
    return ReturnInt(env, -EINVAL);
  }
  const size_t begin = static_cast<size_t>(at);
  const postgres::Copied copied =
      postgres::CopyPayloads(bytes.data, from, to, target.data + begin, target.length - begin);
  parsers->marks_[0] = static_cast<int32_t>(copied.stop);
  parsers->marks_[1] = static_cast<int32_t>(begin + copied.filled);
  return ReturnInt(env, 0);
}

napi_status Parsers::Define(napi_env env, napi_value exports) {
  const Call calls[] = {{"http1Bind", BindHttp1}, {"http1Parse", ParseHttp1},
                        {"websocketMask", MaskWebSocket},
                        {"postgresBind", BindPostgres},
                        {"postgresTexts", ReadPostgresTexts},
                        {"postgresWide", TakePostgresWide},
                        {"postgresJson", TakePostgresJson},
                        {"postgresCopy", CopyPostgres}};
  return DefineAll(env, exports, this, calls);
}

void Parsers::Dispose(napi_env env) {
  if (words_ != nullptr) napi_delete_reference(env, words_);
  words_ = nullptr;
  http1_ = nullptr;
  if (marks_ref_ != nullptr) napi_delete_reference(env, marks_ref_);
  marks_ref_ = nullptr;
  marks_ = nullptr;
}

}  // namespace uvio
