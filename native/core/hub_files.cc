#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "core/hub.h"
#include "core/socket.h"
#include "core/system_io.h"

// Descriptors that somebody else has opened, and files as a source. One that was refused stays the
// caller's; one that was taken is closed with its endpoint, once.

namespace uvio {

int Hub::AdoptSocket(int fd, bool duplicate) {
  if (const int error = CheckConnected(fd)) return error;
  const int own = duplicate ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : fd;
  if (own < 0) return -errno;
  const int id = Adopt(own, 0);
  if (id < 0 && duplicate) CloseSocket(own);
  return id;
}

int Hub::AdoptPipe(int fd, bool writes) {
  uv_fs_t request;  // fstat() itself would need a newer libc than Node does
  const int failed = uv_fs_fstat(nullptr, &request, fd, nullptr);
  const auto mode = static_cast<mode_t>(request.statbuf.st_mode);
  uv_fs_req_cleanup(&request);
  if (failed != 0) return failed;
  const bool socket = S_ISSOCK(mode);
  if (!socket && !S_ISFIFO(mode) && !S_ISCHR(mode)) return -EINVAL;
  const int access = fcntl(fd, F_GETFL) & O_ACCMODE;
  if (access == (writes ? O_RDONLY : O_WRONLY)) return -EBADF;
  uint16_t flags = socket ? 0 : kFlagPlain;
  if (writes) flags |= kFlagWriteOnly;
  return Adopt(fd, flags);
}

// The registration is made here, so that what epoll refuses is told to the caller.
int Hub::Adopt(int fd, uint16_t flags) {
  if (const int error = SetNonBlocking(fd)) return error;
  Endpoint* endpoint = New(Kind::kStream, fd);
  if (endpoint == nullptr) return -ENOMEM;
  endpoint->state = State::kOpen;
  endpoint->flags |= flags;
  Address address;
  if (!endpoint->Has(kFlagPlain) && PeerAddress(fd, &address) == 0) {
    endpoint->peer = ToPeer(address);
  }
  if (endpoint->peer.family <= 1) endpoint->flags |= kFlagUnix;
  // What is written to a tty does not end with its reader.
  const bool silent = endpoint->Has(kFlagWriteOnly) && isatty(fd);
  const int error = engine_->SetInterest(endpoint, kInterestIn);
  if (error != 0) {
    endpoint->state = State::kClosing;
    endpoint->flags |= kFlagReported;  // JavaScript has never heard of it
    engine_->Remove(endpoint);
    return error;
  }
  endpoint->interest = kInterestIn;
  if (!silent) endpoint->flags |= kFlagReading;
  UpdateInterest(endpoint);
  return static_cast<int>(endpoint->id);
}

int Hub::ListenFd(int fd, const ListenOptions& options) {
  if (const int error = CheckListening(fd)) return error;
  Address address;
  if (const int error = LocalAddress(fd, &address)) return error;
  if (const int error = SetNonBlocking(fd)) return error;
  const int own = options.duplicate ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : fd;
  if (own < 0) return -errno;
  Endpoint* endpoint = New(Kind::kListener, own);
  if (endpoint == nullptr) {
    if (options.duplicate) CloseSocket(own);
    return -ENOMEM;
  }
  StartListener(endpoint, address, options);
  return static_cast<int>(endpoint->id);
}

// The end that reads has gone: an orderly end, unless something was still to be read.
void Hub::CheckReader(Endpoint* endpoint) {
  if ((PollNow(endpoint->fd, 0) & (POLLERR | POLLHUP)) == 0) {
    engine_->Drained(endpoint);
  } else if (endpoint->queue.empty()) {
    CloseNow(endpoint);
  } else {
    Fail(endpoint, EPIPE, kSysWrite);
  }
}

int64_t Hub::SendFile(uint32_t id, int file, int64_t offset, size_t count) {
  Flush();
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr || endpoint->state != State::kOpen || endpoint->Has(kFlagShutdown)) {
    return -EBADF;
  }
  if (!endpoint->queue.empty()) return -EAGAIN;
  const int64_t sent = SystemSendFile(endpoint->fd, file, offset, std::min(count, kMaxSendFile));
  if (sent == -EAGAIN) engine_->Full(endpoint);
  return sent;
}

int Hub::NotifyWritable(uint32_t id) {
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr || endpoint->state != State::kOpen) return -EBADF;
  endpoint->flags |= kFlagWantWritable;
  UpdateInterest(endpoint);
  return 0;
}

int Hub::Watch(int fd, uint8_t interest) { return watches_.Set(fd, interest); }

// As many as there is room for: readiness is a level, the others come in the next turn.
void Hub::EmitWatches() {
  const int room = kMaxInRecords - in_count_;
  for (const WatchEvent& event : watches_.Take(std::min(room, kMaxWatchEvents))) {
    Put(static_cast<uint32_t>(event.fd), kRecWatch, static_cast<int32_t>(event.generation),
        event.interest);
  }
}

}  // namespace uvio
