#include "tls/session.h"

#include <openssl/err.h>

#include <new>

namespace uvio::tls {

namespace {

// Replies (to key updates) without any data between them; 600 and more of them.
constexpr size_t kMaxReplies = 16 * 1024;

int AcceptAny(int, X509_STORE_CTX*) { return 1; }

void ClearErrors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// SSL_SESSION_is_resumable is false for one whose ticket has not come.
bool Resumable(const SSL_SESSION* session) {
  return session != nullptr && SSL_SESSION_is_resumable(session) != 0;
}

}  // namespace

// A TLSSocket on the same context leaves callbacks there which expect a TLSSocket behind each SSL.
class Session::Quiet {
 public:
  explicit Quiet(const Session* session) : context_(SSL_get_SSL_CTX(session->ssl_)) {
    fresh_ = SSL_CTX_sess_get_new_cb(context_);
    keylog_ = SSL_CTX_get_keylog_callback(context_);
    if (fresh_ != nullptr) SSL_CTX_sess_set_new_cb(context_, nullptr);
    if (keylog_ != nullptr) SSL_CTX_set_keylog_callback(context_, nullptr);
  }
  ~Quiet() {
    if (fresh_ != nullptr) SSL_CTX_sess_set_new_cb(context_, fresh_);
    if (keylog_ != nullptr) SSL_CTX_set_keylog_callback(context_, keylog_);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  bool shared() const { return fresh_ != nullptr; }

 private:
  SSL_CTX* context_;
  int (*fresh_)(SSL*, SSL_SESSION*);
  SSL_CTX_keylog_cb_func keylog_;
};

Session* Session::New(SSL_CTX* context, BIO_METHOD* method, const Settings& settings) {
  if (SSL_CTX_sess_get_new_cb(context) != nullptr) return nullptr;
  ClearErrors();
  auto* session = new (std::nothrow) Session();
  if (session == nullptr) return nullptr;
  session->ssl_ = SSL_new(context);
  BIO* bio = session->ssl_ == nullptr ? nullptr : session->wire_.NewBio(method);
  if (bio == nullptr) {
    delete session;
    return nullptr;
  }
  SSL_set_bio(session->ssl_, bio, bio);
  session->wire_.owner = session;
  if (!session->Configure(settings)) {
    delete session;
    session = nullptr;
  } else if (settings.is_server && !settings.alpn.empty()) {
    SSL_CTX_set_alpn_select_cb(context, OnAlpn, nullptr);
  }
  ClearErrors();
  return session;
}

bool Session::Configure(const Settings& settings) {
  is_server_ = settings.is_server;
  alpn_ = settings.alpn;
  SSL_set_options(ssl_, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // 34 KB less for a connection at rest.
  SSL_set_mode(ssl_, SSL_MODE_RELEASE_BUFFERS);
  // Read-ahead would hide from the wire where records begin.
  SSL_set_read_ahead(ssl_, 0);
  if (is_server_) {
    int mode = SSL_VERIFY_NONE;
    if (settings.request_cert) mode = SSL_VERIFY_PEER;
    if (settings.require_cert) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_set_verify(ssl_, mode, AcceptAny);
    SSL_set_accept_state(ssl_);
    return true;
  }
  // The result is asked for after the handshake: JavaScript decides.
  SSL_set_verify(ssl_, SSL_VERIFY_NONE, AcceptAny);
  SSL_set_connect_state(ssl_);
  if (!settings.servername.empty() &&
      SSL_set_tlsext_host_name(ssl_, settings.servername.c_str()) != 1) {
    return false;
  }
  const auto* names = reinterpret_cast<const uint8_t*>(alpn_.data());
  if (!alpn_.empty() &&
      SSL_set_alpn_protos(ssl_, names, static_cast<unsigned>(alpn_.size())) != 0) {
    return false;
  }
  if (!settings.session.empty()) {
    // One that cannot be read, or is of another context, is not used: a full handshake follows.
    const auto* der = reinterpret_cast<const uint8_t*>(settings.session.data());
    told_ = d2i_SSL_SESSION(nullptr, &der, static_cast<long>(settings.session.size()));
    if (told_ != nullptr) SSL_set_session(ssl_, told_);
  }
  return true;
}

Session::~Session() {
  ClearErrors();
  if (told_ != nullptr) SSL_SESSION_free(told_);
  // Without a shutdown SSL_free drops a session from the context's cache: here it was no mistake.
  if (ssl_ != nullptr && secure_ && !failed_) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN);
  SSL_free(ssl_);
  ClearErrors();
}

int Session::OnAlpn(SSL* ssl, const unsigned char** out, unsigned char* out_len,
                    const unsigned char* in, unsigned in_len, void*) {
  const Wire* wire = Wire::Of(SSL_get_rbio(ssl));
  if (wire == nullptr) return SSL_TLSEXT_ERR_NOACK;
  const std::string& own = static_cast<const Session*>(wire->owner)->alpn_;
  if (own.empty()) return SSL_TLSEXT_ERR_NOACK;
  const int found = SSL_select_next_proto(const_cast<unsigned char**>(out), out_len,
                                          reinterpret_cast<const unsigned char*>(own.data()),
                                          static_cast<unsigned>(own.size()), in, in_len);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

uint32_t Session::Standing() const {
  uint32_t events = 0;
  if (wire_.at_boundary() && SSL_pending(ssl_) == 0) events |= kWhole;
  if (spilled()) events |= kSpilled;
  return events;
}

uint32_t Session::Fail() {
  failed_ = true;
  const unsigned long first = ERR_peek_error();
  const char* library = ERR_lib_error_string(first);
  const char* reason = ERR_reason_error_string(first);
  failure_.library = library == nullptr ? "" : library;
  failure_.reason = reason == nullptr ? "" : reason;
  BIO* text = BIO_new(BIO_s_mem());
  if (text != nullptr) {
    ERR_print_errors(text);
    char* data = nullptr;
    const long length = BIO_get_mem_data(text, &data);
    if (length > 0) failure_.message.assign(data, static_cast<size_t>(length));
    BIO_free(text);
  }
  ERR_clear_error();
  return kFailed;
}

uint32_t Session::Judge(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      ended_ = true;
      return kEnd;
    default:
      return Fail();
  }
}

uint32_t Session::Handshake() {
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) return Judge(result);
  secure_ = true;
  return kSecure;
}

uint32_t Session::After(uint32_t events, size_t replied, size_t produced) {
  if (failed_) return events | Standing();
  if (!is_server_ && secure_) {
    SSL_SESSION* now = SSL_get_session(ssl_);
    if (now != told_ && Resumable(now)) {
      if (told_ != nullptr) SSL_SESSION_free(told_);
      told_ = SSL_get1_session(ssl_);
      events |= kSession;
    }
  }
  if (secure_ && (events & kSecure) == 0) {
    replied_ = produced > 0 ? replied : replied_ + replied;
    if (replied_ > kMaxReplies) {
      ERR_raise(ERR_LIB_SSL, SSL_R_TOO_MANY_KEY_UPDATES);
      events |= Fail();
    }
  }
  return events | Standing();
}

uint32_t Session::Start(Output* output) {
  if (is_server_ || failed_) return Standing();
  const Quiet quiet(this);
  ClearErrors();
  wire_.Begin(nullptr, 0, output);
  const uint32_t events = Handshake();
  wire_.End();
  return events | Standing();
}

uint32_t Session::Feed(uint8_t* data, size_t len, Output* output, size_t* consumed,
                       size_t* produced) {
  *produced = 0;
  *consumed = len;
  if (failed_ || ended_) return Standing();
  if (!secure_ || !wire_.at_boundary() || SSL_pending(ssl_) > 0) {
    return FeedInto(data, len, nullptr, 0, output, consumed, produced);
  }
  const Quiet quiet(this);
  ClearErrors();
  wire_.Begin(data, len, output);
  const size_t before = output->used;
  uint32_t events = 0;
  while (events == 0 && (wire_.in_left() > 0 || SSL_pending(ssl_) > 0)) {
    // Plaintext is shorter than the record it comes in, and that has been taken by then.
    uint8_t none;
    uint8_t* to = data + *produced;
    size_t room = wire_.in_at() - *produced;
    if (SSL_pending(ssl_) == 0) {
      const size_t record = wire_.WholeRecord();
      room += record;
      // A partial record gives no plaintext: OpenSSL only takes it.
      if (record == 0) to = &none, room = 1;
    }
    size_t done = 0;
    const int result = SSL_read_ex(ssl_, to, room, &done);
    if (result != 1) {
      events = Judge(result);
      break;
    }
    *produced += done;
  }
  *consumed = events == 0 ? wire_.in_at() : len;
  wire_.End();
  return After(events, output->used - before, *produced);
}

uint32_t Session::FeedInto(const uint8_t* data, size_t len, uint8_t* to, size_t room,
                           Output* output, size_t* consumed, size_t* produced) {
  *produced = 0;
  *consumed = len;
  if (failed_ || ended_) return Standing();
  const Quiet quiet(this);
  ClearErrors();
  wire_.Begin(data, len, output);
  const size_t before = output->used;
  uint32_t events = 0;
  if (!secure_) {
    if (quiet.shared()) {
      ERR_raise(ERR_LIB_SSL, ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED);
      events = Fail();
    } else {
      events = Handshake();
    }
  } else {
    while (*produced < room) {
      size_t done = 0;
      const int result = SSL_read_ex(ssl_, to + *produced, room - *produced, &done);
      if (result != 1) {
        events = Judge(result);
        break;
      }
      *produced += done;
      if (wire_.at_boundary() && SSL_pending(ssl_) == 0) break;
    }
    if (SSL_pending(ssl_) > 0) events |= kPending;
  }
  if ((events & (kEnd | kFailed)) == 0) *consumed = wire_.in_at();
  wire_.End();
  return After(events, output->used - before, *produced);
}

uint32_t Session::Write(const uint8_t* data, size_t len, Output* output) {
  if (failed_ || shut_ || !secure_ || len == 0) return Standing();
  const Quiet quiet(this);
  ClearErrors();
  wire_.Begin(nullptr, 0, output);
  size_t done = 0;
  const uint32_t events = SSL_write_ex(ssl_, data, len, &done) == 1 ? 0 : Fail();
  wire_.End();
  return events | Standing();
}

uint32_t Session::Shutdown(Output* output) {
  if (failed_ || shut_ || !secure_) return Standing();
  shut_ = true;
  const Quiet quiet(this);
  ClearErrors();
  wire_.Begin(nullptr, 0, output);
  const uint32_t events = SSL_shutdown(ssl_) < 0 ? Fail() : 0;
  wire_.End();
  return events | Standing();
}

}  // namespace uvio::tls
