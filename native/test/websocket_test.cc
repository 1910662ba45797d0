#include "parse/websocket.h"

#include <cstdint>
#include <vector>

#include "test/check.h"

namespace {

uint32_t Random(uint32_t* state) {
  *state = *state * 1664525 + 1013904223;
  return *state >> 8;
}

// Each block has its own place on the heap, so that a look beyond its end is seen by ASan.
TEST(masks_every_length_phase_and_place) {
  uint32_t state = 7;
  for (uint32_t length = 0; length <= 200; ++length) {
    for (uint32_t phase = 0; phase < 5; ++phase) {
      for (uint32_t offset = 0; offset < 8; ++offset) {
        const uint32_t key = Random(&state) << 8 | (Random(&state) & 0xff);
        std::vector<uint8_t> block(offset + length);
        for (uint8_t& byte : block) byte = static_cast<uint8_t>(Random(&state));
        std::vector<uint8_t> wanted = block;
        for (uint32_t i = 0; i < length; ++i) {
          wanted[offset + i] ^= static_cast<uint8_t>(key >> ((i + phase) % 4 * 8));
        }
        uvio::websocket::Mask(block.data() + offset, length, key, phase);
        CHECK(block == wanted);
      }
    }
  }
}

// A payload that comes in pieces is masked as it is whole.
TEST(masks_pieces_as_the_whole) {
  uint32_t state = 11;
  for (int round = 0; round < 2'000; ++round) {
    const uint32_t key = Random(&state) * 257;
    std::vector<uint8_t> whole(Random(&state) % 500);
    for (uint8_t& byte : whole) byte = static_cast<uint8_t>(Random(&state));
    std::vector<uint8_t> pieces = whole;
    uvio::websocket::Mask(whole.data(), whole.size(), key, 0);
    for (size_t at = 0; at < pieces.size();) {
      const size_t left = pieces.size() - at;
      const size_t some = 1 + Random(&state) % left;
      uvio::websocket::Mask(pieces.data() + at, some, key, static_cast<uint32_t>(at));
      at += some;
    }
    CHECK(pieces == whole);
  }
}

}  // namespace
