// Owner: none; lives on the stack of Parse.
// Lifetime: of a call.
// Thread: any.
// Re-entrancy: none needed: it calls nothing but itself.
#pragma once

#include "parse/http1.h"
#include "parse/http1_scan.h"

namespace uvio::http1 {

// What of a head was seen: State::seen.
enum Seen : int32_t {
  kSeenHost = 1,
  kSeenLength = 2,
  kSeenCoding = 4,
  kSeenClose = 8,
  kSeenKeepAlive = 16,
  kSeenUpgradeToken = 32,
  kSeenWebSocket = 64,
  kSeenContinue = 128,
  kSeenOtherExpectation = 256,
};

// The state machine over one buffer. Steps return false when the call is to end.
class Machine {
 public:
  Machine(State* state, const uint8_t* data, uint32_t from, uint32_t to, int32_t* out,
          uint32_t room, TargetTable* targets)
      : s_(state), data_(data), pos_(from), end_(to), given_(to), out_(out), room_(room),
        targets_(targets) {}
  void Run();
  uint32_t count() const { return count_; }

 private:
  bool Step();
  bool Fail(int32_t status, int32_t reason);
  void Put(int32_t word) { out_[count_++] = word; }
  bool Response() const { return (s_->mode & kResponse) != 0; }
  bool InFields() const { return s_->phase >= kMethod && s_->phase <= kEndLf; }
  // Offset in the head.
  uint32_t Here() const { return pos_ - static_cast<uint32_t>(s_->head_start); }
  void Limit();
  void Unlimit();
  bool Expect(uint8_t c, int32_t next, int32_t reason);

  bool Start();
  bool ReadMethod();
  bool ReadTarget();
  bool ReadVersion();
  bool VersionByte(uint8_t c);
  bool EndRequestLine();
  bool ReadStatusVersion();
  bool ReadStatusCode();
  bool ReadReason();
  bool ReadLineLf();
  bool BeginFields();

  // http1_fields.cc
  static int32_t MethodOf(const uint8_t* data, uint32_t count);
  bool BeginField();
  bool ReadName();
  void MatchFraming(uint32_t from);
  bool IsFraming() const;
  bool SkipBlanks();
  bool ReadValue();
  bool EndValue();
  bool EndFields();
  bool Field(const uint8_t* name, uint32_t name_bytes, const uint8_t* value, uint32_t bytes);
  bool HostField(const uint8_t* value, uint32_t bytes);
  bool LengthField(const uint8_t* value, uint32_t bytes);
  bool CodingField(const uint8_t* value, uint32_t bytes);
  void ConnectionField(const uint8_t* value, uint32_t bytes);
  void ExpectField(const uint8_t* value, uint32_t bytes);
  bool EndRequestHead();
  bool EndResponseHead();
  bool KeepAlive() const;
  void PutHead(int32_t flags);

  // http1_body.cc
  void BeginBody(int32_t flags);
  bool EndMessage();
  uint64_t Left() const {
    return (static_cast<uint64_t>(s_->left_high) << 32) | s_->left_low;
  }
  void SetLeft(uint64_t bytes) {
    s_->left_low = static_cast<uint32_t>(bytes);
    s_->left_high = static_cast<uint32_t>(bytes >> 32);
  }
  bool TakeSpan();
  bool ReadLength();
  bool ReadUntilClose();
  bool ReadChunkSize();
  bool ReadExtension();
  bool CountExtension();
  bool ExtensionByte(uint8_t c);
  bool EndChunkLine();
  bool ReadChunkData();
  bool EndTrailers();
  void EndTrailerSpan();

  State* s_;
  const uint8_t* data_;
  uint32_t pos_;
  uint32_t end_;
  uint32_t given_;
  bool limited_ = false;
  // Where the trailers of this call begin.
  uint32_t span_ = 0;
  int32_t* out_;
  uint32_t room_;
  uint32_t count_ = 0;
  TargetTable* targets_;
};

}  // namespace uvio::http1
