// The memory between OpenSSL and whoever moves the ciphertext: no socket, no copy on the way in.
//
// Owner: a Session has one Wire; the environment has the Output that all its sessions fill.
// Lifetime: the input is borrowed for one operation; the spill is freed with the Wire.
// Thread: the environment's thread.
// Re-entrancy: called by OpenSSL only; calls nothing outside.
#pragma once

#include <openssl/bio.h>

#include <cstddef>
#include <cstdint>

namespace uvio::tls {

// Where ciphertext is put; JavaScript sends it after each operation.
struct Output {
  uint8_t* data = nullptr;
  size_t capacity = 0;
  size_t used = 0;
};

class Wire {
 public:
  Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  ~Wire();

  // The method that all wires of an environment share; freed with BIO_meth_free.
  static BIO_METHOD* NewMethod();
  // The wire behind a BIO, null for a BIO of somebody else.
  static Wire* Of(BIO* bio);
  // What SSL_set_bio takes; null without memory.
  BIO* NewBio(BIO_METHOD* method);

  void Begin(const uint8_t* data, size_t len, Output* output) {
    in_ = data;
    in_len_ = len;
    in_at_ = 0;
    output_ = output;
  }
  void End() { in_ = nullptr, in_len_ = in_at_ = 0, output_ = nullptr; }

  size_t in_at() const { return in_at_; }
  size_t in_left() const { return in_len_ - in_at_; }
  // Length of the record that begins at the input's position, 0 unless all of it is there.
  size_t WholeRecord() const;
  // OpenSSL holds no part of a record.
  bool at_boundary() const { return header_len_ == 0 && body_left_ == 0; }

  // What did not fit into the output.
  size_t spilled() const { return spill_len_ - spill_at_; }
  void Drain(Output* output);

  // For whoever has the BIO only: OpenSSL's callbacks.
  void* owner = nullptr;

 private:
  static int OnRead(BIO* bio, char* to, size_t len, size_t* done);
  static int OnWrite(BIO* bio, const char* from, size_t len, size_t* done);
  static long OnControl(BIO* bio, int command, long number, void* pointer);
  void Follow(const uint8_t* data, size_t len);
  bool Spill(const uint8_t* data, size_t len);

  const uint8_t* in_ = nullptr;
  size_t in_len_ = 0;
  size_t in_at_ = 0;
  Output* output_ = nullptr;
  uint8_t* spill_ = nullptr;
  size_t spill_at_ = 0, spill_len_ = 0, spill_capacity_ = 0;
  // Where in a record the input is.
  uint8_t header_[5] = {};
  size_t header_len_ = 0;
  size_t body_left_ = 0;
};

}  // namespace uvio::tls
