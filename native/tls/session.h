// One TLS connection without a socket: ciphertext in, plaintext out, and the other way round.
//
// Owner: the JavaScript object that made it; Destroy() or a finalizer ends it.
// Lifetime: holds its SSL, and by it a reference to the SSL_CTX that Node made.
// Thread: the environment's thread; OpenSSL's error queue is that thread's and is left empty.
// Re-entrancy: OpenSSL calls back into the Wire and OnAlpn only; neither enters JavaScript.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "tls/wire.h"

namespace uvio::tls {

// What an operation leaves to be told, as bits; lib/loop/native/tls.ts names the same.
enum Event : uint32_t {
  kSecure = 1,    // the handshake is done; the rest of the input was not looked at yet
  kEnd = 2,       // close_notify came
  kFailed = 4,    // see failure()
  kPending = 8,   // more plaintext is there than had room
  kWhole = 16,    // no part of a record is held: the next Feed may work in place
  kSession = 32,  // a new session can be asked for
  kSpilled = 64,  // more ciphertext waits: Drain
};

struct Failure {
  std::string message, library, reason;
};

struct Settings {
  bool is_server = false;
  // As on the wire; empty: no ALPN.
  std::string alpn;
  // Client: for SNI.
  std::string servername;
  // Client: DER of a session to be resumed.
  std::string session;
  // Server
  bool request_cert = false;
  bool require_cert = false;
};

class Session {
 public:
  // Null when the context is in use by node:tls, whose callbacks would take our SSL for theirs;
  // or without memory.
  static Session* New(SSL_CTX* context, BIO_METHOD* method, const Settings& settings);
  ~Session();

  // A client's hello.
  uint32_t Start(Output* output);
  // Decrypts whole records in place: plaintext goes to `data`, where it needs less room than its
  // ciphertext. Only after kWhole. Partial records at the end are taken, too.
  uint32_t Feed(uint8_t* data, size_t len, Output* output, size_t* consumed, size_t* produced);
  // Decrypts into memory of its own until kWhole; while the handshake goes on, just that.
  uint32_t FeedInto(const uint8_t* data, size_t len, uint8_t* to, size_t room, Output* output,
                    size_t* consumed, size_t* produced);
  uint32_t Write(const uint8_t* data, size_t len, Output* output);
  // close_notify.
  uint32_t Shutdown(Output* output);
  void Drain(Output* output) { wire_.Drain(output); }
  bool spilled() const { return wire_.spilled() > 0; }

  SSL* ssl() const { return ssl_; }
  const Failure& failure() const { return failure_; }

 private:
  class Quiet;
  Session() = default;
  bool Configure(const Settings& settings);
  static int OnAlpn(SSL* ssl, const unsigned char** out, unsigned char* out_len,
                    const unsigned char* in, unsigned in_len, void*);
  uint32_t Handshake();
  // After a call of OpenSSL that did not succeed: 0 when it only needs more input.
  uint32_t Judge(int result);
  uint32_t Fail();
  // After reading: tickets, replies without end.
  uint32_t After(uint32_t events, size_t replied, size_t produced);
  uint32_t Standing() const;

  SSL* ssl_ = nullptr;
  Wire wire_;
  std::string alpn_;
  // The session that was told of last.
  SSL_SESSION* told_ = nullptr;
  Failure failure_;
  size_t replied_ = 0;
  bool is_server_ = false;
  bool secure_ = false;
  bool ended_ = false;
  bool failed_ = false;
  bool shut_ = false;
};

// Node's name of a verification result, "UNABLE_TO_VERIFY_LEAF_SIGNATURE" and so on.
const char* VerifyCodeName(long code);
// The result for the peer's certificate; also when it sent none, as Node answers.
long VerifyResult(const SSL* ssl);

}  // namespace uvio::tls
