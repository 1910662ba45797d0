#include "parse/http1_scan.h"

namespace uvio::http1 {

namespace {

// ':' and at most five digits, up to the end; or nothing.
bool ValidPort(const uint8_t* data, uint32_t count) {
  if (count == 0) return true;
  if (data[0] != ':' || count > 6) return false;
  for (uint32_t i = 1; i < count; ++i) {
    if (!IsDigit(data[i])) return false;
  }
  return true;
}

bool ValidAddress(const uint8_t* data, uint32_t count) {
  uint32_t i = 1;
  while (i < count && (IsHex(data[i]) || data[i] == ':' || data[i] == '.')) ++i;
  if (i == 1 || i >= count || data[i] != ']') return false;
  return ValidPort(data + i + 1, count - i - 1);
}

}  // namespace

bool ValidHost(const uint8_t* data, uint32_t count) {
  if (count > 0 && data[0] == '[') return ValidAddress(data, count);
  uint32_t i = 0;
  while (i < count) {
    if ((kClasses[data[i]] & kHostClass) != 0) {
      ++i;
    } else if (data[i] == '%' && i + 2 < count && IsHex(data[i + 1]) && IsHex(data[i + 2])) {
      i += 3;
    } else {
      break;
    }
  }
  return ValidPort(data + i, count - i);
}

bool ValidTarget(const uint8_t* data, uint32_t count, bool asterisk) {
  // A fragment is not for servers.
  if (std::memchr(data, '#', count) != nullptr) return false;
  if (data[0] == '/') return true;
  if (count == 1 && data[0] == '*') return asterisk;
  uint32_t at = 0;
  if (count > 7 && Same(data, 7, "http://")) at = 7;
  if (count > 8 && Same(data, 8, "https://")) at = 8;
  if (at == 0) return false;
  uint32_t end = at;
  while (end < count && data[end] != '/' && data[end] != '?') ++end;
  return end > at && ValidHost(data + at, end - at);
}

}  // namespace uvio::http1
