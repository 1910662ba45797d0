// Owner: none.
// Lifetime: of a call.
// Thread: any.
// Re-entrancy: pure functions over bytes.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Character classes and scans of HTTP/1.
namespace uvio::http1 {

constexpr uint8_t kTokenClass = 1;
constexpr uint8_t kHexClass = 2;
constexpr uint8_t kHostClass = 4;

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> table{};
  const auto mark = [&table](const char* text, uint8_t bit) {
    for (; *text != 0; ++text) table[static_cast<uint8_t>(*text)] |= bit;
  };
  for (int c = '0'; c <= '9'; ++c) table[c] |= kTokenClass | kHexClass | kHostClass;
  for (int c = 'a'; c <= 'z'; ++c) table[c] |= kTokenClass | kHostClass;
  for (int c = 'A'; c <= 'Z'; ++c) table[c] |= kTokenClass | kHostClass;
  mark("abcdefABCDEF", kHexClass);
  mark("!#$%&'*+-.^_`|~", kTokenClass);
  mark("-._~!$&'()*+,;=", kHostClass);
  return table;
}
inline constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

inline bool IsToken(uint8_t c) { return (kClasses[c] & kTokenClass) != 0; }
inline bool IsHex(uint8_t c) { return (kClasses[c] & kHexClass) != 0; }
inline bool IsDigit(uint8_t c) { return c >= '0' && c <= '9'; }
inline bool IsBlank(uint8_t c) { return c == ' ' || c == '\t'; }
inline bool IsVisible(uint8_t c) { return c > 0x20 && c < 0x7f; }
// Field content: visible, blank, or beyond ASCII.
inline bool IsContent(uint8_t c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; }

inline uint32_t SkipToken(const uint8_t* data, uint32_t at, uint32_t end) {
  while (at < end && IsToken(data[at])) ++at;
  return at;
}

// Most values are longer than one vector; most targets are not, but end in one.
inline uint32_t SkipContent(const uint8_t* data, uint32_t at, uint32_t end) {
#if defined(__SSE2__)
  const __m128i space = _mm_set1_epi8(0x1f);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7f);
  while (at + 16 <= end) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, space), block);
    const __m128i bad =
        _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(block, tab), low), _mm_cmpeq_epi8(block, del));
    const uint32_t mask = static_cast<uint32_t>(_mm_movemask_epi8(bad));
    if (mask != 0) return at + static_cast<uint32_t>(std::countr_zero(mask));
    at += 16;
  }
#endif
  while (at < end && IsContent(data[at])) ++at;
  return at;
}

inline uint32_t SkipVisible(const uint8_t* data, uint32_t at, uint32_t end) {
#if defined(__SSE2__)
  // As signed bytes: visible ones are 0x21 to 0x7e, those beyond ASCII are negative.
  const __m128i low = _mm_set1_epi8(0x20);
  const __m128i del = _mm_set1_epi8(0x7f);
  while (at + 16 <= end) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at));
    const __m128i good = _mm_and_si128(_mm_cmpgt_epi8(block, low), _mm_cmplt_epi8(block, del));
    const uint32_t mask = static_cast<uint32_t>(_mm_movemask_epi8(good)) ^ 0xffffu;
    if (mask != 0) return at + static_cast<uint32_t>(std::countr_zero(mask));
    at += 16;
  }
#endif
  while (at < end && IsVisible(data[at])) ++at;
  return at;
}

inline uint8_t Lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + 32) : c; }

// `lower` is in lower case.
inline bool Same(const uint8_t* data, uint32_t count, const char* lower) {
  if (count != std::strlen(lower)) return false;
  for (uint32_t i = 0; i < count; ++i) {
    if (Lower(data[i]) != static_cast<uint8_t>(lower[i])) return false;
  }
  return true;
}

// `host` or `host:port` of RFC 3986, without user information. May be empty.
bool ValidHost(const uint8_t* data, uint32_t count);
// Origin form, absolute form of http, or '*' where that is allowed.
bool ValidTarget(const uint8_t* data, uint32_t count, bool asterisk);

}  // namespace uvio::http1
