#include "tls/session.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstring>
#include <string>

#include "test/check.h"

using uvio::tls::Output;
using uvio::tls::Session;
using uvio::tls::Settings;

namespace {

constexpr char kAlpn[] = "\x02h2\x08http/1.1";

BIO_METHOD* Method() {
  static BIO_METHOD* method = uvio::tls::Wire::NewMethod();
  return method;
}

// A server's context with a certificate that it made itself, and a client's.
struct Contexts {
  SSL_CTX* server = SSL_CTX_new(TLS_method());
  SSL_CTX* client = SSL_CTX_new(TLS_method());

  explicit Contexts(int version = TLS1_3_VERSION) {
    EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    const auto* text = reinterpret_cast<const unsigned char*>("test");
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_sign(certificate, key, EVP_sha256());
    CHECK_EQ(SSL_CTX_use_certificate(server, certificate), 1);
    CHECK_EQ(SSL_CTX_use_PrivateKey(server, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    SSL_CTX_set_max_proto_version(server, version);
  }
  ~Contexts() {
    SSL_CTX_free(server);
    SSL_CTX_free(client);
  }
};

// An engine as lib/loop/native/tls.ts drives it.
struct Engine {
  Session* session;
  std::string sent, plain;
  size_t cut;
  uint32_t seen = 0;
  bool whole = true, pending = false;

  Engine(SSL_CTX* context, Settings settings, size_t cut_bytes = 1 << 20)
      : session(Session::New(context, Method(), settings)), cut(cut_bytes) {
    CHECK(session != nullptr);
  }
  ~Engine() { delete session; }

  // A small output, so that handshakes spill.
  void Collect(const Output& output, uint32_t events) {
    sent.append(reinterpret_cast<char*>(output.data), output.used);
    while ((events & uvio::tls::kSpilled) != 0) {
      uint8_t memory[100];
      Output more = {memory, sizeof(memory), 0};
      session->Drain(&more);
      sent.append(reinterpret_cast<char*>(memory), more.used);
      if (!session->spilled()) break;
    }
    seen |= events;
    whole = (events & uvio::tls::kWhole) != 0;
    pending = (events & uvio::tls::kPending) != 0;
  }
  void Start() {
    uint8_t memory[64];
    Output output = {memory, sizeof(memory), 0};
    const uint32_t events = session->Start(&output);
    Collect(output, events);
  }
  void Write(const std::string& text) {
    uint8_t memory[64];
    Output output = {memory, sizeof(memory), 0};
    const auto* data = reinterpret_cast<const uint8_t*>(text.data());
    const uint32_t events = session->Write(data, text.size(), &output);
    Collect(output, events);
  }
  void Shutdown() {
    uint8_t memory[64];
    Output output = {memory, sizeof(memory), 0};
    const uint32_t events = session->Shutdown(&output);
    Collect(output, events);
  }
  void Feed(const std::string& text) {
    for (size_t at = 0; at < text.size(); at += cut) FeedChunk(text.substr(at, cut));
  }
  // The chunk is on the heap, exactly as long as it says: sanitizers see every step beyond.
  void FeedChunk(const std::string& text) {
    auto* data = new uint8_t[text.size()];
    std::memcpy(data, text.data(), text.size());
    size_t at = 0;
    while (at < text.size() || pending) {
      uint8_t memory[64];
      uint8_t into[700];
      Output output = {memory, sizeof(memory), 0};
      size_t consumed = 0, produced = 0;
      const uint8_t* from = data + at;
      uint32_t events;
      if (whole) {
        events = session->Feed(data + at, text.size() - at, &output, &consumed, &produced);
      } else {
        from = into;
        events = session->FeedInto(data + at, text.size() - at, into, sizeof(into), &output,
                                   &consumed, &produced);
      }
      plain.append(reinterpret_cast<const char*>(from), produced);
      CHECK(consumed <= text.size() - at);
      CHECK(consumed > 0 || produced > 0 || pending);
      at += consumed;
      Collect(output, events);
      if ((events & (uvio::tls::kFailed | uvio::tls::kEnd)) != 0) break;
    }
    delete[] data;
  }
  std::string Take() {
    std::string out;
    out.swap(sent);
    return out;
  }
  bool Saw(uint32_t event) const { return (seen & event) != 0; }
};

Settings Server() {
  Settings settings;
  settings.is_server = true;
  return settings;
}

void Pump(Engine* a, Engine* b) {
  for (int i = 0; i < 50 && !(a->sent.empty() && b->sent.empty()); ++i) {
    b->Feed(a->Take());
    a->Feed(b->Take());
  }
}

void Handshake(Engine* client, Engine* server) {
  client->Start();
  Pump(client, server);
  CHECK(client->Saw(uvio::tls::kSecure));
  CHECK(server->Saw(uvio::tls::kSecure));
}

std::string Pattern(size_t length) {
  std::string text(length, '\0');
  for (size_t i = 0; i < length; ++i) text[i] = static_cast<char>(i * 31 + (i >> 8));
  return text;
}

}  // namespace

TEST(every_split_of_the_ciphertext_gives_the_same_plaintext) {
  const std::string up = Pattern(40000);
  const std::string down = Pattern(777);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Contexts contexts(version);
    for (const size_t cut : {1, 2, 3, 5, 6, 17, 100, 1000, 4096, 16406, 70000}) {
      Engine client(contexts.client, Settings(), cut);
      Engine server(contexts.server, Server(), cut);
      Handshake(&client, &server);
      CHECK_EQ(SSL_version(client.session->ssl()), version);
      client.Write(up);
      server.Write(down);
      server.Write(up);
      client.Write(down);
      Pump(&client, &server);
      CHECK(server.plain == up + down);
      CHECK(client.plain == down + up);
      client.Shutdown();
      Pump(&client, &server);
      CHECK(server.Saw(uvio::tls::kEnd));
      // The other half stays open.
      server.Write("late");
      Pump(&client, &server);
      CHECK_EQ(client.plain.substr(client.plain.size() - 4), "late");
      CHECK(!client.Saw(uvio::tls::kFailed) && !server.Saw(uvio::tls::kFailed));
    }
  }
}

TEST(the_two_sides_of_every_cut_of_one_flight) {
  const Contexts contexts;
  Engine client(contexts.client, Settings());
  Engine server(contexts.server, Server());
  Handshake(&client, &server);
  // Three records, cut in two at every byte: in place before, into other memory behind.
  for (size_t at = 0; at <= 150; ++at) {
    client.Write(Pattern(40));
    client.Write(Pattern(1));
    client.Write(Pattern(20));
    const std::string flight = client.Take();
    server.plain.clear();
    server.Feed(flight.substr(0, at));
    if (at < flight.size()) server.Feed(flight.substr(at));
    CHECK(server.plain == Pattern(40) + Pattern(1) + Pattern(20));
  }
}

TEST(application_data_behind_the_handshake_waits_for_the_next_feed) {
  const Contexts contexts;
  Engine client(contexts.client, Settings());
  Engine server(contexts.server, Server());
  client.Start();
  server.Feed(client.Take());
  client.Feed(server.Take());
  CHECK(client.Saw(uvio::tls::kSecure));
  client.Write("hello");
  std::string flight = client.Take();
  uint8_t memory[8192];
  Output output = {memory, sizeof(memory), 0};
  size_t consumed = 0, produced = 0;
  auto* data = reinterpret_cast<uint8_t*>(flight.data());
  uint32_t events = server.session->Feed(data, flight.size(), &output, &consumed, &produced);
  CHECK((events & uvio::tls::kSecure) != 0);
  CHECK_EQ(produced, 0u);
  CHECK(consumed < flight.size());
  size_t rest = 0;
  events = server.session->Feed(data + consumed, flight.size() - consumed, &output, &rest,
                                &produced);
  CHECK_EQ(std::string(flight, consumed, produced), "hello");
}

TEST(garbage_fails_with_the_reason_of_openssl_and_an_alert) {
  const Contexts contexts;
  for (const char* garbage : {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff garbage",
                              "\x80\x2e\x01\x00\x02 an old hello of SSL 2"}) {
    Engine server(contexts.server, Server());
    std::string text(garbage);
    text.resize(70000, 'x');
    server.Feed(text);
    CHECK(server.Saw(uvio::tls::kFailed));
    CHECK(!server.session->failure().reason.empty());
    CHECK_EQ(server.session->failure().library, "SSL routines");
    CHECK(server.session->failure().message.find("error:") != std::string::npos);
    CHECK_EQ(ERR_peek_error(), 0u);
    // Whatever comes later has no effect.
    server.seen = 0;
    server.Feed("more");
    server.Write("more");
    CHECK(!server.Saw(uvio::tls::kFailed));
  }
}

TEST(each_flipped_byte_of_a_record_fails) {
  const Contexts contexts;
  for (size_t at = 0; at < 30; ++at) {
    Engine client(contexts.client, Settings());
    Engine server(contexts.server, Server());
    Handshake(&client, &server);
    client.Write("0123456789");
    std::string record = client.Take();
    if (at >= record.size()) break;
    // A longer length waits for what never comes; that is for the next test.
    if (at == 3 || at == 4) continue;
    record[at] = static_cast<char>(record[at] ^ 0x41);
    server.Feed(record);
    CHECK(server.plain.empty());
    CHECK(server.Saw(uvio::tls::kFailed));
    CHECK(!server.sent.empty());
  }
}

TEST(a_truncated_record_gives_nothing_and_a_record_too_long_fails) {
  const Contexts contexts;
  Engine client(contexts.client, Settings());
  Engine server(contexts.server, Server());
  Handshake(&client, &server);
  client.Write("0123456789");
  const std::string record = client.Take();
  server.Feed(record.substr(0, record.size() - 1));
  CHECK(server.plain.empty());
  CHECK(!server.Saw(uvio::tls::kFailed | uvio::tls::kEnd));
  server.Feed(record.substr(record.size() - 1));
  CHECK_EQ(server.plain, "0123456789");

  std::string oversized("\x17\x03\x03\xff\xff", 5);
  oversized.resize(5 + 65535, 'x');
  server.seen = 0;
  server.Feed(oversized);
  CHECK(server.Saw(uvio::tls::kFailed));
  CHECK_EQ(server.plain, "0123456789");
}

TEST(key_updates_are_answered_but_not_without_end) {
  const Contexts contexts;
  Engine client(contexts.client, Settings());
  Engine server(contexts.server, Server());
  Handshake(&client, &server);
  for (int i = 0; i < 50; ++i) {
    CHECK_EQ(SSL_key_update(client.session->ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    client.Write("x");
    Pump(&client, &server);
    CHECK_EQ(server.plain.size(), static_cast<size_t>(i + 1));
  }
  server.Write("y");
  Pump(&client, &server);
  CHECK_EQ(client.plain, "y");
  int sent = 0;
  for (; sent < 5000 && !server.Saw(uvio::tls::kFailed); ++sent) {
    SSL_key_update(client.session->ssl(), SSL_KEY_UPDATE_REQUESTED);
    uint8_t memory[256];
    Output output = {memory, sizeof(memory), 0};
    client.session->Start(&output);  // SSL_do_handshake sends it, and no data with it
    client.Collect(output, 0);
    server.Feed(client.Take());
    server.Take();
  }
  CHECK(sent > 100);
  CHECK(server.Saw(uvio::tls::kFailed));
  CHECK_EQ(server.session->failure().reason, "too many key updates");
}

TEST(a_client_of_tls_1_2_cannot_renegotiate) {
  const Contexts contexts(TLS1_2_VERSION);
  Engine client(contexts.client, Settings());
  Engine server(contexts.server, Server());
  Handshake(&client, &server);
  SSL_clear_options(client.session->ssl(), SSL_OP_NO_RENEGOTIATION);
  CHECK_EQ(SSL_renegotiate(client.session->ssl()), 1);
  client.Write("x");
  server.Feed(client.Take());
  client.Feed(server.Take());
  // The server answers no_renegotiation, which this client takes for the end.
  CHECK(client.Saw(uvio::tls::kFailed));
}

TEST(names_are_agreed_on_or_the_handshake_fails) {
  const Contexts contexts;
  Settings offer;
  offer.alpn = "\x08http/1.1";
  offer.servername = "name.test";
  Settings choice = Server();
  choice.alpn = kAlpn;
  {
    Engine client(contexts.client, offer);
    Engine server(contexts.server, choice);
    Handshake(&client, &server);
    const unsigned char* name = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(server.session->ssl(), &name, &length);
    CHECK_EQ(std::string(reinterpret_cast<const char*>(name), length), "http/1.1");
    CHECK(std::strcmp(SSL_get_servername(server.session->ssl(), TLSEXT_NAMETYPE_host_name),
                      "name.test") == 0);
  }
  offer.alpn = "\x03xyz";
  Engine client(contexts.client, offer);
  Engine server(contexts.server, choice);
  client.Start();
  Pump(&client, &server);
  CHECK(server.Saw(uvio::tls::kFailed));
  CHECK(client.Saw(uvio::tls::kFailed));
  CHECK(client.session->failure().reason.find("no application protocol") != std::string::npos);
}

TEST(a_session_is_told_and_resumes) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Contexts contexts(version);
    Settings resumed;
    {
      Engine client(contexts.client, Settings());
      Engine server(contexts.server, Server());
      Handshake(&client, &server);
      CHECK(client.Saw(uvio::tls::kSession));
      SSL_SESSION* session = SSL_get_session(client.session->ssl());
      uint8_t* der = nullptr;
      const int length = i2d_SSL_SESSION(session, &der);
      resumed.session.assign(reinterpret_cast<char*>(der), static_cast<size_t>(length));
      OPENSSL_free(der);
    }
    Engine client(contexts.client, resumed);
    Engine server(contexts.server, Server());
    Handshake(&client, &server);
    CHECK_EQ(SSL_session_reused(client.session->ssl()), 1);
    // Garbage is as good as none.
    Settings garbage;
    garbage.session = "garbage";
    Engine third(contexts.client, garbage);
    Engine fourth(contexts.server, Server());
    Handshake(&third, &fourth);
    CHECK_EQ(SSL_session_reused(third.session->ssl()), 0);
  }
}

TEST(what_is_known_of_the_peer) {
  const Contexts contexts;
  Engine client(contexts.client, Settings());
  Engine server(contexts.server, Server());
  Handshake(&client, &server);
  const long result = uvio::tls::VerifyResult(client.session->ssl());
  CHECK_EQ(std::string(uvio::tls::VerifyCodeName(result)), "DEPTH_ZERO_SELF_SIGNED_CERT");
  const long none = uvio::tls::VerifyResult(server.session->ssl());
  CHECK_EQ(std::string(uvio::tls::VerifyCodeName(none)), "UNSPECIFIED");

  Settings strict = Server();
  strict.request_cert = strict.require_cert = true;
  Engine second(contexts.client, Settings());
  Engine demanding(contexts.server, strict);
  second.Start();
  Pump(&second, &demanding);
  CHECK(demanding.Saw(uvio::tls::kFailed));
  CHECK_EQ(demanding.session->failure().reason, "peer did not return a certificate");
}

TEST(a_context_with_callbacks_of_others_is_left_to_them) {
  const Contexts contexts;
  Engine early(contexts.server, Server());
  Engine client(contexts.client, Settings());
  SSL_CTX_sess_set_new_cb(contexts.server, [](SSL*, SSL_SESSION*) {
    CHECK(false);
    return 0;
  });
  CHECK(Session::New(contexts.server, Method(), Server()) == nullptr);
  client.Start();
  Pump(&client, &early);
  CHECK(early.Saw(uvio::tls::kFailed));
  CHECK(SSL_CTX_sess_get_new_cb(contexts.server) != nullptr);
}
