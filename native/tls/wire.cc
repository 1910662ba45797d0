#include "tls/wire.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace uvio::tls {

namespace {

// Tells our BIOs from others.
constexpr char kName[] = "uvio wire";
constexpr int kType = BIO_TYPE_SOURCE_SINK | 0x75;
constexpr size_t kHeader = 5;
// More than any handshake flight, with certificate lists of the size that OpenSSL accepts.
constexpr size_t kMaxSpill = 1 << 20;

size_t BodyLength(const uint8_t* header) { return static_cast<size_t>(header[3]) << 8 | header[4]; }

int OnCreate(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

}  // namespace

BIO_METHOD* Wire::NewMethod() {
  BIO_METHOD* method = BIO_meth_new(kType, kName);
  if (method == nullptr) return nullptr;
  BIO_meth_set_create(method, OnCreate);
  BIO_meth_set_read_ex(method, OnRead);
  BIO_meth_set_write_ex(method, OnWrite);
  BIO_meth_set_ctrl(method, OnControl);
  return method;
}

Wire* Wire::Of(BIO* bio) {
  if (bio == nullptr || std::strcmp(BIO_method_name(bio), kName) != 0) return nullptr;
  return static_cast<Wire*>(BIO_get_data(bio));
}

BIO* Wire::NewBio(BIO_METHOD* method) {
  BIO* bio = BIO_new(method);
  if (bio != nullptr) BIO_set_data(bio, this);
  return bio;
}

Wire::~Wire() { std::free(spill_); }

size_t Wire::WholeRecord() const {
  if (in_left() < kHeader) return 0;
  const size_t length = kHeader + BodyLength(in_ + in_at_);
  return length <= in_left() ? length : 0;
}

void Wire::Follow(const uint8_t* data, size_t len) {
  while (len > 0) {
    size_t step;
    if (body_left_ > 0) {
      step = std::min(len, body_left_);
      body_left_ -= step;
    } else {
      step = std::min(len, kHeader - header_len_);
      std::memcpy(header_ + header_len_, data, step);
      header_len_ += step;
      if (header_len_ == kHeader) {
        body_left_ = BodyLength(header_);
        header_len_ = 0;
      }
    }
    data += step;
    len -= step;
  }
}

int Wire::OnRead(BIO* bio, char* to, size_t len, size_t* done) {
  auto* wire = static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *done = std::min(len, wire->in_left());
  if (*done == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  const uint8_t* from = wire->in_ + wire->in_at_;
  std::memcpy(to, from, *done);
  wire->Follow(from, *done);
  wire->in_at_ += *done;
  return 1;
}

int Wire::OnWrite(BIO* bio, const char* from, size_t len, size_t* done) {
  auto* wire = static_cast<Wire*>(BIO_get_data(bio));
  const auto* data = reinterpret_cast<const uint8_t*>(from);
  Output* output = wire->output_;
  BIO_clear_retry_flags(bio);
  *done = len;
  size_t room = 0;
  if (output != nullptr && wire->spilled() == 0) {
    room = std::min(len, output->capacity - output->used);
    std::memcpy(output->data + output->used, data, room);
    output->used += room;
  }
  return room == len || wire->Spill(data + room, len - room) ? 1 : -1;
}

long Wire::OnControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

bool Wire::Spill(const uint8_t* data, size_t len) {
  const size_t wanted = spill_len_ + len;
  if (wanted > kMaxSpill) return false;
  if (wanted > spill_capacity_) {
    const size_t capacity = std::max(wanted, spill_capacity_ * 2);
    void* fresh = std::realloc(spill_, capacity);
    if (fresh == nullptr) return false;
    spill_ = static_cast<uint8_t*>(fresh);
    spill_capacity_ = capacity;
  }
  std::memcpy(spill_ + spill_len_, data, len);
  spill_len_ = wanted;
  return true;
}

void Wire::Drain(Output* output) {
  const size_t step = std::min(spilled(), output->capacity - output->used);
  if (step > 0) std::memcpy(output->data + output->used, spill_ + spill_at_, step);
  output->used += step;
  spill_at_ += step;
  if (spilled() > 0) return;
  std::free(spill_);
  spill_ = nullptr;
  spill_at_ = spill_len_ = spill_capacity_ = 0;
}

}  // namespace uvio::tls
