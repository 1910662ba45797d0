#include "core/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

namespace uvio {

namespace {

constexpr int kKeepAliveProbeSeconds = 1;
constexpr int kKeepAliveProbes = 10;

int SetFlag(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int GetFlag(int fd, int name, int* value) {
  socklen_t length = sizeof(*value);
  return getsockopt(fd, SOL_SOCKET, name, value, &length) == 0 ? 0 : -errno;
}

#ifndef __linux__
int Prepare(int fd) {
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    const int error = -errno;
    close(fd);
    return error;
  }
#ifdef SO_NOSIGPIPE
  SetFlag(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
  return fd;
}
#endif

}  // namespace

int OpenSocket(int family, int type) {
#ifdef __linux__
  const int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : -errno;
#else
  const int fd = socket(family, type, 0);
  return fd >= 0 ? Prepare(fd) : -errno;
#endif
}

int AcceptSocket(int listener, Address* peer) {
  for (;;) {
    peer->len = sizeof(peer->addr);
#ifdef __linux__
    const int fd = accept4(listener, &peer->addr.any, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return fd;
#else
    const int fd = accept(listener, &peer->addr.any, &peer->len);
    if (fd >= 0) return Prepare(fd);
#endif
    if (errno != EINTR) return -errno;
  }
}

int BindSocket(int fd, const Address& address) {
  return bind(fd, &address.addr.any, address.len) == 0 ? 0 : -errno;
}

int ListenSocket(int fd, int backlog) { return listen(fd, backlog) == 0 ? 0 : -errno; }

int ConnectSocket(int fd, const Address& address) {
  for (;;) {
    if (connect(fd, &address.addr.any, address.len) == 0) return 0;
    // An interrupted connect may go on by itself, or not have begun: the second call tells.
    if (errno == EINTR) continue;
    if (errno == EISCONN) return 0;
    return errno == EALREADY ? -EINPROGRESS : -errno;
  }
}

int SocketError(int fd) {
  int error = 0;
  socklen_t len = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return -errno;
  return -error;
}

int ShutdownSocket(int fd) { return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno; }

void CloseSocket(int fd) {
  // EINTR: Linux has closed it all the same; a second call could hit somebody else's descriptor.
  close(fd);
}

int SetReuseAddr(int fd) { return SetFlag(fd, SOL_SOCKET, SO_REUSEADDR, 1); }

int SetReusePort(int fd) {
#ifdef SO_REUSEPORT
  return SetFlag(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#else
  return -ENOTSUP;
#endif
}

int SetIpv6Only(int fd, bool enable) {
  return SetFlag(fd, IPPROTO_IPV6, IPV6_V6ONLY, enable ? 1 : 0);
}

int SetNoDelay(int fd, bool enable) {
  return SetFlag(fd, IPPROTO_TCP, TCP_NODELAY, enable ? 1 : 0);
}

int SetLeastRead(int fd, int bytes) {
#if defined(__linux__)
  return SetFlag(fd, SOL_SOCKET, SO_RCVLOWAT, bytes);
#else
  (void)fd;
  (void)bytes;
  return -ENOSYS;
#endif
}

int SetMostUnsent(int fd, int bytes) {
#if defined(__linux__) && defined(TCP_NOTSENT_LOWAT)
  return SetFlag(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes);
#else
  (void)fd;
  (void)bytes;
  return -ENOSYS;
#endif
}

int SetKeepAlive(int fd, bool enable, int idle_ms) {
  if (const int error = SetFlag(fd, SOL_SOCKET, SO_KEEPALIVE, enable ? 1 : 0)) return error;
  if (!enable || idle_ms <= 0) return 0;
  const int seconds = (idle_ms + 999) / 1000;
#if defined(TCP_KEEPIDLE)
  int error = SetFlag(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  // As libuv does: by the system's own figures a dead peer is known eleven minutes later.
  if (error == 0) error = SetFlag(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveProbeSeconds);
  if (error == 0) error = SetFlag(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
  return error;
#elif defined(TCP_KEEPALIVE)
  return SetFlag(fd, IPPROTO_TCP, TCP_KEEPALIVE, seconds);
#else
  return 0;
#endif
}

int SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  if ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int CheckListening(int fd) {
  int value = 0;
  if (const int error = GetFlag(fd, SO_TYPE, &value)) return error;
  if (value != SOCK_STREAM) return -EPROTOTYPE;
  if (const int error = GetFlag(fd, SO_ACCEPTCONN, &value)) return error;
  return value != 0 ? 0 : -EINVAL;
}

int CheckConnected(int fd) {
  int value = 0;
  if (const int error = GetFlag(fd, SO_TYPE, &value)) return error;
  if (value != SOCK_STREAM) return -EPROTOTYPE;
  if (const int error = GetFlag(fd, SO_ACCEPTCONN, &value)) return error;
  if (value != 0) return -EINVAL;
  Address peer;
  return PeerAddress(fd, &peer);
}

int PollNow(int fd, int events) {
  pollfd one{fd, static_cast<short>(events), 0};
  return poll(&one, 1, 0) > 0 ? one.revents : 0;
}

int LocalAddress(int fd, Address* out) {
  out->len = sizeof(out->addr);
  return getsockname(fd, &out->addr.any, &out->len) == 0 ? 0 : -errno;
}

int PeerAddress(int fd, Address* out) {
  out->len = sizeof(out->addr);
  return getpeername(fd, &out->addr.any, &out->len) == 0 ? 0 : -errno;
}

}  // namespace uvio
