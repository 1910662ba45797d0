#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>
#include <new>

#include "core/heap.h"
#include "core/hub.h"
#include "core/socket.h"

namespace uvio {

namespace {

// Datagrams that wait in the kernel for one socket while others have their turn.
constexpr int kBatchesPerRound = 4;
constexpr int kMaxTtl = 255;

// IPv4's and IPv6's name of one option.
struct Names {
  int v4, v6;
};

int Set(int fd, bool six, Names names, const void* value, size_t len) {
  const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
  const int name = six ? names.v6 : names.v4;
  return setsockopt(fd, level, name, value, static_cast<socklen_t>(len)) == 0 ? 0 : -errno;
}

int SetInt(int fd, bool six, Names names, int value) {
  return Set(fd, six, names, &value, sizeof(value));
}

// BSD takes a single byte here, and Linux takes one, too.
int SetByte(int fd, bool six, Names names, int value) {
  if (six) return SetInt(fd, six, names, value);
  const auto byte = static_cast<unsigned char>(value);
  return Set(fd, six, names, &byte, sizeof(byte));
}

int SetInterface(int fd, bool six, std::string_view interface) {
  Address address;
  if (ParseIp(interface, 0, &address) != 0) return -EINVAL;
  if (six != (address.addr.any.sa_family == AF_INET6)) return -EINVAL;
  const Names names{IP_MULTICAST_IF, IPV6_MULTICAST_IF};
  if (six) return SetInt(fd, six, names, static_cast<int>(address.addr.v6.sin6_scope_id));
  return Set(fd, six, names, &address.addr.v4.sin_addr, sizeof(in_addr));
}

int SetMembership(int fd, bool six, bool join, std::string_view group,
                  std::string_view interface) {
  Address where;
  Address on;
  if (ParseIp(group, 0, &where) != 0) return -EINVAL;
  if (six != (where.addr.any.sa_family == AF_INET6)) return -EINVAL;
  if (!interface.empty()) {
    if (ParseIp(interface, 0, &on) != 0) return -EINVAL;
    if (six != (on.addr.any.sa_family == AF_INET6)) return -EINVAL;
  }
  if (six) {
    ipv6_mreq wanted{};
    wanted.ipv6mr_multiaddr = where.addr.v6.sin6_addr;
    wanted.ipv6mr_interface = interface.empty() ? 0 : on.addr.v6.sin6_scope_id;
    return Set(fd, six, {0, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP}, &wanted, sizeof(wanted));
  }
  ip_mreq wanted{};
  wanted.imr_multiaddr = where.addr.v4.sin_addr;
  if (!interface.empty()) wanted.imr_interface = on.addr.v4.sin_addr;
  return Set(fd, six, {join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, 0}, &wanted, sizeof(wanted));
}

}  // namespace

int Hub::OpenUdp(std::string_view host, int port, bool reuse_port) {
  Address address;
  if (const int error = ParseIp(host, port, &address)) return error;
  const int family = address.addr.any.sa_family;
  const int fd = OpenSocket(family, SOCK_DGRAM);
  if (fd < 0) return fd;
  int error = reuse_port ? SetReusePort(fd) : 0;
  if (error == 0 && family == AF_INET6) error = SetIpv6Only(fd, false);
  if (error == 0) error = BindSocket(fd, address);
  auto* state = error == 0 ? new (std::nothrow) DatagramState : nullptr;
  Endpoint* endpoint =
      state != nullptr && inbox_.Prepare() ? New(Kind::kDatagram, fd) : nullptr;
  if (endpoint == nullptr) {
    delete state;
    CloseSocket(fd);
    return error != 0 ? error : -ENOMEM;
  }
  endpoint->datagrams = state;
  endpoint->state = State::kOpen;
  endpoint->flags |= kFlagReading;
  if (family == AF_INET6) endpoint->peer.family = 6;
  UpdateInterest(endpoint);
  return static_cast<int>(endpoint->id);
}

int Hub::ConnectUdp(uint32_t id, std::string_view host, int port) {
  Endpoint* endpoint = Udp(id);
  if (endpoint == nullptr) return -EBADF;
  Address address;
  if (const int error = ParseIp(host, port, &address)) return error;
  const int error = ConnectSocket(endpoint->fd, address);
  if (error == 0) endpoint->peer = ToPeer(address);
  return error;
}

int Hub::SetUdpOption(uint32_t id, UdpOption option, int value, std::string_view group,
                      std::string_view interface) {
  Endpoint* endpoint = Udp(id);
  if (endpoint == nullptr) return -EBADF;
  const int fd = endpoint->fd;
  const bool six = endpoint->peer.family == 6;
  switch (option) {
    case UdpOption::kBroadcast:
      return setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &value, sizeof(value)) == 0 ? 0 : -errno;
    case UdpOption::kTtl:
      if (value < 1 || value > kMaxTtl) return -EINVAL;
      return SetInt(fd, six, {IP_TTL, IPV6_UNICAST_HOPS}, value);
    case UdpOption::kMulticastTtl:
      if (value < 0 || value > kMaxTtl) return -EINVAL;
      return SetByte(fd, six, {IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS}, value);
    case UdpOption::kMulticastLoopback:
      return SetByte(fd, six, {IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP}, value);
    case UdpOption::kMulticastInterface:
      return SetInterface(fd, six, interface);
    case UdpOption::kAddMembership:
      return SetMembership(fd, six, true, group, interface);
    case UdpOption::kDropMembership:
      return SetMembership(fd, six, false, group, interface);
  }
  return -EINVAL;
}

