// One connection of the load: sends pattern bytes, checks what comes back, times each message.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "options.h"
#include "pattern.h"

namespace load {

uint64_t NowNs();

enum class State : uint8_t { kIdle, kConnecting, kOpen, kEnding, kFailed };

enum class Fault : uint8_t { kNone, kConnect, kCorrupt, kLost };

struct Client {
  int fd = -1;
  State state = State::kIdle;
  Fault fault = Fault::kNone;
  bool saw_end = false;
  uint32_t id = 0;          // chooses the pattern; a new one for each connection
  uint64_t opened_ns = 0;   // when connect() was called
  uint64_t started = 0;     // messages
  uint64_t completed = 0;   // messages
  uint64_t sent = 0;        // bytes
  uint64_t received = 0;    // bytes
  std::unique_ptr<uint64_t[]> sent_ns;  // start of each message in flight, a ring of `pipeline`

  uint64_t in_flight() const { return started - completed; }
};

// Begins a non-blocking connect; the result comes as an event. False: `fault` is set.
bool Open(Client& client, const Options& options, uint32_t id);

// After the connect event: true when the connection stands.
bool FinishOpen(Client& client);

// Sends what the started messages still need. False: `fault` is set.
bool Pump(Client& client, const Pattern& pattern, uint64_t size_bytes);

// Reads all there is into `scratch` (kWindowBytes long) and checks it. False: `fault` is set.
// `drain` reads on after a short read, for an event that announced the end.
bool Receive(Client& client, const Pattern& pattern, uint8_t* scratch, bool drain);

void Close(Client& client);

// A sentence on the client's fault.
std::string Describe(const Client& client);

}  // namespace load
