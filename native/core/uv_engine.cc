#include "core/uv_engine.h"

#include <errno.h>
#include <sys/socket.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "core/endpoint.h"

namespace uvio {

namespace {

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;  // SO_NOSIGPIPE was set on the socket
#endif

// glibc's recv and send are thread cancellation points: two atomic operations each, which show in
// profiles of small messages. These go straight to the kernel.
inline ssize_t Recv(int fd, void* into, size_t capacity) {
#ifdef SYS_recvfrom
  return syscall(SYS_recvfrom, fd, into, capacity, 0, nullptr, nullptr);
#else
  return recv(fd, into, capacity, 0);
#endif
}

inline ssize_t SendOne(int fd, const void* data, size_t len) {
#ifdef SYS_sendto
  return syscall(SYS_sendto, fd, data, len, kSendFlags, nullptr, 0);
#else
  return send(fd, data, len, kSendFlags);
#endif
}

}  // namespace

int UvEngine::Add(Endpoint* endpoint) {
  uv_poll_t* poll = &endpoint->engine.poll;
  const int error = uv_poll_init(loop_, poll, endpoint->fd);
  if (error != 0) return error;
  poll->data = endpoint;
  return 0;
}

int UvEngine::SetInterest(Endpoint* endpoint, uint8_t interest) {
  if (interest == kInterestNone) return uv_poll_stop(&endpoint->engine.poll);
  const int events = ((interest & kInterestIn) ? UV_READABLE : 0) |
                     ((interest & kInterestOut) ? UV_WRITABLE : 0);
  return uv_poll_start(&endpoint->engine.poll, events, OnPoll);
}

void UvEngine::Remove(Endpoint* endpoint) {
  uv_close(reinterpret_cast<uv_handle_t*>(&endpoint->engine.poll), OnClose);
}

void UvEngine::Reference(Endpoint* endpoint, bool ref) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&endpoint->engine.poll);
  if (ref) {
    uv_ref(handle);
  } else {
    uv_unref(handle);
  }
}

int64_t UvEngine::Receive(Endpoint* endpoint, void* into, size_t capacity) {
  for (;;) {
    const ssize_t got = Recv(endpoint->fd, into, capacity);
    if (got >= 0) return got;
    if (errno != EINTR) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
  }
}

int64_t UvEngine::Send(Endpoint* endpoint, const iovec* parts, int count) {
  for (;;) {
    ssize_t sent;
    if (count == 1) {
      sent = SendOne(endpoint->fd, parts[0].iov_base, parts[0].iov_len);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(parts);
      message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
      sent = sendmsg(endpoint->fd, &message, kSendFlags);
    }
    if (sent >= 0) return sent;
    // ENOBUFS is what BSD answers for a full interface queue; a later try may do.
    if (errno != EINTR) return errno == EWOULDBLOCK || errno == ENOBUFS ? -EAGAIN : -errno;
  }
}

void UvEngine::OnPoll(uv_poll_t* poll, int status, int events) {
  auto* endpoint = static_cast<Endpoint*>(poll->data);
  EngineHost* host = endpoint->host;
  if (status != 0) {
    // libuv has stopped polling (POLLERR). The next system call tells why.
    host->OnReady(endpoint, kInterestIn | kInterestOut, true);
    return;
  }
  const uint8_t interest = ((events & UV_READABLE) ? kInterestIn : 0) |
                           ((events & UV_WRITABLE) ? kInterestOut : 0);
  host->OnReady(endpoint, interest, false);
}

void UvEngine::OnClose(uv_handle_t* handle) {
  auto* endpoint = static_cast<Endpoint*>(handle->data);
  endpoint->host->OnReleased(endpoint);
}

}  // namespace uvio
