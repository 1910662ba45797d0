// Owner: none.
// Lifetime: of a call.
// Thread: any.
// Re-entrancy: a pure function over bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace uvio::websocket {

// The masking of RFC 6455 5.3, which is its own reverse. `key` holds the four bytes of the key, the
// first one lowest; `phase` bytes of the payload came before.
void Mask(uint8_t* bytes, size_t length, uint32_t key, uint32_t phase);

}  // namespace uvio::websocket
