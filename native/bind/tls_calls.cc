#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <uv.h>

#include <new>
#include <string>
#include <vector>

#include "bind/define.h"
#include "bind/tls_addon.h"

// Results are integers, and the shared words; strings, certificates and errors are asked for by
// calls of their own. JavaScript passes the right types: others give 0 or null.

namespace uvio::tls {

namespace {

constexpr size_t kMaxArgs = 8;

// What the External of JavaScript holds.
struct Box {
  TlsAddon* addon;
  Session* session;
};

struct Args {
  napi_env env;
  napi_value value[kMaxArgs];
  TlsAddon* addon = nullptr;

  Args(napi_env e, napi_callback_info info) : env(e) {
    size_t count = kMaxArgs;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, value, nullptr, &data);
    addon = static_cast<TlsAddon*>(data);
  }
  // The session of the first argument; null after destroy().
  Session* session() const {
    void* box = nullptr;
    if (napi_get_value_external(env, value[0], &box) != napi_ok) return nullptr;
    return static_cast<Box*>(box)->session;
  }
  int64_t Number(int i) const {
    int64_t out = 0;
    napi_get_value_int64(env, value[i], &out);
    return out;
  }
  bool Bool(int i) const {
    bool out = false;
    napi_get_value_bool(env, value[i], &out);
    return out;
  }
  // Bytes from `at` on; false when there are none of this kind.
  bool Bytes(int i, int64_t at, uint8_t** data, size_t* length) const {
    void* start = nullptr;
    if (napi_get_typedarray_info(env, value[i], nullptr, length, &start, nullptr, nullptr) !=
            napi_ok ||
        at < 0 || static_cast<size_t>(at) > *length) {
      return false;
    }
    *data = static_cast<uint8_t*>(start) + at;
    *length -= static_cast<size_t>(at);
    return start != nullptr;
  }
  // A Uint8Array as a string; empty for anything else.
  std::string Memory(int i) const {
    uint8_t* data = nullptr;
    size_t length = 0;
    if (!Bytes(i, 0, &data, &length)) return "";
    return std::string(reinterpret_cast<char*>(data), length);
  }
  std::string Text(int i) const {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, value[i], nullptr, 0, &length) != napi_ok) return "";
    std::string text(length, '\0');
    napi_get_value_string_utf8(env, value[i], text.data(), length + 1, &length);
    return text;
  }
  napi_value Int(size_t result) const {
    napi_value out = nullptr;
    napi_create_int32(env, static_cast<int32_t>(result), &out);
    return out;
  }
  napi_value Null() const {
    napi_value out = nullptr;
    napi_get_null(env, &out);
    return out;
  }
  napi_value String(const char* text, size_t length = NAPI_AUTO_LENGTH) const {
    napi_value out = nullptr;
    if (text == nullptr || napi_create_string_utf8(env, text, length, &out) != napi_ok) {
      return Null();
    }
    return out;
  }
  napi_value Buffer(const void* data, size_t length) const {
    napi_value out = nullptr;
    if (napi_create_buffer_copy(env, length, data, nullptr, &out) != napi_ok) return Null();
    return out;
  }
  napi_value List(std::initializer_list<napi_value> values) const {
    napi_value out = nullptr;
    napi_create_array_with_length(env, values.size(), &out);
    uint32_t index = 0;
    for (napi_value item : values) napi_set_element(env, out, index++, item);
    return out;
  }
};

napi_value Setup(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.Int(args.addon->Setup(args.value[0]) ? 1 : 0);
}

napi_value SetOutput(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.Int(args.addon->SetOutput(args.value[0]) ? 1 : 0);
}

// dlsym() through libuv: its own would need a newer libc than Node does.
void* OfProcess(const char* name) {
  uv_lib_t process{};
  process.handle = RTLD_DEFAULT;
  void* found = nullptr;
  if (uv_dlsym(&process, name, &found) != 0) found = nullptr;
  process.handle = nullptr;  // so that only the error's text is freed
  uv_dlclose(&process);
  return found;
}

// The pointer in an External that Node made itself. Node-API cannot tell: its own externals hold a
// wrapper, which it would look for here, too. The symbols are looked up, because V8 changed the
// second one's parameters; a napi_value is what V8 passes as `this`.
void* RawExternal(napi_value value) {
  using Plain = void* (*)(const void*);
  using Tagged = void* (*)(const void*, uint16_t);
  if (void* plain = OfProcess("_ZNK2v88External5ValueEv")) {
    return reinterpret_cast<Plain>(plain)(value);
  }
  if (void* tagged = OfProcess("_ZNK2v88External5ValueEt")) {
    return reinterpret_cast<Tagged>(tagged)(value, 0);
  }
  return nullptr;
}

// Null unless it is a context as tls.createSecureContext() makes it by default.
SSL_CTX* ContextOf(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external) return nullptr;
  auto* context = static_cast<SSL_CTX*>(RawExternal(value));
  if (context == nullptr) return nullptr;
  return SSL_CTX_get_ssl_method(context) == TLS_method() ? context : nullptr;
}

