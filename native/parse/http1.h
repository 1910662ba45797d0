// Owner: none; state and memory are the caller's.
// Lifetime: of a call. What goes on to the next call is in State, which is plain words.
// Thread: any; nothing is shared.
// Re-entrancy: pure functions over bytes.
#pragma once

#include <cstddef>
#include <cstdint>

// HTTP/1.x messages (RFC 9110, 9112), strict: requests and responses, incremental, to offsets.
//
// The bytes of one head must be contiguous: a caller whose read ends inside a head keeps the bytes
// from State::head_start on, appends the next read and goes on where it stopped. Nothing is
// scanned twice, so any cut of the bytes costs the same and gives the same verdict. Bodies are not
// kept: they leave as spans of the buffer that was given.
namespace uvio::http1 {

// Where a message stands between two calls.
enum Phase : int32_t {
  kStart,  // between messages
  kStartLf,
  // Of a head, in order.
  kMethod,
  kTarget,
  kVersion,
  kStatusVersion,
  kStatusCode,
  kReason,
  kLineLf,
  kField,
  kName,
  kBlanks,
  kValue,
  kValueLf,
  kEndLf,
  // Of a body.
  kLength,
  kUntilClose,
  kChunkFirst,
  kChunkSize,
  kExtensionFirst,
  kExtensionName,
  kExtensionValueFirst,
  kExtensionValue,
  kExtensionQuoted,
  kExtensionEscaped,
  kExtensionQuotedEnd,
  kChunkLf,
  kChunkData,
  kChunkDataCr,
  kChunkDataLf,
  // The end: after an upgrade, or bad input.
  kHanded,
  kFailed,
};

// State::mode, set by the caller.
enum Mode : int32_t {
  kResponse = 1,
  kToHead = 2,     // the response is one to HEAD: no body
  kToConnect = 4,  // the response is one to CONNECT: 2xx ends HTTP
};

// Why a call returned: State::stop.
enum Stop : int32_t {
  kNeedsMore = 0,
  kNoRoom = 1,     // records are full: call again from State::consumed
  kNoBudget = 2,   // a next head would begin: State::budget is spent
  kUpgraded = 3,   // what follows is not HTTP (yet)
  kError = 4,
  kMessageEnd = 5,  // responses: after each final message
};

// Records: the first word is the kind.
enum Kind : int32_t {
  // head offset, head bytes, flags, method or status, method bytes, target offset, target bytes,
  // target id, header lines, length low, length high, offset of the header lines in the head
  kHead = 1,
  kData = 2,     // offset, bytes
  kEnd = 3,      // of a message with a body
  kTrailer = 4,  // offset, bytes: a part of the trailer lines as they came
  kBad = 5,      // status, reason
};

enum Flag : int32_t {
  kKeepAlive = 1,
  kExpectContinue = 2,
  kUpgrade = 4,  // a request that may become a WebSocket; a response that ended HTTP
  kHasBody = 8,
  kChunked = 16,
  kHttp10 = 32,
  kToClose = 64,  // the body ends with the connection
};

// Ids of methods; 0 for any other token.
enum Method : int32_t {
  kOther, kGet, kHeadMethod, kPost, kPut, kDelete, kOptions, kPatch, kConnect, kTrace,
};

// Index into the table of texts in lib/http/native-records.ts.
enum Reason : int32_t {
  kBadSyntax, kBadTarget, kBadVersion, kHeadTooLarge, kBadHost, kHostCount, kBadLength,
  kBadCoding, kAmbiguous, kBadExpectation, kConnectRefused, kBadChunk, kExtensionsTooLarge,
};

constexpr uint32_t kHeadWords = 13;
constexpr int32_t kMaxExtensionBytes = 16384;

struct State {
  // Set by the caller.
  int32_t phase;
  int32_t mode;
  int32_t max_bytes;    // of request line and header lines, trailers included
  int32_t max_headers;  // lines, trailers included
  int32_t budget;       // heads that this call may begin
  int32_t head_start;   // of the head under way, in the given bytes; in and out
  // Told to the caller.
  int32_t consumed;
  int32_t stop;
  // Of the message under way; offsets count from head_start.
  int32_t head_bytes;
  int32_t headers;
  int32_t seen;
  int32_t method_bytes;
  int32_t target_at;
  int32_t target_bytes;
  int32_t lines_at;
  int32_t mark;
  int32_t name_at;
  int32_t name_bytes;
  int32_t count;  // of a literal or of digits
  int32_t version;
  int32_t status;
  int32_t extension_bytes;
  uint32_t left_low;  // of a body or chunk
  uint32_t left_high;
  int32_t trailers;
  int32_t reserved[7];
};
static_assert(sizeof(State) == 32 * sizeof(int32_t));

// Targets seen lately, so that JavaScript has to make a string only for new ones.
struct TargetTable {
  static constexpr uint32_t kSlots = 512;
  static constexpr uint32_t kMaxBytes = 63;
  static constexpr int32_t kFresh = 0x10000;
  uint8_t length[kSlots];
  uint8_t text[kSlots][kMaxBytes];

  // The slot, with kFresh when it was rewritten; -1 for one that is too long.
  int32_t Find(const uint8_t* bytes, uint32_t count);
};

// Parses data[from, to); returns the words written to `out`, which has room for `room`.
// `room` is at least 4 * kHeadWords. `targets` may be null.
uint32_t Parse(State* state, const uint8_t* data, uint32_t from, uint32_t to, int32_t* out,
               uint32_t room, TargetTable* targets);

}  // namespace uvio::http1
