// Owner: the hub owns the inbox; a datagram socket owns its state.
// Lifetime: the inbox until the hub ends; a state from OpenUdp until the socket is closed.
// Thread: the loop's thread.
// Re-entrancy: calls nothing outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/address.h"
#include "core/layout.h"

namespace uvio {

// One datagram of a system call. To receive, `len` is the room before and the length afterwards.
struct DatagramSlot {
  SockAddr address;
  socklen_t address_len;  // 0: of or to the connected peer
  uint8_t* data;
  size_t len;
};

// An address as JavaScript sees it, before each payload in a chunk and in the out slab.
// lib/loop/native/peers.ts reads and writes the same six words.
struct DatagramHead {
  uint32_t tag;  // the port, and the family above it: 4, 6, or 0 for the connected peer
  uint8_t ip[16];
  uint32_t scope;  // of an IPv6 address

  uint16_t port() const { return static_cast<uint16_t>(tag); }
  uint32_t family() const { return tag >> 16; }
};
static_assert(sizeof(DatagramHead) == 24);

DatagramHead ToHead(const SockAddr& address, socklen_t len);
// 0, or -EINVAL for a family that is none.
int FromHead(const DatagramHead& head, SockAddr* address, socklen_t* len);
// "fe80::1%eth0" for an address that needs its interface.
std::string HeadText(const DatagramHead& head);

// What a datagram socket has besides a stream: datagrams that the kernel did not take, one after
// the other, each in memory of its own.
class DatagramState {
 public:
  ~DatagramState();
  bool empty() const { return first_ == nullptr; }
  // False when there is no memory.
  bool Push(const DatagramSlot& slot);
  // Fills up to `max` slots with what comes first.
  int Peek(DatagramSlot* slots, int max) const;
  // The first one leaves; its bytes.
  size_t Shift();

  DatagramHead failed{};  // where the last one that failed was going
  bool join = true;       // alike datagrams may leave as one; false once the kernel has refused

 private:
  struct Node {
    Node* next;
    DatagramSlot slot;
  };
  Node* first_ = nullptr;
  Node* last_ = nullptr;
};

// Where datagrams are received, since their length is not known before: 64 KiB for each, of which
// short ones touch only the first page. From here they are copied to a chunk, side by side.
class DatagramInbox {
 public:
  // Points `slots` at the memory; false when there is none.
  bool Prepare();

  DatagramSlot slots[kDatagramBatch];
  int next = 0;   // those from `next` to `count` were received and are not in a chunk yet
  int count = 0;
  uint32_t owner = 0;  // the id of their socket

 private:
  std::unique_ptr<uint8_t[]> memory_;
};

}  // namespace uvio
