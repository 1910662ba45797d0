// Names for functions: what the addons put on their binding objects.
// Owner: nobody; there is no state.
// Lifetime: of the call.
// Thread: the environment's thread.
// Re-entrancy: does not enter JavaScript's code.
#pragma once

#include <napi.h>

#include <cstddef>

namespace uvio {

struct Call {
  const char* name;
  napi_callback function;
};

// `data` is what each function gets from napi_get_cb_info.
template <size_t kCount>
napi_status DefineAll(napi_env env, napi_value object, void* data, const Call (&calls)[kCount]) {
  for (const Call& call : calls) {
    napi_value function;
    napi_status status = napi_create_function(env, call.name, NAPI_AUTO_LENGTH, call.function,
                                              data, &function);
    if (status == napi_ok) status = napi_set_named_property(env, object, call.name, function);
    if (status != napi_ok) return status;
  }
  return napi_ok;
}

}  // namespace uvio