// Into the inbox with one system call for many, from there side by side into JavaScript's chunk.
// False: no room in the chunk, or another socket's datagrams are in the inbox.
bool Hub::ReadDatagrams(Endpoint* endpoint) {
  if (inbox_.next < inbox_.count && inbox_.owner != endpoint->id) return false;
  inbox_.owner = endpoint->id;
  for (int batch = 0; batch < kBatchesPerRound; batch++) {
    if (inbox_.next == inbox_.count) {
      inbox_.next = inbox_.count = 0;
      inbox_.Prepare();
      const int got = engine_->ReceiveDatagrams(endpoint, inbox_.slots, kDatagramBatch);
      if (got < 0) {
        if (got == -EAGAIN) return true;
        endpoint->error = -got;
        endpoint->error_syscall = kSysReceive;
        Raise(endpoint, kRecError);
        return false;  // behind it there may be data
      }
      inbox_.count = got;
      if (got == 0) return true;
    }
    const bool all = inbox_.count < kDatagramBatch;
    for (; inbox_.next < inbox_.count; inbox_.next++) {
      if (in_count_ >= kMaxInRecords) return false;
      if (!DeliverDatagram(endpoint, inbox_.slots[inbox_.next])) return false;
    }
    if (all) return true;
  }
  return false;
}

bool Hub::DeliverDatagram(Endpoint* endpoint, const DatagramSlot& slot) {
  const bool bulk = slot.len > kSmallDatagramBytes;
  int32_t* pos = &ctl_[bulk ? kCtlBulkPos : kCtlSmallPos];
  const Chunk& chunk = CurrentChunk(bulk);
  const size_t at = (static_cast<size_t>(*pos) + 3) & ~size_t{3};
  const size_t end = at + sizeof(DatagramHead) + slot.len;
  if (end > chunk.len) {
    ctl_[kCtlNeedChunk] |= bulk ? 2 : 1;
    return false;
  }
  const DatagramHead head = ToHead(slot.address, slot.address_len);
  memcpy(chunk.data + at, &head, sizeof(head));
  memcpy(chunk.data + at + sizeof(head), slot.data, slot.len);
  *pos = static_cast<int32_t>(end);
  if (bulk) {
    bulk_bytes_ += slot.len;
    KeepFreedChunks();
  }
  Put(endpoint->id, bulk ? kRecDatagramBulk : kRecDatagram, static_cast<int32_t>(at),
      static_cast<int32_t>(slot.len));
  return true;
}

// Out records of a datagram socket begin with a head each. One system call for many of them.
void Hub::FlushDatagrams(Endpoint* endpoint) {
  DatagramSlot slots[kDatagramBatch];
  int record = endpoint->first_out;
  endpoint->first_out = endpoint->last_out = -1;
  while (record >= 0) {
    int count = 0;
    for (; record >= 0 && count < kDatagramBatch; record = next_out_[record]) {
      uint8_t* at = slab_ + out_[record * 3 + 1];
      DatagramSlot& slot = slots[count];
      DatagramHead head;
      memcpy(&head, at, sizeof(head));
      slot.data = at + sizeof(head);
      slot.len = static_cast<size_t>(out_[record * 3 + 2]) - sizeof(head);
      if (FromHead(head, &slot.address, &slot.address_len) == 0) count++;
    }
    const int sent = endpoint->datagrams->empty() ? SendAll(endpoint, slots, count) : 0;
    for (int i = sent; i < count; i++) {
      if (!EnqueueDatagram(endpoint, slots[i])) DatagramFailed(endpoint, slots[i], ENOBUFS);
    }
  }
  UpdateInterest(endpoint);
}

// Sends until the kernel is full; how many are done with. One that fails is told and left out: the
// others have nothing to do with it.
int Hub::SendAll(Endpoint* endpoint, const DatagramSlot* slots, int count) {
  int done = 0;
  while (done < count) {
    const int sent = engine_->SendDatagrams(endpoint, slots + done, count - done);
    if (sent == -EAGAIN) break;
    if (sent < 0) DatagramFailed(endpoint, slots[done], -sent);
    done += sent < 0 ? 1 : sent;
  }
  return done;
}

bool Hub::EnqueueDatagram(Endpoint* endpoint, const DatagramSlot& slot) {
  // A datagram of no bytes takes memory, too.
  const int64_t bytes = queued_[endpoint->id & kSlotMask] + static_cast<int64_t>(slot.len) + 1;
  if (bytes > kMaxDatagramQueueBytes || !endpoint->datagrams->Push(slot)) return false;
  SetQueued(endpoint, bytes);
  return true;
}

void Hub::DatagramFailed(Endpoint* endpoint, const DatagramSlot& slot, int error) {
  endpoint->error = error;
  endpoint->error_syscall = kSysSend;
  endpoint->datagrams->failed = ToHead(slot.address, slot.address_len);
  Raise(endpoint, kRecError);
}

// The socket is writable again.
void Hub::DrainDatagrams(Endpoint* endpoint) {
  DatagramState* state = endpoint->datagrams;
  DatagramSlot slots[kDatagramBatch];
  while (!state->empty()) {
    const int count = state->Peek(slots, kDatagramBatch);
    const int done = SendAll(endpoint, slots, count);
    int64_t bytes = queued_[endpoint->id & kSlotMask];
    for (int i = 0; i < done; i++) bytes -= static_cast<int64_t>(state->Shift()) + 1;
    SetQueued(endpoint, bytes);
    if (done < count) break;
  }
  AfterDrain(endpoint);
  if (endpoint->state != State::kClosing) UpdateInterest(endpoint);
}

void Hub::DropDatagrams(Endpoint* endpoint) {
  if (inbox_.owner == endpoint->id) inbox_.next = inbox_.count = 0;
  delete endpoint->datagrams;
  endpoint->datagrams = nullptr;
}

}  // namespace uvio
