// Owner: the hub owns its engine; an engine borrows endpoints between Add and OnReleased.
// Lifetime: an endpoint's memory must stay until OnReleased was called for it.
// Thread: the loop's thread.
// Re-entrancy: OnReady comes from the poll phase and from Poll only.
#pragma once

#include <sys/uio.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>

namespace uvio {

// The seam behind which bytes move. The libuv engine answers Receive and Send by system calls; a
// completion engine (io_uring) may answer from memory that the kernel has filled before. Nothing
// above this header knows which.

struct DatagramSlot;
struct Endpoint;

enum Interest : uint8_t { kInterestNone = 0, kInterestIn = 1, kInterestOut = 2 };

// What an engine keeps inside each endpoint.
struct EngineSlot {
#ifdef __linux__
  Endpoint* next;      // list of those that may be ready
  Endpoint* previous;
  uint8_t edge;        // what the edges have told and no call has used up
  uint8_t interest;
  uint8_t registered;  // 1: for reading, 2: for both
  bool hot;
  bool holds;
  bool unref;
#else
  uv_poll_t poll;
#endif
};

class EngineHost {
 public:
  // `failed`: the descriptor is in an error state and its interest was dropped; the next Receive
  // or Send tells the error.
  virtual void OnReady(Endpoint* endpoint, uint8_t interest, bool failed) = 0;
  // Also from inside Remove.
  virtual void OnReleased(Endpoint* endpoint) = 0;
  // After Close, for an engine that has a handle of its own.
  virtual void OnEngineClosed() = 0;

 protected:
  ~EngineHost() = default;
};

class Engine {
 public:
  virtual ~Engine() = default;
  // An engine with a handle of its own overrides both; OnEngineClosed follows Close.
  virtual int Open(EngineHost*) { return 0; }
  virtual void Close() {}
  // Makes the endpoint's descriptor known. 0 or a negative errno.
  virtual int Add(Endpoint* endpoint) = 0;
  virtual int SetInterest(Endpoint* endpoint, uint8_t interest) = 0;
  // The descriptor may be closed as soon as this returns; OnReleased comes at once or later.
  virtual void Remove(Endpoint* endpoint) = 0;
  // Whether the endpoint keeps the process alive.
  virtual void Reference(Endpoint* endpoint, bool ref) = 0;
  // Marks what is ready now, without sleeping; how many. Engines that cannot: 0.
  virtual int Poll() { return 0; }
  // Something is ready that was reported and not used up: the loop must not sleep.
  virtual bool Pending() { return false; }
  // A first call after an event has said EAGAIN: looks again whether there is something.
  virtual void Again(Endpoint*) {}
  // A system call of the hub's own (accept) has found nothing more.
  virtual void Drained(Endpoint*) {}
  // The same for one that writes (sendfile): there is no room.
  virtual void Full(Endpoint*) {}
  // Bytes, 0 at the end of the stream, or a negative errno (-EAGAIN: nothing there).
  virtual int64_t Receive(Endpoint* endpoint, void* into, size_t capacity) = 0;
  // Bytes taken, or a negative errno (-EAGAIN: full; ask for kInterestOut).
  virtual int64_t Send(Endpoint* endpoint, const iovec* parts, int count) = 0;
  // How many datagrams were received, or a negative errno. Fewer than `count`: no more are there.
  virtual int ReceiveDatagrams(Endpoint* endpoint, DatagramSlot* slots, int count) = 0;
  // How many were taken, or a negative errno for the first one (-EAGAIN as above).
  virtual int SendDatagrams(Endpoint* endpoint, const DatagramSlot* slots, int count) = 0;
};

}  // namespace uvio
