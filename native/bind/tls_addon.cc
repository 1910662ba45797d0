#include "bind/tls_addon.h"

#include <openssl/crypto.h>

#include <new>

namespace uvio::tls {

napi_value TlsAddon::Init(napi_env env, napi_value exports) {
  // Another major version would have other structures behind the same names.
  if (OpenSSL_version_num() >> 28 != 3) {
    napi_throw_error(env, "ERR_UVIO_NATIVE", "the process does not run on OpenSSL 3");
    return nullptr;
  }
  auto* addon = new (std::nothrow) TlsAddon(env);
  if (addon != nullptr) addon->method_ = Wire::NewMethod();
  if (addon == nullptr || addon->method_ == nullptr) {
    if (addon != nullptr) addon->Release();
    napi_throw_error(env, "ERR_UVIO_NATIVE", "out of memory");
    return nullptr;
  }
  const auto release = [](napi_env, void* data, void*) {
    auto* ending = static_cast<TlsAddon*>(data);
    ending->words_ = nullptr;
    ending->output_ = Output();
    ending->Release();
  };
  if (napi_set_instance_data(env, addon, release, nullptr) != napi_ok) {
    addon->Release();
    return nullptr;
  }
  return DefineTlsCalls(env, exports, addon) == napi_ok ? exports : nullptr;
}

TlsAddon::~TlsAddon() {
  if (method_ != nullptr) BIO_meth_free(method_);
}

bool TlsAddon::Hold(napi_ref* slot, napi_value value) {
  napi_ref fresh = nullptr;
  if (napi_create_reference(env_, value, 1, &fresh) != napi_ok) return false;
  if (*slot != nullptr) napi_delete_reference(env_, *slot);
  *slot = fresh;
  return true;
}

// Both are memory that never leaves lib/loop/native, so nobody can detach it.
bool TlsAddon::Setup(napi_value words) {
  void* data = nullptr;
  size_t length = 0;
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env_, words, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array || length < kWords || !Hold(&words_ref_, words)) {
    return false;
  }
  words_ = static_cast<int32_t*>(data);
  return true;
}

bool TlsAddon::SetOutput(napi_value memory) {
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(env_, memory, nullptr, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      !Hold(&output_ref_, memory)) {
    return false;
  }
  output_ = {static_cast<uint8_t*>(data), length, 0};
  return true;
}

}  // namespace uvio::tls

NAPI_MODULE_INIT() { return uvio::tls::TlsAddon::Init(env, exports); }
