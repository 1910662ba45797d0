#include "parse/http1.h"

#include "parse/http1_machine.h"

namespace uvio::http1 {

int32_t TargetTable::Find(const uint8_t* bytes, uint32_t count) {
  if (count > kMaxBytes) return -1;
  uint64_t hash = count;
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  for (; i < count; ++i) hash = (hash ^ bytes[i]) * 0x9e3779b97f4a7c15u;
  const uint32_t slot = static_cast<uint32_t>(hash >> 40) % kSlots;
  if (length[slot] == count && std::memcmp(text[slot], bytes, count) == 0) {
    return static_cast<int32_t>(slot);
  }
  length[slot] = static_cast<uint8_t>(count);
  std::memcpy(text[slot], bytes, count);
  return static_cast<int32_t>(slot) | kFresh;
}

bool Machine::Fail(int32_t status, int32_t reason) {
  Put(kBad);
  Put(status);
  Put(reason);
  s_->phase = kFailed;
  s_->stop = kError;
  return false;
}

// One step each: false ends the call.
bool Machine::Step() {
  switch (s_->phase) {
    case kStart: return Start();
    case kStartLf: return Expect('\n', kStart, kBadSyntax);
    case kMethod: return ReadMethod();
    case kTarget: return ReadTarget();
    case kVersion: return ReadVersion();
    case kStatusVersion: return ReadStatusVersion();
    case kStatusCode: return ReadStatusCode();
    case kReason: return ReadReason();
    case kLineLf: return ReadLineLf();
    case kField: return BeginField();
    case kName: return ReadName();
    case kBlanks: return SkipBlanks();
    case kValue: return ReadValue();
    case kValueLf: return EndValue();
    case kEndLf: return EndFields();
    case kLength: return ReadLength();
    case kUntilClose: return ReadUntilClose();
    case kChunkFirst:
    case kChunkSize: return ReadChunkSize();
    case kChunkLf: return EndChunkLine();
    case kChunkData: return ReadChunkData();
    case kChunkDataCr: return Expect('\r', kChunkDataLf, kBadChunk);
    case kChunkDataLf: return Expect('\n', kChunkFirst, kBadChunk);
    case kHanded: s_->stop = kUpgraded; return false;
    case kFailed: s_->stop = kError; return false;
    default: return ReadExtension();
  }
}

void Machine::Run() {
  s_->stop = kNeedsMore;
  if (InFields()) Limit();
  while (pos_ < end_ || s_->phase >= kHanded) {
    if (room_ - count_ < 2 * kHeadWords) {
      s_->stop = kNoRoom;
      break;
    }
    const bool fields = InFields();
    if (!Step()) break;
    // A head that is as long as allowed and has not ended is too long, whatever comes next.
    if (fields && pos_ >= end_ && limited_ && InFields()) {
      Fail(431, kHeadTooLarge);
      break;
    }
  }
  if (InFields() && s_->trailers != 0) EndTrailerSpan();
  s_->consumed = static_cast<int32_t>(pos_);
}

bool Machine::Start() {
  const uint8_t c = data_[pos_];
  if (c == '\r') {
    // An empty line before a request is passed over (RFC 9112 2.2).
    s_->phase = kStartLf;
    ++pos_;
    return true;
  }
  if (s_->budget <= 0) {
    s_->stop = kNoBudget;
    return false;
  }
  --s_->budget;
  s_->head_start = static_cast<int32_t>(pos_);
  s_->head_bytes = 0;
  s_->headers = 0;
  s_->seen = 0;
  s_->mark = 0;
  s_->count = 0;
  s_->status = 0;
  s_->extension_bytes = 0;
  s_->left_low = 0;
  s_->left_high = 0;
  s_->trailers = 0;
  s_->phase = Response() ? kStatusVersion : kMethod;
  Limit();
  return true;
}

// The end of what may be looked at while fields are read.
void Machine::Limit() {
  const int64_t base = s_->trailers != 0 ? static_cast<int64_t>(pos_) - s_->head_bytes
                                         : static_cast<int64_t>(s_->head_start);
  const int64_t last = base + s_->max_bytes;
  limited_ = last <= static_cast<int64_t>(given_);
  end_ = limited_ ? static_cast<uint32_t>(last < pos_ ? pos_ : last) : given_;
  span_ = pos_;
}

void Machine::Unlimit() {
  end_ = given_;
  limited_ = false;
}

bool Machine::Expect(uint8_t c, int32_t next, int32_t reason) {
  if (data_[pos_] != c) return Fail(400, reason);
  ++pos_;
  s_->phase = next;
  return true;
}

bool Machine::ReadMethod() {
  pos_ = SkipToken(data_, pos_, end_);
  if (pos_ == end_) return true;
  const uint32_t bytes = Here();
  if (data_[pos_] != ' ' || bytes == 0) return Fail(400, kBadSyntax);
  s_->method_bytes = static_cast<int32_t>(bytes);
  s_->target_at = static_cast<int32_t>(bytes + 1);
  ++pos_;
  s_->phase = kTarget;
  return true;
}

bool Machine::ReadTarget() {
  pos_ = SkipVisible(data_, pos_, end_);
  if (pos_ == end_) return true;
  const int32_t bytes = static_cast<int32_t>(Here()) - s_->target_at;
  if (data_[pos_] != ' ' || bytes == 0) return Fail(400, kBadTarget);
  s_->target_bytes = bytes;
  ++pos_;
  s_->phase = kVersion;
  return true;
}

bool Machine::ReadVersion() {
  if (s_->count == 0 && end_ - pos_ >= 10 && std::memcmp(data_ + pos_, "HTTP/1.1\r\n", 10) == 0) {
    pos_ += 10;
    s_->version = 11;
    return EndRequestLine();
  }
  while (pos_ < end_) {
    const uint8_t c = data_[pos_];
    if (s_->count == 8) {
      if (c != '\r') return Fail(400, kBadSyntax);
      ++pos_;
      s_->phase = kLineLf;
      return true;
    }
    if (!VersionByte(c)) return Fail(400, kBadSyntax);
    ++pos_;
  }
  return true;
}

// One of the eight of HTTP/d.d.
bool Machine::VersionByte(uint8_t c) {
  const int32_t i = s_->count++;
  if (i == 5 || i == 7) {
    if (!IsDigit(c)) return false;
    s_->version = (i == 5 ? 0 : s_->version) + (c - '0') * (i == 5 ? 10 : 1);
    return true;
  }
  return c == static_cast<uint8_t>("HTTP/ . "[i]);
}

bool Machine::ReadLineLf() {
  if (data_[pos_] != '\n') return Fail(400, kBadSyntax);
  ++pos_;
  if (!Response()) return EndRequestLine();
  return BeginFields();
}

bool Machine::BeginFields() {
  s_->lines_at = static_cast<int32_t>(Here());
  s_->phase = kField;
  return true;
}

bool Machine::EndRequestLine() {
  if (s_->version != 11 && s_->version != 10) return Fail(505, kBadVersion);
  const uint8_t* head = data_ + s_->head_start;
  const int32_t method = MethodOf(head, static_cast<uint32_t>(s_->method_bytes));
  const uint32_t bytes = static_cast<uint32_t>(s_->target_bytes);
  // CONNECT is refused when its head is complete, whatever its target.
  if (method != kConnect && !ValidTarget(head + s_->target_at, bytes, method == kOptions)) {
    return Fail(400, kBadTarget);
  }
  s_->status = method;
  return BeginFields();
}

bool Machine::ReadStatusVersion() {
  while (pos_ < end_) {
    const uint8_t c = data_[pos_];
    if (s_->count == 8) {
      if (c != ' ') return Fail(400, kBadSyntax);
      if (s_->version != 11 && s_->version != 10) return Fail(505, kBadVersion);
      ++pos_;
      s_->count = 0;
      s_->phase = kStatusCode;
      return true;
    }
    if (!VersionByte(c)) return Fail(400, kBadSyntax);
    ++pos_;
  }
  return true;
}

bool Machine::ReadStatusCode() {
  const uint8_t c = data_[pos_];
  if (s_->count < 3) {
    if (!IsDigit(c)) return Fail(400, kBadSyntax);
    s_->status = s_->status * 10 + (c - '0');
    ++s_->count;
    ++pos_;
    return true;
  }
  if (s_->status < 100 || (c != ' ' && c != '\r')) return Fail(400, kBadSyntax);
  ++pos_;
  s_->target_at = static_cast<int32_t>(Here());
  s_->target_bytes = 0;
  s_->phase = c == ' ' ? kReason : kLineLf;
  return true;
}

bool Machine::ReadReason() {
  pos_ = SkipContent(data_, pos_, end_);
  if (pos_ == end_) return true;
  s_->target_bytes = static_cast<int32_t>(Here()) - s_->target_at;
  return Expect('\r', kLineLf, kBadSyntax);
}

uint32_t Parse(State* state, const uint8_t* data, uint32_t from, uint32_t to, int32_t* out,
               uint32_t room, TargetTable* targets) {
  Machine machine(state, data, from, to, out, room, targets);
  machine.Run();
  return machine.count();
}

}  // namespace uvio::http1
