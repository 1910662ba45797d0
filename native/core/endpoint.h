// Owner: the hub's slot table. Pooled: memory goes back to the hub's free list.
// Lifetime: kInit -> kConnecting|kOpen -> kFlushing -> kClosing -> (released) -> free again.
// Thread: the loop's thread.
// Re-entrancy: plain data, changed by the hub only.
#pragma once

#include "core/address.h"
#include "core/datagram.h"
#include "core/engine.h"
#include "core/write_queue.h"

namespace uvio {

enum class Kind : uint8_t { kStream, kListener, kDatagram };
enum class State : uint8_t { kInit, kConnecting, kOpen, kFlushing, kClosing };

enum Flag : uint16_t {
  kFlagReading = 1 << 0,    // JavaScript wants data
  kFlagEof = 1 << 1,        // the peer's FIN was seen
  kFlagBulk = 1 << 2,       // reads go to the bulk chunk
  kFlagInto = 1 << 3,       // reads go to the receiver's own memory
  kFlagShutdown = 1 << 4,   // FIN is to be sent after the queue, or was
  kFlagWantDrain = 1 << 5,
  kFlagReady = 1 << 6,      // in the ready list
  kFlagNoDelay = 1 << 7,    // listener: for accepted sockets
  kFlagPlain = 1 << 8,      // no socket: read(2) and write(2)
  kFlagStarved = 1 << 9,    // listener: out of descriptors, waits
  kFlagUnix = 1 << 10,
  kFlagReported = 1 << 11,  // CLOSED was handed over
  kFlagReleased = 1 << 12,  // the engine is done with it
  kFlagWantWritable = 1 << 13,
  kFlagWriteOnly = 1 << 14, // read events only tell that the reader is gone
};

struct Endpoint {
  EngineSlot engine;
  EngineHost* host;
  Endpoint* next_ready;
  Endpoint* next_event;
  Endpoint* next_flush;
  WriteQueue queue;
  DatagramState* datagrams;  // of a datagram socket only; freed when it is closed
  uint64_t reported_ns;  // listener: when an accept error was last reported
  uint32_t id;
  int32_t fd;
  int32_t first_out, last_out;  // chain of out records during a flush
  int32_t low_water;
  int32_t error;       // errno, positive
  uint16_t flags;
  uint16_t raised;     // bits of 1 << Record that wait to be emitted
  Kind kind;
  State state;
  uint8_t interest;
  uint8_t error_syscall;
  uint8_t distrust;    // how often the peer must make room before it gets all of the kernel's
  Peer peer;

  bool Has(uint16_t flag) const { return (flags & flag) != 0; }
  bool sent() const { return queue.empty() && (datagrams == nullptr || datagrams->empty()); }
};

}  // namespace uvio
