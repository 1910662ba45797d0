#include <string_view>

#include "parse/http1_machine.h"

namespace uvio::http1 {

namespace {

constexpr uint64_t kMaxLength = (uint64_t{1} << 53) - 1;

constexpr std::string_view kLengthName = "content-length";
constexpr std::string_view kCodingName = "transfer-encoding";
constexpr int32_t kMayBeLength = 1;
constexpr int32_t kMayBeCoding = 2;

// Calls `fn(token, bytes)` for each member of a comma separated list.
template <typename Fn>
void ForEachMember(const uint8_t* value, uint32_t bytes, Fn fn) {
  uint32_t at = 0;
  while (at <= bytes) {
    uint32_t end = at;
    while (end < bytes && value[end] != ',') ++end;
    uint32_t first = at;
    uint32_t last = end;
    while (first < last && IsBlank(value[first])) ++first;
    while (last > first && IsBlank(value[last - 1])) --last;
    fn(value + first, last - first);
    at = end + 1;
  }
}

}  // namespace

int32_t Machine::MethodOf(const uint8_t* data, uint32_t count) {
  constexpr const char* kNames[] = {"GET",     "HEAD",  "POST",    "PUT",  "DELETE",
                                    "OPTIONS", "PATCH", "CONNECT", "TRACE"};
  int32_t id = kGet;
  for (const char* name : kNames) {
    if (count == std::strlen(name) && std::memcmp(data, name, count) == 0) return id;
    ++id;
  }
  return kOther;
}

bool Machine::BeginField() {
  const uint8_t c = data_[pos_];
  if (c == '\r') {
    ++pos_;
    s_->phase = kEndLf;
    return true;
  }
  // Also what begins with a blank: a folded line.
  if (!IsToken(c)) return Fail(400, kBadSyntax);
  if (s_->headers >= s_->max_headers) return Fail(431, kHeadTooLarge);
  ++s_->headers;
  s_->name_at = s_->trailers != 0 ? 0 : static_cast<int32_t>(Here());
  s_->name_bytes = kMayBeLength | kMayBeCoding;
  s_->phase = kName;
  return true;
}

bool Machine::ReadName() {
  const uint32_t from = pos_;
  pos_ = SkipToken(data_, pos_, end_);
  if (s_->trailers != 0) MatchFraming(from);
  if (pos_ == end_) return true;
  if (data_[pos_] != ':') return Fail(400, kBadSyntax);
  if (s_->trailers == 0) s_->name_bytes = static_cast<int32_t>(Here()) - s_->name_at;
  else if (IsFraming()) return Fail(400, kAmbiguous);
  ++pos_;
  s_->phase = kBlanks;
  return true;
}

// The name of a trailer may be in several buffers of which only the last one is there: what it can
// still be is kept instead, in `name_bytes`, and how much of it came in `name_at`.
void Machine::MatchFraming(uint32_t from) {
  for (uint32_t at = from; at < pos_; ++at) {
    const auto index = static_cast<uint32_t>(s_->name_at);
    if (index > kCodingName.size()) return;
    const auto c = static_cast<char>(data_[at] | 0x20);
    if (index >= kLengthName.size() || c != kLengthName[index]) s_->name_bytes &= ~kMayBeLength;
    if (index >= kCodingName.size() || c != kCodingName[index]) s_->name_bytes &= ~kMayBeCoding;
    ++s_->name_at;
  }
}

// RFC 9110 6.5.1 forbids framing in trailers.
bool Machine::IsFraming() const {
  const auto count = static_cast<size_t>(s_->name_at);
  return ((s_->name_bytes & kMayBeLength) != 0 && count == kLengthName.size()) ||
         ((s_->name_bytes & kMayBeCoding) != 0 && count == kCodingName.size());
}

bool Machine::SkipBlanks() {
  while (pos_ < end_ && IsBlank(data_[pos_])) ++pos_;
  if (pos_ == end_) return true;
  s_->mark = static_cast<int32_t>(Here());
  s_->phase = kValue;
  return true;
}

bool Machine::ReadValue() {
  pos_ = SkipContent(data_, pos_, end_);
  if (pos_ == end_) return true;
  if (data_[pos_] != '\r') return Fail(400, kBadSyntax);
  ++pos_;
  s_->phase = kValueLf;
  return true;
}

bool Machine::EndValue() {
  if (data_[pos_] != '\n') return Fail(400, kBadSyntax);
  ++pos_;
  s_->phase = kField;
  if (s_->trailers != 0) return true;
  const uint8_t* head = data_ + s_->head_start;
  const uint8_t* value = head + s_->mark;
  const uint8_t* last = data_ + pos_ - 2;
  while (last > value && IsBlank(last[-1])) --last;
  return Field(head + s_->name_at, static_cast<uint32_t>(s_->name_bytes), value,
               static_cast<uint32_t>(last - value));
}

// Only lines that matter to framing and to the connection.
bool Machine::Field(const uint8_t* name, uint32_t name_bytes, const uint8_t* value,
                    uint32_t bytes) {
  switch (name_bytes) {
    case 4: return Same(name, 4, "host") && !Response() ? HostField(value, bytes) : true;
    case 6:
      if (Same(name, 6, "expect")) ExpectField(value, bytes);
      return true;
    case 7:
      if (Same(name, 7, "upgrade") && Same(value, bytes, "websocket")) s_->seen |= kSeenWebSocket;
      return true;
    case 10:
      if (Same(name, 10, "connection")) ConnectionField(value, bytes);
      return true;
    case 14: return Same(name, 14, "content-length") ? LengthField(value, bytes) : true;
    case 17: return Same(name, 17, "transfer-encoding") ? CodingField(value, bytes) : true;
    default: return true;
  }
}

bool Machine::HostField(const uint8_t* value, uint32_t bytes) {
  if ((s_->seen & kSeenHost) != 0) return Fail(400, kHostCount);
  s_->seen |= kSeenHost;
  return ValidHost(value, bytes) ? true : Fail(400, kBadHost);
}

bool Machine::LengthField(const uint8_t* value, uint32_t bytes) {
  if ((s_->seen & kSeenLength) != 0) return Fail(400, kBadLength);
  if ((s_->seen & kSeenCoding) != 0) return Fail(400, kAmbiguous);
  s_->seen |= kSeenLength;
  if (bytes == 0 || bytes > 16) return Fail(400, kBadLength);
  uint64_t length = 0;
  for (uint32_t i = 0; i < bytes; ++i) {
    if (!IsDigit(value[i])) return Fail(400, kBadLength);
    length = length * 10 + (value[i] - '0');
  }
  if (length > kMaxLength) return Fail(400, kBadLength);
  // Allowed by the RFC, refused by llhttp: both wires are to say the same.
  for (const uint8_t* rest = value + bytes; *rest != '\r'; ++rest) {
    if (*rest == '\t') return Fail(400, kBadLength);
  }
  SetLeft(length);
  return true;
}

bool Machine::CodingField(const uint8_t* value, uint32_t bytes) {
  if (s_->version == 10 || (s_->seen & kSeenLength) != 0) return Fail(400, kAmbiguous);
  if ((s_->seen & kSeenCoding) != 0 || !Same(value, bytes, "chunked")) {
    return Fail(400, kBadCoding);
  }
  s_->seen |= kSeenCoding;
  return true;
}

void Machine::ConnectionField(const uint8_t* value, uint32_t bytes) {
  int32_t seen = 0;
  ForEachMember(value, bytes, [&seen](const uint8_t* token, uint32_t count) {
    if (Same(token, count, "close")) seen |= kSeenClose;
    else if (Same(token, count, "keep-alive")) seen |= kSeenKeepAlive;
    else if (Same(token, count, "upgrade")) seen |= kSeenUpgradeToken;
  });
  s_->seen |= seen;
}

void Machine::ExpectField(const uint8_t* value, uint32_t bytes) {
  s_->seen |= Same(value, bytes, "100-continue") ? kSeenContinue : kSeenOtherExpectation;
}

bool Machine::KeepAlive() const {
  if ((s_->seen & kSeenClose) != 0) return false;
  return s_->version == 11 || (s_->seen & kSeenKeepAlive) != 0;
}

bool Machine::EndFields() {
  if (data_[pos_] != '\n') return Fail(400, kBadSyntax);
  ++pos_;
  if (s_->trailers != 0) return EndTrailers();
  s_->head_bytes = static_cast<int32_t>(Here());
  Unlimit();
  return Response() ? EndResponseHead() : EndRequestHead();
}

bool Machine::EndRequestHead() {
  const int32_t seen = s_->seen;
  if (s_->version == 11 && (seen & kSeenHost) == 0) return Fail(400, kHostCount);
  if (s_->status == kConnect) return Fail(501, kConnectRefused);
  if (s_->version == 11 && (seen & kSeenOtherExpectation) != 0) return Fail(417, kBadExpectation);
  int32_t flags = s_->version == 10 ? kHttp10 : 0;
  if (KeepAlive()) flags |= kKeepAlive;
  if ((seen & kSeenCoding) != 0) flags |= kHasBody | kChunked;
  if (Left() > 0) flags |= kHasBody;
  if ((flags & kHasBody) != 0 && s_->version == 11 && (seen & kSeenContinue) != 0) {
    flags |= kExpectContinue;
  }
  constexpr int32_t kHandshake = kSeenUpgradeToken | kSeenWebSocket;
  if ((seen & kHandshake) == kHandshake && s_->status == kGet && s_->version == 11 &&
      (flags & kHasBody) == 0) {
    flags |= kUpgrade;
  }
  PutHead(flags);
  if ((flags & kUpgrade) != 0) {
    s_->phase = kHanded;
    s_->stop = kUpgraded;
    return false;
  }
  BeginBody(flags);
  return true;
}

bool Machine::EndResponseHead() {
  const int32_t status = s_->status;
  int32_t flags = s_->version == 10 ? kHttp10 : 0;
  if (KeepAlive()) flags |= kKeepAlive;
  const bool tunnel = (s_->mode & kToConnect) != 0 && status >= 200 && status < 300;
  if (status == 101 || tunnel) {
    PutHead(flags | kUpgrade);
    s_->phase = kHanded;
    s_->stop = kUpgraded;
    return false;
  }
  const bool interim = status < 200;
  if (!interim && status != 204 && status != 304 && (s_->mode & kToHead) == 0) {
    if ((s_->seen & kSeenCoding) != 0) flags |= kHasBody | kChunked;
    else if ((s_->seen & kSeenLength) == 0) flags = (flags & ~kKeepAlive) | kHasBody | kToClose;
    else if (Left() > 0) flags |= kHasBody;
  }
  PutHead(flags);
  BeginBody(flags);
  // The head of the final response follows an interim one.
  if (interim) ++s_->budget;
  return (flags & kHasBody) != 0 || interim ? true : EndMessage();
}

void Machine::PutHead(int32_t flags) {
  const int32_t at = s_->head_start;
  Put(kHead);
  Put(at);
  Put(s_->head_bytes);
  Put(flags);
  Put(s_->status);
  Put(s_->method_bytes);
  Put(at + s_->target_at);
  Put(s_->target_bytes);
  Put(targets_ == nullptr || Response()
          ? -1
          : targets_->Find(data_ + at + s_->target_at, static_cast<uint32_t>(s_->target_bytes)));
  Put(s_->headers);
  Put(static_cast<int32_t>(s_->left_low));
  Put(static_cast<int32_t>(s_->left_high));
  Put(s_->lines_at);
}

}  // namespace uvio::http1
