#include "bind/addon.h"

#include <new>

namespace uvio {

napi_value Addon::Init(napi_env env, napi_value exports) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    napi_throw_error(env, "ERR_UVIO_NATIVE", "the environment has no libuv loop");
    return nullptr;
  }
  auto* addon = new (std::nothrow) Addon(env, loop);
  if (addon == nullptr || addon->hub_.Open() != 0) {
    // Nothing was started: there is nothing to close.
    delete addon;
    napi_throw_error(env, "ERR_UVIO_NATIVE", "the native loop could not be opened");
    return nullptr;
  }
  // Without a hook a worker's exit aborts the process: its loop would have open handles. And it
  // must be the asynchronous one: Node unloads the library after a worker's clean-up, so the close
  // callbacks have to be over by then.
  napi_add_async_cleanup_hook(env, OnCleanup, addon, &addon->hook_);
  napi_set_instance_data(env, addon, nullptr, nullptr);
  if (DefineCalls(env, exports, addon) != napi_ok) return nullptr;
  if (addon->parsers_.Define(env, exports) != napi_ok) return nullptr;
  return exports;
}

void Addon::OnCleanup(napi_async_cleanup_hook_handle, void* arg) {
  auto* addon = static_cast<Addon*>(arg);
  for (napi_ref ref : {addon->shared_, addon->dispatch_, addon->chunks_[0], addon->chunks_[1]}) {
    if (ref != nullptr) napi_delete_reference(addon->env_, ref);
  }
  addon->dispatch_ = nullptr;
  addon->parsers_.Dispose(addon->env_);
  if (addon->context_ != nullptr) napi_async_destroy(addon->env_, addon->context_);
  addon->hub_.Dispose();
}

void Addon::OnDisposed() {
  napi_remove_async_cleanup_hook(hook_);
  delete this;
}

napi_status Addon::Setup(napi_value shared, napi_value dispatch, double clock_offset_ms) {
  void* data = nullptr;
  size_t length = 0;
  napi_status status =
      napi_get_typedarray_info(env_, shared, nullptr, &length, &data, nullptr, nullptr);
  if (status != napi_ok) return status;
  if (length < kSharedBytes || shared_ != nullptr) return napi_invalid_arg;
  napi_value name;
  status = napi_create_string_utf8(env_, "uvio", NAPI_AUTO_LENGTH, &name);
  if (status == napi_ok) status = napi_async_init(env_, nullptr, name, &context_);
  if (status == napi_ok) status = napi_create_reference(env_, dispatch, 1, &dispatch_);
  if (status == napi_ok) status = napi_create_reference(env_, shared, 1, &shared_);
  if (status == napi_ok) hub_.Map(static_cast<uint8_t*>(data), clock_offset_ms);
  return status;
}

napi_status Addon::SetChunk(bool bulk, napi_value chunk) {
  napi_ref* slot = &chunks_[bulk ? 1 : 0];
  napi_ref fresh = nullptr;
  const napi_status status = napi_create_reference(env_, chunk, 1, &fresh);
  if (status != napi_ok) return status;
  if (*slot != nullptr) napi_delete_reference(env_, *slot);
  *slot = fresh;
  return napi_ok;
}

// The pointer is asked for anew in each turn: user code can detach the buffer at any time.
Chunk Addon::GetChunk(bool bulk) {
  Chunk chunk;
  const napi_ref ref = chunks_[bulk ? 1 : 0];
  if (ref == nullptr) return chunk;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return chunk;
  napi_value value = nullptr;
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_reference_value(env_, ref, &value) == napi_ok && value != nullptr &&
      napi_get_typedarray_info(env_, value, nullptr, &length, &data, nullptr, nullptr) == napi_ok &&
      data != nullptr) {
    chunk = {static_cast<uint8_t*>(data), length};
  }
  napi_close_handle_scope(env_, scope);
  return chunk;
}

void Addon::Enter(int records) {
  if (dispatch_ == nullptr) return;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return;
  napi_value dispatch, receiver, count;
  if (napi_get_reference_value(env_, dispatch_, &dispatch) == napi_ok &&
      napi_get_global(env_, &receiver) == napi_ok &&
      napi_create_int32(env_, records, &count) == napi_ok) {
    const napi_status status =
        napi_make_callback(env_, context_, receiver, dispatch, 1, &count, nullptr);
    if (status == napi_pending_exception) ReportException();
  }
  napi_close_handle_scope(env_, scope);
}

// The dispatcher catches what handlers throw; what arrives here came from a microtask or tick.
void Addon::ReportException() {
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env_, &error) == napi_ok && error != nullptr) {
    napi_fatal_exception(env_, error);
  }
}

}  // namespace uvio

NAPI_MODULE_INIT() { return uvio::Addon::Init(env, exports); }
