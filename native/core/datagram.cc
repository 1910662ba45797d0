#include "core/datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace uvio {

namespace {

// Not a power of two: equal offsets in a row of slots would share a few lines of the cache.
constexpr size_t kSlotBytes = kMaxDatagramBytes + 1 + 192;

}  // namespace

DatagramHead ToHead(const SockAddr& address, socklen_t len) {
  DatagramHead head{};
  if (len == 0) return head;
  if (address.any.sa_family == AF_INET) {
    head.tag = (4u << 16) | ntohs(address.v4.sin_port);
    memcpy(head.ip, &address.v4.sin_addr, 4);
  } else if (address.any.sa_family == AF_INET6) {
    head.tag = (6u << 16) | ntohs(address.v6.sin6_port);
    memcpy(head.ip, &address.v6.sin6_addr, 16);
    head.scope = address.v6.sin6_scope_id;
  }
  return head;
}

int FromHead(const DatagramHead& head, SockAddr* address, socklen_t* len) {
  if (head.family() == 0) {
    *len = 0;
    return 0;
  }
  if (head.family() == 4) {
    *len = sizeof(sockaddr_in);
    address->v4 = sockaddr_in{};
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons(head.port());
    memcpy(&address->v4.sin_addr, head.ip, 4);
    return 0;
  }
  if (head.family() != 6) return -EINVAL;
  *len = sizeof(sockaddr_in6);
  address->v6 = sockaddr_in6{};
  address->v6.sin6_family = AF_INET6;
  address->v6.sin6_port = htons(head.port());
  address->v6.sin6_scope_id = head.scope;
  memcpy(&address->v6.sin6_addr, head.ip, 16);
  return 0;
}

std::string HeadText(const DatagramHead& head) {
  Peer peer{};
  peer.family = static_cast<uint8_t>(head.family());
  memcpy(peer.ip, head.ip, sizeof(peer.ip));
  std::string text = IpText(peer);
  char name[IF_NAMESIZE];
  if (head.scope != 0 && if_indextoname(head.scope, name) != nullptr) {
    text += '%';
    text += name;
  }
  return text;
}

DatagramState::~DatagramState() {
  while (first_ != nullptr) Shift();
}

bool DatagramState::Push(const DatagramSlot& slot) {
  auto* node = static_cast<Node*>(std::malloc(sizeof(Node) + slot.len));
  if (node == nullptr) return false;
  node->next = nullptr;
  node->slot = slot;
  node->slot.data = reinterpret_cast<uint8_t*>(node + 1);
  if (slot.len > 0) memcpy(node->slot.data, slot.data, slot.len);
  (first_ == nullptr ? first_ : last_->next) = node;
  last_ = node;
  return true;
}

int DatagramState::Peek(DatagramSlot* slots, int max) const {
  int count = 0;
  for (const Node* node = first_; node != nullptr && count < max; node = node->next) {
    slots[count++] = node->slot;
  }
  return count;
}

size_t DatagramState::Shift() {
  Node* node = first_;
  const size_t bytes = node->slot.len;
  first_ = node->next;
  if (first_ == nullptr) last_ = nullptr;
  std::free(node);
  return bytes;
}

bool DatagramInbox::Prepare() {
  if (memory_ == nullptr) {
    memory_.reset(new (std::nothrow) uint8_t[kDatagramBatch * kSlotBytes]);
    if (memory_ == nullptr) return false;
  }
  for (int i = 0; i < kDatagramBatch; i++) {
    slots[i].data = memory_.get() + static_cast<size_t>(i) * kSlotBytes;
    slots[i].len = kMaxDatagramBytes;
  }
  return true;
}

}  // namespace uvio
