// Owner: the addon.
// Lifetime: of the addon; the words that JavaScript gave are held by a reference.
// Thread: the environment's thread.
// Re-entrancy: none of its calls enters JavaScript.
#pragma once

#define NAPI_VERSION 9
#include <napi.h>

#include <memory>

#include "parse/http1.h"
#include "parse/postgres.h"

namespace uvio {

// The parsers of native/parse, over bytes of any origin.
class Parsers {
 public:
  napi_status Define(napi_env env, napi_value exports);
  void Dispose(napi_env env);

 private:
  static napi_value BindHttp1(napi_env env, napi_callback_info info);
  static napi_value ParseHttp1(napi_env env, napi_callback_info info);
  static napi_value MaskWebSocket(napi_env env, napi_callback_info info);
  static napi_value BindPostgres(napi_env env, napi_callback_info info);
  static napi_value ReadPostgresTexts(napi_env env, napi_callback_info info);
  static napi_value TakePostgresWide(napi_env env, napi_callback_info info);
  static napi_value TakePostgresJson(napi_env env, napi_callback_info info);
  static napi_value CopyPostgres(napi_env env, napi_callback_info info);

  // State and, behind it, records: see lib/http/native-records.ts.
  napi_ref words_ = nullptr;
  int32_t* http1_ = nullptr;
  size_t http1_words_ = 0;
  http1::TargetTable targets_ = {};
  // Where a call stopped and two more figures, then marks: see lib/postgres/rows.ts.
  napi_ref marks_ref_ = nullptr;
  int32_t* marks_ = nullptr;
  size_t marks_words_ = 0;
  std::unique_ptr<postgres::Window> window_;
};

}  // namespace uvio
