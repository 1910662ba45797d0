#include "core/system_io.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <cstring>

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

namespace {

#ifdef __linux__
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

// What the smallest usual path takes (1,500 bytes, IPv6, a tunnel): the kernel refuses segments
// that would have to be fragmented.
constexpr size_t kMaxSegmentBytes = 1400;
// In one message, with room for its headers; kDatagramBatch is below the kernel's most segments.
constexpr size_t kMaxJoinedBytes = 65'000;

bool SameAddress(const DatagramSlot& one, const DatagramSlot& other) {
  return one.address_len == other.address_len &&
         memcmp(&one.address, &other.address, one.address_len) == 0;
}

// How many of them can leave as one: of one length, the last one perhaps shorter, to one address.
int Alike(const DatagramSlot* slots, int count) {
  const size_t len = slots[0].len;
  if (len == 0 || len > kMaxSegmentBytes) return 1;
  size_t bytes = len;
  int alike = 1;
  while (alike < count && slots[alike - 1].len == len && slots[alike].len <= len &&
         slots[alike].len > 0 && SameAddress(slots[0], slots[alike])) {
    bytes += slots[alike].len;
    if (bytes > kMaxJoinedBytes) break;
    alike++;
  }
  return alike;
}

// Errors of segmentation, not of a datagram: a path or a device that does not have it.
bool RefusesSegments(int error) {
  return error == EINVAL || error == EIO || error == EMSGSIZE || error == EOPNOTSUPP ||
         error == ENOPROTOOPT;
}
#endif

// A header for each datagram, pointing into its slot.
struct Headers {
#ifdef __linux__
  mmsghdr list[kDatagramBatch];
  msghdr* at(int i) { return &list[i].msg_hdr; }
#else
  msghdr list[kDatagramBatch];
  msghdr* at(int i) { return &list[i]; }
#endif
  iovec parts[kDatagramBatch];
#ifdef __linux__
  alignas(cmsghdr) char control[kDatagramBatch][CMSG_SPACE(sizeof(uint16_t))];

  // One message for datagrams that are alike and follow one another: they go through the stack,
  // routing and queues included, as one, and are cut up behind it. How many messages.
  int FillJoined(const DatagramSlot* slots, int count) {
    int messages = 0;
    for (int i = 0; i < count; messages++) {
      const int alike = Alike(slots + i, count - i);
      msghdr* header = at(messages);
      *header = msghdr{};
      header->msg_iov = &parts[i];
      header->msg_iovlen = static_cast<size_t>(alike);
      if (slots[i].address_len > 0) {
        header->msg_name = const_cast<SockAddr*>(&slots[i].address);
        header->msg_namelen = slots[i].address_len;
      }
      if (alike > 1) Segment(header, control[messages], slots[i].len);
      for (const int end = i + alike; i < end; i++) parts[i] = {slots[i].data, slots[i].len};
    }
    return messages;
  }

  static void Segment(msghdr* header, char* control, size_t len) {
    header->msg_control = control;
    header->msg_controllen = CMSG_SPACE(sizeof(uint16_t));
    cmsghdr* message = CMSG_FIRSTHDR(header);
    message->cmsg_level = IPPROTO_UDP;
    message->cmsg_type = UDP_SEGMENT;
    message->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const auto bytes = static_cast<uint16_t>(len);
    memcpy(CMSG_DATA(message), &bytes, sizeof(bytes));
  }
#endif

  // With an address for what is received, or for a datagram that has one.
  void Fill(const DatagramSlot* slots, int count, bool receive) {
    for (int i = 0; i < count; i++) {
      const DatagramSlot& slot = slots[i];
      msghdr* header = at(i);
      *header = msghdr{};
      parts[i] = {slot.data, slot.len};
      header->msg_iov = &parts[i];
      header->msg_iovlen = 1;
      if (receive || slot.address_len > 0) {
        header->msg_name = const_cast<SockAddr*>(&slot.address);
        header->msg_namelen = receive ? sizeof(slot.address) : slot.address_len;
      }
    }
  }
};

int Failed() { return errno == EWOULDBLOCK ? -EAGAIN : -errno; }

}  // namespace

int SystemReceiveDatagrams(int fd, DatagramSlot* slots, int count) {
  Headers headers;
  count = std::min(count, kDatagramBatch);
  headers.Fill(slots, count, true);
  int got = 0;
#ifdef __linux__
  do {
    got = recvmmsg(fd, headers.list, static_cast<unsigned>(count), MSG_DONTWAIT, nullptr);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return Failed();
#else
  while (got < count) {
    const ssize_t bytes = recvmsg(fd, headers.at(got), MSG_DONTWAIT);
    if (bytes >= 0) {
      slots[got++].len = static_cast<size_t>(bytes);
    } else if (errno != EINTR) {
      if (got == 0) return Failed();
      break;
    }
  }
#endif
  for (int i = 0; i < got; i++) {
#ifdef __linux__
    slots[i].len = headers.list[i].msg_len;
#endif
    slots[i].address_len = headers.at(i)->msg_namelen;
  }
  return got;
}

int SystemSendDatagrams(int fd, const DatagramSlot* slots, int count, bool* join) {
  Headers headers;
  count = std::min(count, kDatagramBatch);
  int sent = 0;
#ifdef __linux__
  for (;;) {
    int messages = count;
    if (*join) messages = headers.FillJoined(slots, count);
    else headers.Fill(slots, count, false);
    do {
      sent = sendmmsg(fd, headers.list, static_cast<unsigned>(messages), kSendFlags);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) break;
    if (headers.at(0)->msg_iovlen < 2 || !RefusesSegments(errno)) return Failed();
    *join = false;
  }
  int done = 0;
  for (int i = 0; i < sent; i++) done += static_cast<int>(headers.at(i)->msg_iovlen);
  return done;
#else
  *join = false;
  headers.Fill(slots, count, false);
  while (sent < count) {
    if (sendmsg(fd, headers.at(sent), kSendFlags) >= 0) {
      sent++;
    } else if (errno != EINTR) {
      if (sent == 0) return Failed();
      break;
    }
  }
#endif
  return sent;
}

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
