// Owner: the environment (napi_set_instance_data); itself owns the hub.
// Lifetime: from module load to Hub's OnDisposed, which deletes it. Not by a JavaScript finalizer.
// Thread: the environment's thread.
// Re-entrancy: Enter is the only way into JavaScript.
#pragma once

#define NAPI_VERSION 9
#include <napi.h>

#include "bind/parsers.h"
#include "core/hub.h"

namespace uvio {

class Addon final : public HubHost {
 public:
  Addon(napi_env env, uv_loop_t* loop) : env_(env), hub_(loop, this) {}
  static napi_value Init(napi_env env, napi_value exports);

  Hub* hub() { return &hub_; }
  // setup(shared: Uint8Array, dispatch: (records: number) => void, clockOffsetMs: number)
  napi_status Setup(napi_value shared, napi_value dispatch, double clock_offset_ms);
  napi_status SetChunk(bool bulk, napi_value chunk);

  void Enter(int records) override;
  Chunk GetChunk(bool bulk) override;
  void OnDisposed() override;

 private:
  ~Addon() = default;
  static void OnCleanup(napi_async_cleanup_hook_handle handle, void* arg);
  void ReportException();

  napi_env env_;
  Hub hub_;
  Parsers parsers_;
  napi_ref shared_ = nullptr;
  napi_ref dispatch_ = nullptr;
  napi_ref chunks_[2] = {nullptr, nullptr};
  napi_async_context context_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
};

// calls.cc: one function for each name on the binding object.
napi_status DefineCalls(napi_env env, napi_value exports, Addon* addon);

}  // namespace uvio