void Destroy(Box* box) {
  delete box->session;
  box->session = nullptr;
}

void Finalize(napi_env, void* data, void*) {
  auto* box = static_cast<Box*>(data);
  Destroy(box);
  box->addon->Release();
  delete box;
}

// open(context, isServer, alpn, servername, session, requestCert, requireCert): External or null.
napi_value Open(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  SSL_CTX* context = ContextOf(env, args.value[0]);
  if (context == nullptr) return args.Null();
  Settings settings;
  settings.is_server = args.Bool(1);
  settings.alpn = args.Memory(2);
  settings.servername = args.Text(3);
  settings.session = args.Memory(4);
  settings.request_cert = args.Bool(5);
  settings.require_cert = args.Bool(6);
  Session* session = Session::New(context, args.addon->method(), settings);
  if (session == nullptr) return args.Null();
  auto* box = new (std::nothrow) Box{args.addon, session};
  napi_value out = nullptr;
  if (box == nullptr || napi_create_external(env, box, Finalize, nullptr, &out) != napi_ok) {
    delete session;
    delete box;
    return args.Null();
  }
  args.addon->Retain();
  return out;
}

napi_value Close(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  void* box = nullptr;
  if (napi_get_value_external(env, args.value[0], &box) == napi_ok) Destroy(static_cast<Box*>(box));
  return nullptr;
}

napi_value Start(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Session* session = args.session();
  if (session != nullptr) args.addon->Report(session->Start(args.addon->Begin()), 0);
  return nullptr;
}

// feed(session, chunk, at): bytes of plaintext, which begin at `at` in the chunk.
napi_value Feed(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Session* session = args.session();
  uint8_t* data = nullptr;
  size_t length = 0, consumed = 0, produced = 0;
  if (session == nullptr) return args.Int(0);
  const bool there = args.Bytes(1, args.Number(2), &data, &length);
  const uint32_t events =
      session->Feed(data, there ? length : 0, args.addon->Begin(), &consumed, &produced);
  args.addon->Report(events, consumed);
  return args.Int(produced);
}

// feedInto(session, chunk, at, into, intoAt): bytes of plaintext.
napi_value FeedInto(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Session* session = args.session();
  uint8_t* data = nullptr;
  uint8_t* into = nullptr;
  size_t length = 0, room = 0, consumed = 0, produced = 0;
  if (session == nullptr || !args.Bytes(3, args.Number(4), &into, &room)) return args.Int(0);
  const bool there = args.Bytes(1, args.Number(2), &data, &length);
  const uint32_t events = session->FeedInto(data, there ? length : 0, into, room,
                                            args.addon->Begin(), &consumed, &produced);
  args.addon->Report(events, consumed);
  return args.Int(produced);
}

// write(session, data, at, end)
napi_value Write(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Session* session = args.session();
  const int64_t at = args.Number(2);
  const int64_t end = args.Number(3);
  uint8_t* data = nullptr;
  size_t length = 0;
  if (session == nullptr || !args.Bytes(1, at, &data, &length)) return nullptr;
  const size_t wanted = end > at ? static_cast<size_t>(end - at) : 0;
  if (wanted < length) length = wanted;
  args.addon->Report(session->Write(data, length, args.addon->Begin()), 0);
  return nullptr;
}

napi_value Shutdown(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Session* session = args.session();
  if (session != nullptr) args.addon->Report(session->Shutdown(args.addon->Begin()), 0);
  return nullptr;
}

// After kSpilled: the next part of the ciphertext.
napi_value Drain(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Session* session = args.session();
  if (session == nullptr) return nullptr;
  session->Drain(args.addon->Begin());
  const uint32_t spilled = kSpilled;
  args.addon->Report(session->spilled() ? spilled : 0, 0);
  return nullptr;
}

// failure(session): [message, library, reason]
napi_value FailureOf(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const Session* session = args.session();
  if (session == nullptr) return args.Null();
  const Failure& failure = session->failure();
  return args.List({args.String(failure.message.c_str()), args.String(failure.library.c_str()),
                    args.String(failure.reason.c_str())});
}

// state(session): [protocol, cipher, alpn | null, servername | null, reused]
napi_value State(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const Session* session = args.session();
  if (session == nullptr) return args.Null();
  SSL* ssl = session->ssl();
  const unsigned char* alpn = nullptr;
  unsigned alpn_length = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &alpn_length);
  return args.List({args.String(SSL_get_version(ssl)), args.String(SSL_get_cipher_name(ssl)),
                    args.String(reinterpret_cast<const char*>(alpn), alpn_length),
                    args.String(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)),
                    args.Int(SSL_session_reused(ssl) ? 1 : 0)});
}

// verify(session): [code, reason], null when the chain is trusted.
napi_value Verify(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const Session* session = args.session();
  if (session == nullptr) return args.Null();
  const long result = VerifyResult(session->ssl());
  if (result == X509_V_OK) return args.Null();
  return args.List({args.String(VerifyCodeName(result)),
                    args.String(X509_verify_cert_error_string(result))});
}

