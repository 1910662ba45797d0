#include "core/system_io.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/sendfile.h>
#include <sys/syscall.h>
#endif

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

int64_t SystemReceive(int fd, void* into, size_t capacity) {
  for (;;) {
    const ssize_t got = Recv(fd, into, capacity);
    if (got >= 0) return got;
    if (errno != EINTR) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
  }
}

int64_t SystemSend(int fd, const iovec* parts, int count) {
  for (;;) {
    ssize_t sent;
    if (count == 1) {
      sent = SendOne(fd, parts[0].iov_base, parts[0].iov_len);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(parts);
      message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
      sent = sendmsg(fd, &message, kSendFlags);
    }
    if (sent >= 0) return sent;
    // ENOBUFS is what BSD answers for a full interface queue; a later try may do.
    if (errno != EINTR) return errno == EWOULDBLOCK || errno == ENOBUFS ? -EAGAIN : -errno;
  }
}

int64_t SystemRead(int fd, void* into, size_t capacity) {
  for (;;) {
    const ssize_t got = read(fd, into, capacity);
    if (got >= 0) return got;
    if (errno != EINTR) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
  }
}

int64_t SystemWrite(int fd, const iovec* parts, int count) {
  for (;;) {
    const ssize_t sent = writev(fd, parts, count);
    if (sent >= 0) return sent;
    if (errno != EINTR) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
  }
}

int64_t SystemSendFile(int fd, int file, int64_t offset, size_t count) {
#ifdef __linux__
  for (;;) {
    off_t at = offset;
    const ssize_t sent = sendfile(fd, file, &at, count);
    if (sent >= 0) return sent;
    if (errno != EINTR) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
  }
#else
  (void)fd, (void)file, (void)offset, (void)count;
  return -ENOTSUP;
#endif
}

}  // namespace uvio
