// uvio_tls.node: what JavaScript can ask of native/tls. An addon of its own, because a process
// without these symbols of OpenSSL must still be able to load the loop.
//
// Owner: the environment (instance data) and, one reference each, the sessions.
// Lifetime: until the environment ends and the last session was finalized.
// Thread: the environment's thread.
// Re-entrancy: no call enters JavaScript.
#pragma once

#define NAPI_VERSION 9
#include <napi.h>

#include "tls/session.h"

namespace uvio::tls {

// What the shared words hold after each operation; lib/loop/native/tls-binding.ts reads them.
enum Word { kEventsWord, kConsumedWord, kOutputWord, kWords };

class TlsAddon {
 public:
  static napi_value Init(napi_env env, napi_value exports);

  BIO_METHOD* method() const { return method_; }
  Output* output() { return &output_; }
  // setup(words: Int32Array): where results of operations go.
  bool Setup(napi_value words);
  // setOutput(memory: Uint8Array): where ciphertext goes from now on.
  bool SetOutput(napi_value memory);
  // Before and after an operation.
  Output* Begin() {
    output_.used = 0;
    return &output_;
  }
  void Report(uint32_t events, size_t consumed) {
    if (words_ == nullptr) return;
    words_[kEventsWord] = static_cast<int32_t>(events);
    words_[kConsumedWord] = static_cast<int32_t>(consumed);
    words_[kOutputWord] = static_cast<int32_t>(output_.used);
  }

  void Retain() { references_ += 1; }
  void Release() {
    if (--references_ == 0) delete this;
  }

 private:
  explicit TlsAddon(napi_env env) : env_(env) {}
  ~TlsAddon();
  bool Hold(napi_ref* slot, napi_value value);

  napi_env env_;
  BIO_METHOD* method_ = nullptr;
  Output output_;
  int32_t* words_ = nullptr;
  napi_ref words_ref_ = nullptr;
  napi_ref output_ref_ = nullptr;
  size_t references_ = 1;
};

// tls_calls.cc: one function for each name on the binding object.
napi_status DefineTlsCalls(napi_env env, napi_value exports, TlsAddon* addon);

}  // namespace uvio::tls
