// Owner: none.
// Lifetime: of a call.
// Thread: any.
// Re-entrancy: pure functions over bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace uvio::postgres {

// Text of one call: what is ASCII as one byte each, what is not as UTF-16.
constexpr size_t kWindowBytes = 32 * 1024;
// A longer field is left to the caller: a part of a large string would keep too much alive.
constexpr size_t kLongText = 1024;
// A field that is no UTF-8.
constexpr int32_t kInvalid = INT32_MIN;

// What a column holds.
enum Kind : uint8_t { kOther = 0, kText = 1, kJson = 2, kJsonb = 3 };

struct Window {
  uint8_t narrow[kWindowBytes];
  char16_t wide[kWindowBytes];
  // An array of JSON of all documents. A comma takes the room of a byte more.
  uint8_t json[2 * kWindowBytes + 2];
  struct Lengths {
    size_t narrow;
    size_t wide;
    size_t json;
    size_t json_count;
  } used;
};

// Converts the text and JSON fields of the DataRow messages from `at` on, as far as rows are whole
// and well formed and there is room in the window and in `marks`; returns where it stopped. `kinds`
// has one for each of `columns`. For each text field of 1 to kLongText bytes, in the order of the
// message: where it begins in `narrow`; or the complement of where it begins in `wide`, and its
// end; or kInvalid. For each JSON field: 1 if it is an item of `json`, else 0: only what is ASCII
// and not long is.
size_t ReadTexts(const uint8_t* bytes, size_t at, size_t end, const uint8_t* kinds,
                 size_t columns, Window* window, int32_t* marks, size_t marks_length);

struct Copied {
  size_t stop;
  size_t filled;
};

// Copies the payloads of whole CopyData messages from `at` on to `target`, as far as they fit.
Copied CopyPayloads(const uint8_t* bytes, size_t at, size_t end, uint8_t* target, size_t room);

}  // namespace uvio::postgres
