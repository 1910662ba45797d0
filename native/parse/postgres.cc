#include "parse/postgres.h"

#include <cstring>

namespace uvio::postgres {

namespace {

constexpr uint8_t kDataRow = 'D';
constexpr uint8_t kCopyData = 'd';
constexpr size_t kHeadBytes = 5;
constexpr uint64_t kHighBits = 0x8080808080808080;

uint32_t ReadUint32(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

// Copies all; whether it was ASCII.
bool CopyAscii(const uint8_t* from, size_t length, uint8_t* to) {
  uint64_t seen = 0;
  size_t i = 0;
  for (; i + 8 <= length; i += 8) {
    uint64_t word;
    std::memcpy(&word, from + i, 8);
    std::memcpy(to + i, &word, 8);
    seen |= word;
  }
  for (; i < length; ++i) {
    to[i] = from[i];
    seen |= from[i];
  }
  return (seen & kHighBits) == 0;
}

bool IsTail(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// One sequence of more than a byte; its length, or 0 when it is none.
size_t ReadSequence(const uint8_t* from, size_t left, uint32_t* code) {
  const uint8_t first = from[0];
  if (first < 0xc2 || left < 2 || !IsTail(from[1])) return 0;
  if (first < 0xe0) {
    *code = (first & 0x1fu) << 6 | (from[1] & 0x3fu);
    return 2;
  }
  if (left < 3 || !IsTail(from[2])) return 0;
  if (first < 0xf0) {
    *code = (first & 0x0fu) << 12 | (from[1] & 0x3fu) << 6 | (from[2] & 0x3fu);
    return *code < 0x800 || (*code >= 0xd800 && *code < 0xe000) ? 0 : 3;
  }
  if (first > 0xf4 || left < 4 || !IsTail(from[3])) return 0;
  *code = (first & 0x07u) << 18 | (from[1] & 0x3fu) << 12 | (from[2] & 0x3fu) << 6 |
          (from[3] & 0x3fu);
  return *code < 0x10000 || *code > 0x10ffff ? 0 : 4;
}

// UTF-16 code units written, at most `length`; -1 when it is no UTF-8.
ptrdiff_t Widen(const uint8_t* from, size_t length, char16_t* to) {
  char16_t* const start = to;
  for (size_t i = 0; i < length;) {
    if (from[i] < 0x80) {
      *to++ = from[i++];
      continue;
    }
    uint32_t code = 0;
    const size_t taken = ReadSequence(from + i, length - i, &code);
    if (taken == 0) return -1;
    i += taken;
    if (code >= 0x10000) {
      *to++ = static_cast<char16_t>(0xd800 + ((code - 0x10000) >> 10));
      code = 0xdc00 + (code & 0x3ff);
    }
    *to++ = static_cast<char16_t>(code);
  }
  return to - start;
}

// Whether it was added to the array.
bool AddDocument(const uint8_t* field, size_t length, bool versioned, Window* window) {
  if (length > kLongText) return false;
  if (versioned) {
    if (length == 0 || field[0] != 1) return false;
    field += 1;
    length -= 1;
  }
  if (length == 0) return false;
  size_t at = window->used.json;
  if (!CopyAscii(field, length, window->json + at)) return false;
  at += length;
  window->json[at] = ',';
  window->used.json = at + 1;
  window->used.json_count += 1;
  return true;
}

// Adds one text field; the next mark.
int32_t* AddText(const uint8_t* field, size_t length, Window* window, int32_t* marks) {
  const size_t narrow = window->used.narrow;
  if (CopyAscii(field, length, window->narrow + narrow)) {
    *marks++ = static_cast<int32_t>(narrow);
    window->used.narrow = narrow + length;
    return marks;
  }
  const size_t wide = window->used.wide;
  const ptrdiff_t units = Widen(field, length, window->wide + wide);
  if (units < 0) {
    *marks++ = kInvalid;
    return marks;
  }
  window->used.wide = wide + static_cast<size_t>(units);
  *marks++ = ~static_cast<int32_t>(wide);
  *marks++ = static_cast<int32_t>(window->used.wide);
  return marks;
}

// The end of the row's marks; null when it is not well formed, or has more text than `room`. Each
// kind has room for all bytes, as a field has no more units than bytes.
int32_t* ReadRow(const uint8_t* bytes, size_t at, size_t next, const uint8_t* kinds,
                 size_t columns, Window* window, int32_t* marks, size_t* room) {
  for (size_t i = 0; i < columns; ++i) {
    if (next - at < 4) return nullptr;
    const uint32_t length = ReadUint32(bytes + at);
    at += 4;
    if (length == UINT32_MAX) continue;
    if (length > next - at) return nullptr;
    const uint8_t* field = bytes + at;
    at += length;
    if (kinds[i] == kOther) continue;
    if (length <= kLongText) {
      if (length > *room) return nullptr;
      *room -= length;
    }
    if (kinds[i] != kText) {
      *marks++ = AddDocument(field, length, kinds[i] == kJsonb, window) ? 1 : 0;
    } else if (length > 0 && length <= kLongText) {
      marks = AddText(field, length, window, marks);
    }
  }
  return at == next ? marks : nullptr;
}

}  // namespace

size_t ReadTexts(const uint8_t* bytes, size_t at, size_t end, const uint8_t* kinds,
                 size_t columns, Window* window, int32_t* marks, size_t marks_length) {
  window->used.narrow = 0;
  window->used.wide = 0;
  window->json[0] = '[';
  window->used.json = 1;
  window->used.json_count = 0;
  const int32_t* const marks_end = marks + marks_length;
  size_t room = kWindowBytes;
  while (end - at >= kHeadBytes + 2 && bytes[at] == kDataRow) {
    const uint32_t length = ReadUint32(bytes + at + 1);
    if (length < 6 || length > end - at - 1) break;
    if ((size_t{bytes[at + 5]} << 8 | bytes[at + 6]) != columns) break;
    const size_t next = at + 1 + length;
    if (static_cast<size_t>(marks_end - marks) < 2 * columns) break;
    const Window::Lengths before = window->used;
    int32_t* const read = ReadRow(bytes, at + 7, next, kinds, columns, window, marks, &room);
    if (read == nullptr) {
      window->used = before;
      break;
    }
    marks = read;
    at = next;
  }
  // In place of the last comma.
  if (window->used.json_count > 0) window->json[window->used.json - 1] = ']';
  return at;
}

Copied CopyPayloads(const uint8_t* bytes, size_t at, size_t end, uint8_t* target, size_t room) {
  size_t filled = 0;
  while (end - at >= kHeadBytes && bytes[at] == kCopyData) {
    const uint32_t length = ReadUint32(bytes + at + 1);
    if (length < 4 || length > end - at - 1 || length - 4 > room - filled) break;
    std::memcpy(target + filled, bytes + at + kHeadBytes, length - 4);
    filled += length - 4;
    at += 1 + size_t{length};
  }
  return {at, filled};
}

}  // namespace uvio::postgres
