// The bytes that are sent, and expected back: an endless stream per connection.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace load {

// A random table is repeated for ever; each connection starts somewhere else in it. The period is
// a prime near 64 KiB, so that data which is displaced by a buffer's size never fits by chance.
// Any window of kWindowBytes is contiguous: sending and checking need no copy.
class Pattern {
 public:
  static constexpr uint64_t kPeriod = 65521;
  static constexpr uint64_t kWindowBytes = 256 * 1024;

  Pattern() : bytes_(kPeriod + kWindowBytes) {
    uint64_t state = 0x9e3779b97f4a7c15;
    for (uint64_t i = 0; i < kPeriod; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      bytes_[i] = static_cast<uint8_t>(state >> 32);
    }
    for (uint64_t i = kPeriod; i < bytes_.size(); ++i) bytes_[i] = bytes_[i - kPeriod];
  }

  // kWindowBytes of the stream of connection `id`, from `offset` on.
  const uint8_t* At(uint64_t id, uint64_t offset) const {
    return bytes_.data() + (id * 7919 + offset) % kPeriod;
  }

  // How many of the `len` bytes are right (all of them: `len`). `len` <= kWindowBytes.
  uint64_t Match(uint64_t id, uint64_t offset, const uint8_t* data, uint64_t len) const {
    const uint8_t* expected = At(id, offset);
    if (std::memcmp(expected, data, len) == 0) return len;
    uint64_t i = 0;
    while (expected[i] == data[i]) ++i;
    return i;
  }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace load