napi_value Certificate(const Args& args, X509* certificate) {
  uint8_t* der = nullptr;
  const int length = i2d_X509(certificate, &der);
  if (length <= 0) return args.Null();
  napi_value out = args.Buffer(der, static_cast<size_t>(length));
  OPENSSL_free(der);
  return out;
}

// Leaf first, each followed by its issuer, as far as the peer sent them or the store has them.
std::vector<X509*> ChainOf(SSL* ssl) {
  std::vector<X509*> chain;
  X509* leaf = SSL_get1_peer_certificate(ssl);
  if (leaf == nullptr) return chain;
  chain.push_back(leaf);
  STACK_OF(X509)* sent = SSL_get_peer_cert_chain(ssl);
  constexpr size_t kMaxDepth = 100;
  X509_STORE_CTX* lookup = X509_STORE_CTX_new();
  X509_STORE* store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
  if (lookup != nullptr && X509_STORE_CTX_init(lookup, store, nullptr, nullptr) != 1) {
    X509_STORE_CTX_free(lookup);
    lookup = nullptr;
  }
  while (chain.size() < kMaxDepth) {
    X509* last = chain.back();
    if (X509_check_issued(last, last) == X509_V_OK) break;
    X509* issuer = nullptr;
    for (int i = 0; issuer == nullptr && i < sk_X509_num(sent); i += 1) {
      X509* candidate = sk_X509_value(sent, i);
      if (X509_check_issued(candidate, last) != X509_V_OK) continue;
      X509_up_ref(candidate);
      issuer = candidate;
    }
    if (issuer == nullptr && lookup != nullptr) {
      X509_STORE_CTX_get1_issuer(&issuer, lookup, last);
    }
    if (issuer == nullptr) break;
    chain.push_back(issuer);
  }
  X509_STORE_CTX_free(lookup);
  return chain;
}

// certificates(session, chain): [DER of the leaf, of its issuer, …, whether the last one issued
// itself]; null without a certificate.
napi_value Certificates(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const Session* session = args.session();
  if (session == nullptr) return args.Null();
  SSL* ssl = session->ssl();
  if (!args.Bool(1)) {
    X509* leaf = SSL_get0_peer_certificate(ssl);
    return leaf == nullptr ? args.Null() : args.List({Certificate(args, leaf)});
  }
  const std::vector<X509*> chain = ChainOf(ssl);
  if (chain.empty()) return args.Null();
  napi_value out = args.List({});
  uint32_t index = 0;
  for (X509* certificate : chain) {
    napi_set_element(env, out, index++, Certificate(args, certificate));
  }
  X509* last = chain.back();
  const bool closed = X509_check_issued(last, last) == X509_V_OK;
  napi_set_element(env, out, index, args.Int(closed ? 1 : 0));
  for (X509* certificate : chain) X509_free(certificate);
  ERR_clear_error();
  return out;
}

// session(session): DER for TlsStart.session.
napi_value SessionOf(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const Session* session = args.session();
  if (session == nullptr) return args.Null();
  const SSL_SESSION* now = SSL_get_session(session->ssl());
  const int length = now == nullptr ? 0 : i2d_SSL_SESSION(now, nullptr);
  if (length <= 0) return args.Null();
  std::string der(static_cast<size_t>(length), '\0');
  auto* to = reinterpret_cast<uint8_t*>(der.data());
  i2d_SSL_SESSION(now, &to);
  return args.Buffer(der.data(), der.size());
}

// exportKey(session, bytes, label, context | undefined): null when OpenSSL refuses.
napi_value ExportKey(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const Session* session = args.session();
  const int64_t bytes = args.Number(1);
  if (session == nullptr || bytes <= 0) return args.Null();
  const std::string label = args.Text(2);
  const std::string context = args.Memory(3);
  napi_valuetype type = napi_undefined;
  napi_typeof(env, args.value[3], &type);
  std::vector<uint8_t> out(static_cast<size_t>(bytes));
  const int done = SSL_export_keying_material(
      session->ssl(), out.data(), out.size(), label.data(), label.size(),
      reinterpret_cast<const uint8_t*>(context.data()), context.size(), type == napi_object);
  ERR_clear_error();
  return done == 1 ? args.Buffer(out.data(), out.size()) : args.Null();
}

napi_value Version(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  return args.String(OpenSSL_version(OPENSSL_VERSION_STRING));
}

constexpr Call kCalls[] = {
    {"setup", Setup},       {"setOutput", SetOutput}, {"open", Open},
    {"close", Close},       {"start", Start},         {"feed", Feed},
    {"feedInto", FeedInto}, {"write", Write},         {"shutdown", Shutdown},
    {"drain", Drain},       {"failure", FailureOf},   {"state", State},
    {"verify", Verify},     {"session", SessionOf},   {"certificates", Certificates},
    {"exportKey", ExportKey}, {"version", Version},
};

}  // namespace

napi_status DefineTlsCalls(napi_env env, napi_value exports, TlsAddon* addon) {
  return DefineAll(env, exports, addon, kCalls);
}

}  // namespace uvio::tls
