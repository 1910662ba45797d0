#include "parse/http1_machine.h"

namespace uvio::http1 {

namespace {

// 2^53 - 1 has 14 digits; so many leave room for leading zeros, and no doubt about overflow.
constexpr int32_t kMaxSizeDigits = 16;
constexpr uint64_t kMaxSize = (uint64_t{1} << 53) - 1;

int32_t HexValue(uint8_t c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; }

}  // namespace

void Machine::BeginBody(int32_t flags) {
  s_->count = 0;
  if ((flags & kHasBody) == 0) s_->phase = kStart;
  else if ((flags & kChunked) != 0) s_->phase = kChunkFirst;
  else s_->phase = (flags & kToClose) != 0 ? kUntilClose : kLength;
}

// A client looks at each response before it reads on.
bool Machine::EndMessage() {
  s_->phase = kStart;
  if (!Response()) return true;
  s_->stop = kMessageEnd;
  return false;
}

// As much as there is of what is left; true when that was all.
bool Machine::TakeSpan() {
  const uint64_t left = Left();
  const uint32_t here = end_ - pos_;
  const uint32_t bytes = left < here ? static_cast<uint32_t>(left) : here;
  Put(kData);
  Put(static_cast<int32_t>(pos_));
  Put(static_cast<int32_t>(bytes));
  pos_ += bytes;
  SetLeft(left - bytes);
  return left == bytes;
}

bool Machine::ReadLength() {
  if (!TakeSpan()) return true;
  Put(kEnd);
  return EndMessage();
}

bool Machine::ReadUntilClose() {
  Put(kData);
  Put(static_cast<int32_t>(pos_));
  Put(static_cast<int32_t>(end_ - pos_));
  pos_ = end_;
  return true;
}

bool Machine::ReadChunkSize() {
  if (s_->phase == kChunkFirst) {
    s_->count = 0;
    SetLeft(0);
    s_->phase = kChunkSize;
  }
  while (pos_ < end_ && IsHex(data_[pos_])) {
    const uint64_t size = (Left() << 4) | static_cast<uint64_t>(HexValue(data_[pos_]));
    if (++s_->count > kMaxSizeDigits || size > kMaxSize) return Fail(400, kBadChunk);
    SetLeft(size);
    ++pos_;
  }
  if (pos_ == end_) return true;
  const uint8_t c = data_[pos_];
  if (s_->count == 0 || (c != '\r' && c != ';')) return Fail(400, kBadChunk);
  if (c == ';') {
    s_->phase = kExtensionFirst;
    return CountExtension();
  }
  ++pos_;
  s_->phase = kChunkLf;
  return true;
}

// Passes over one byte of an extension.
bool Machine::CountExtension() {
  ++pos_;
  return ++s_->extension_bytes > kMaxExtensionBytes ? Fail(400, kExtensionsTooLarge) : true;
}

bool Machine::ReadExtension() {
  while (pos_ < end_) {
    const uint8_t c = data_[pos_];
    const int32_t phase = s_->phase;
    if (c == '\r' && (phase == kExtensionName || phase == kExtensionValue ||
                      phase == kExtensionQuotedEnd)) {
      ++pos_;
      s_->phase = kChunkLf;
      return true;
    }
    if (!ExtensionByte(c)) return Fail(400, kBadChunk);
    if (!CountExtension()) return false;
  }
  return true;
}

// ;name, ;name=token or ;name="quoted", without blanks between them.
bool Machine::ExtensionByte(uint8_t c) {
  switch (s_->phase) {
    case kExtensionFirst:
      s_->phase = kExtensionName;
      return IsToken(c);
    case kExtensionName:
      if (c == ';') s_->phase = kExtensionFirst;
      else if (c == '=') s_->phase = kExtensionValueFirst;
      else return IsToken(c);
      return true;
    case kExtensionValueFirst:
      s_->phase = c == '"' ? kExtensionQuoted : kExtensionValue;
      return c == '"' || IsToken(c);
    case kExtensionValue:
      if (c == ';') s_->phase = kExtensionFirst;
      else return IsToken(c);
      return true;
    case kExtensionQuoted:
      if (c == '"') s_->phase = kExtensionQuotedEnd;
      else if (c == '\\') s_->phase = kExtensionEscaped;
      return IsContent(c);
    case kExtensionEscaped:
      s_->phase = kExtensionQuoted;
      return IsContent(c);
    default:
      s_->phase = kExtensionFirst;
      return c == ';';
  }
}

bool Machine::EndChunkLine() {
  if (data_[pos_] != '\n') return Fail(400, kBadChunk);
  ++pos_;
  if (Left() > 0) {
    s_->phase = kChunkData;
    return true;
  }
  // The last chunk: trailers are fields of the same message, under the same limits.
  s_->trailers = 1;
  s_->head_start = static_cast<int32_t>(pos_);
  s_->phase = kField;
  Limit();
  if (!limited_ || end_ > pos_) return true;
  return Fail(431, kHeadTooLarge);
}

bool Machine::ReadChunkData() {
  if (TakeSpan()) s_->phase = kChunkDataCr;
  return true;
}

bool Machine::EndTrailers() {
  EndTrailerSpan();
  Unlimit();
  s_->trailers = 0;
  Put(kEnd);
  return EndMessage();
}

// What of the trailer lines came in this call; the empty line at their end counts as one of them.
void Machine::EndTrailerSpan() {
  const uint32_t bytes = pos_ - span_;
  if (bytes == 0) return;
  s_->head_bytes += static_cast<int32_t>(bytes);
  Put(kTrailer);
  Put(static_cast<int32_t>(span_));
  Put(static_cast<int32_t>(bytes));
  span_ = pos_;
}

}  // namespace uvio::http1
