#include "parse/websocket.h"

#include <bit>
#include <cstring>

namespace uvio::websocket {

namespace {

// Four words a step: what compilers make two vectors of.
constexpr size_t kStepBytes = 32;

// Bytes of a word in the order of memory, whatever the machine's.
uint32_t InMemoryOrder(uint32_t key) {
  if constexpr (std::endian::native == std::endian::little) return key;
  return ((key & 0xff) << 24) | ((key & 0xff00) << 8) | ((key >> 8) & 0xff00) | (key >> 24);
}

}  // namespace

void Mask(uint8_t* bytes, size_t length, uint32_t key, uint32_t phase) {
  const uint32_t word = std::rotr(key, static_cast<int>((phase & 3) * 8));
  const uint64_t half = InMemoryOrder(word);
  const uint64_t wide = half << 32 | half;
  size_t at = 0;
  for (; at + kStepBytes <= length; at += kStepBytes) {
    uint64_t block[4];
    std::memcpy(block, bytes + at, kStepBytes);
    for (uint64_t& part : block) part ^= wide;
    std::memcpy(bytes + at, block, kStepBytes);
  }
  for (; at < length; ++at) bytes[at] ^= static_cast<uint8_t>(word >> ((at & 3) * 8));
}

}  // namespace uvio::websocket
