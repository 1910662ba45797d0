#include <errno.h>

#include "core/hub.h"
#include "core/socket.h"

namespace uvio {

namespace {

// What a peer that gave up early leaves behind; see accept(2).
bool OfThePeer(int error) {
  return error == ECONNABORTED || error == EPROTO || error == ENETDOWN || error == ENOPROTOOPT ||
         error == EHOSTDOWN || error == EHOSTUNREACH || error == ENETUNREACH ||
         error == EOPNOTSUPP || error == EPERM;
}

}  // namespace

int Hub::ListenTcp(std::string_view host, int port, const ListenOptions& options) {
  Address address;
  if (const int error = ParseIp(host, port, &address)) return error;
  const int family = address.addr.any.sa_family;
  const int fd = OpenSocket(family);
  if (fd < 0) return fd;
  int error = SetReuseAddr(fd);
  if (error == 0 && options.reuse_port) error = SetReusePort(fd);
  if (error == 0 && family == AF_INET6) error = SetIpv6Only(fd, options.ipv6_only);
  if (error != 0) {
    CloseSocket(fd);
    return error;
  }
  // Accepted sockets have what their listener has: no call for each of them.
  const bool wary = SetMostUnsent(fd, kLeastUnsent) == 0;
  ListenOptions left = options;
#ifdef __linux__
  if (options.no_delay && uvio::SetNoDelay(fd, true) == 0) left.no_delay = false;
#endif
  const int id = Listen(fd, address, left);
  if (id >= 0 && wary) Find(static_cast<uint32_t>(id))->distrust = kDistrust;
  return id;
}

int Hub::ListenUnix(std::string_view path, const ListenOptions& options) {
  Address address;
  if (const int error = UnixPath(path, &address)) return error;
  const int fd = OpenSocket(AF_UNIX);
  return fd < 0 ? fd : Listen(fd, address, options);
}

int Hub::Listen(int fd, const Address& address, const ListenOptions& options) {
  int error = BindSocket(fd, address);
  if (error == 0) error = ListenSocket(fd, options.backlog);
  Endpoint* endpoint = error == 0 ? New(Kind::kListener, fd) : nullptr;
  if (endpoint == nullptr) {
    CloseSocket(fd);
    return error != 0 ? error : -ENOMEM;
  }
  StartListener(endpoint, address, options);
  return static_cast<int>(endpoint->id);
}

void Hub::StartListener(Endpoint* endpoint, const Address& address, const ListenOptions& options) {
  endpoint->state = State::kOpen;
  if (options.no_delay) endpoint->flags |= kFlagNoDelay;
  if (address.addr.any.sa_family == AF_UNIX) endpoint->flags |= kFlagUnix;
  if (!options.paused) endpoint->flags |= kFlagReading;
  UpdateInterest(endpoint);
}

int Hub::ConnectTcp(std::string_view host, int port, std::string_view local_host, int local_port,
                    bool no_delay) {
  Address address;
  if (const int error = ParseIp(host, port, &address)) return error;
  const int family = address.addr.any.sa_family;
  const int fd = OpenSocket(family);
  if (fd < 0) return fd;
  int error = no_delay ? uvio::SetNoDelay(fd, true) : 0;
  if (error == 0 && (!local_host.empty() || local_port > 0)) {
    Address local;
    const std::string_view any = family == AF_INET6 ? "::" : "0.0.0.0";
    error = ParseIp(local_host.empty() ? any : local_host, local_port, &local);
    if (error == 0 && local_port > 0) error = SetReuseAddr(fd);
    if (error == 0) error = BindSocket(fd, local);
  }
  if (error != 0) {
    CloseSocket(fd);
    return error;
  }
  return Connect(fd, address);
}

int Hub::ConnectUnix(std::string_view path) {
  Address address;
  if (const int error = UnixPath(path, &address)) return error;
  const int fd = OpenSocket(AF_UNIX);
  return fd < 0 ? fd : Connect(fd, address);
}

int Hub::Connect(int fd, const Address& address) {
  const int error = ConnectSocket(fd, address);
  Endpoint* endpoint = error == 0 || error == -EINPROGRESS ? New(Kind::kStream, fd) : nullptr;
  if (endpoint == nullptr) {
    CloseSocket(fd);
    return error != 0 && error != -EINPROGRESS ? error : -ENOMEM;
  }
  endpoint->peer = ToPeer(address);
  if (address.addr.any.sa_family == AF_UNIX) endpoint->flags |= kFlagUnix;
  endpoint->flags |= kFlagReading;
  if (error == 0) {
    endpoint->state = State::kOpen;
    Raise(endpoint, kRecConnect);
  } else {
    endpoint->state = State::kConnecting;
    ctl_[kCtlConnecting]++;
    UpdateInterest(endpoint);
  }
  return static_cast<int>(endpoint->id);
}

// A bounded number a turn, so that an accept storm leaves time for the others. True when the
// backlog was emptied (or cannot be emptied now).
void Hub::Accept(Endpoint* listener) {
  for (int i = 0; i < kMaxAcceptsPerTurn && in_count_ < kMaxInRecords; i++) {
    if (!AcceptOne(listener, i == 0)) return;
  }
}

bool Hub::AcceptOne(Endpoint* listener, bool first) {
  Address address;
  const int fd = AcceptSocket(listener->fd, &address);
  if (fd < 0) {
    if (OfThePeer(-fd)) return true;
    if (fd == -EAGAIN || fd == -EWOULDBLOCK) {
      engine_->Drained(listener);
      if (first) engine_->Again(listener);
    } else {
      AcceptFailed(listener, -fd);
    }
    return false;
  }
  Endpoint* stream = New(Kind::kStream, fd);
  if (stream == nullptr) {
    // No slot or no memory: this one connection is lost, and said so.
    CloseSocket(fd);
    AcceptFailed(listener, ENOMEM);
    return false;
  }
  stream->state = State::kOpen;
  stream->peer = ToPeer(address);
  stream->flags |= kFlagReading;
  stream->distrust = listener->distrust;
  if (listener->Has(kFlagUnix)) {
    stream->flags |= kFlagUnix;
  } else if (listener->Has(kFlagNoDelay)) {
    uvio::SetNoDelay(fd, true);
  }
  UpdateInterest(stream);
  Put(listener->id, kRecAccept, static_cast<int32_t>(stream->id), 0);
  return true;
}

// libuv would close the backlog here. We leave it in the kernel, stop polling (level-triggered
// readiness would spin) and try again when a descriptor was closed, or after kAcceptRetryMs.
void Hub::AcceptFailed(Endpoint* listener, int error) {
  const uint64_t now = uv_hrtime();
  if (listener->reported_ns == 0 || now - listener->reported_ns >= kAcceptReportNs) {
    listener->reported_ns = now;
    listener->error = error;
    Raise(listener, kRecAcceptError);
  }
  if (listener->Has(kFlagStarved)) return;
  listener->flags |= kFlagStarved;
  starved_++;
  UpdateInterest(listener);
  uv_timer_start(&retry_, OnRetry, kAcceptRetryMs, 0);
}

void Hub::OnRetry(uv_timer_t* handle) { static_cast<Hub*>(handle->data)->RetryStarved(); }

void Hub::RetryStarved() {
  for (uint32_t slot = 0; slot < slots_used_ && starved_ > 0; slot++) {
    Endpoint* endpoint = &pages_[slot / kPageSlots][slot % kPageSlots];
    if (endpoint->kind != Kind::kListener || !endpoint->Has(kFlagStarved)) continue;
    endpoint->flags &= static_cast<uint16_t>(~kFlagStarved);
    starved_--;
    UpdateInterest(endpoint);
  }
  uv_timer_stop(&retry_);
}

}  // namespace uvio
