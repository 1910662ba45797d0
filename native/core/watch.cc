#include "core/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

namespace uvio {

#ifdef __linux__

namespace {

epoll_event EventOf(int fd, uint32_t generation, uint8_t interest) {
  epoll_event event{};
  if (interest & kInterestIn) event.events |= EPOLLIN;
  if (interest & kInterestOut) event.events |= EPOLLOUT;
  event.data.u64 = (uint64_t{generation} << 32) | static_cast<uint32_t>(fd);
  return event;
}

}  // namespace

int WatchSet::Open() {
  fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (fd_ < 0) return -errno;
  const int error = uv_poll_init(loop_, &poll_, fd_);
  if (error != 0) {
    close(fd_);
    fd_ = -1;
    return error;
  }
  poll_.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
  return uv_poll_start(&poll_, UV_READABLE, OnPoll);
}

void WatchSet::OnPoll(uv_poll_t* poll, int, int) {
  static_cast<WatchSet*>(poll->data)->ready_ = true;
}

int WatchSet::Set(int fd, uint8_t interest) {
  const auto found = entries_.find(fd);
  if (interest == kInterestNone) {
    if (found == entries_.end()) return 0;
    // It may be closed already, or be another one by now: then the kernel has forgotten it.
    epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr);
    entries_.erase(found);
    if (entries_.empty()) uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
    return 0;
  }
  if (fd_ < 0) {
    if (const int error = Open()) return error;
  }
  Entry entry{found != entries_.end() ? found->second.generation : ++generation_, interest};
  if (const int error = Register(fd, &entry)) return error;
  entries_[fd] = entry;
  uv_ref(reinterpret_cast<uv_handle_t*>(&poll_));
  return static_cast<int>(entry.generation);
}

int WatchSet::Register(int fd, Entry* entry) {
  epoll_event event = EventOf(fd, entry->generation, entry->interest);
  if (entries_.count(fd) != 0) {
    if (epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
    if (errno != ENOENT) return -errno;
    // It was closed, and the number used again.
    entry->generation = ++generation_;
    event = EventOf(fd, entry->generation, entry->interest);
  }
  if (epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  // Left by one that was closed while a duplicate of it lives, and has come back.
  if (errno != EEXIST) return -errno;
  return epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
}

const std::vector<WatchEvent>& WatchSet::Take(int max) {
  taken_.clear();
  ready_ = false;
  if (fd_ < 0 || max <= 0) return taken_;
  epoll_event events[kMaxWatchEvents];
  const int count = epoll_wait(fd_, events, max, 0);
  bool stale = false;
  for (int i = 0; i < count; i++) {
    const int fd = static_cast<int>(events[i].data.u64 & 0xffffffff);
    const auto found = entries_.find(fd);
    if (found == entries_.end() || found->second.generation != events[i].data.u64 >> 32) {
      stale = true;
      continue;
    }
    // As selectors.EpollSelector: an error or an end wakes both directions.
    const uint32_t seen = events[i].events;
    uint8_t interest = 0;
    if (seen & ~static_cast<uint32_t>(EPOLLOUT)) interest |= kInterestIn;
    if (seen & ~static_cast<uint32_t>(EPOLLIN)) interest |= kInterestOut;
    interest &= found->second.interest;
    if (interest != 0) taken_.push_back({fd, found->second.generation, interest});
  }
  if (stale) Rebuild();
  return taken_;
}

// A descriptor was closed and forgotten while a duplicate of it lives: the kernel goes on to tell
// of it, and no name is left by which it could be taken out. A new instance has not heard of it.
void WatchSet::Rebuild() {
  const int fresh = epoll_create1(EPOLL_CLOEXEC);
  if (fresh < 0) return;
  // In place: libuv's handle keeps its number.
  uv_poll_stop(&poll_);
  if (dup3(fresh, fd_, O_CLOEXEC) >= 0) {
    for (const auto& [fd, entry] : entries_) {
      epoll_event event = EventOf(fd, entry.generation, entry.interest);
      epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event);
    }
  }
  close(fresh);
  uv_poll_start(&poll_, UV_READABLE, OnPoll);
}

bool WatchSet::Close(void (*closed)(void*), void* arg) {
  if (fd_ < 0) return false;
  entries_.clear();
  closed_ = closed;
  closed_arg_ = arg;
  uv_poll_stop(&poll_);
  close(fd_);
  fd_ = -1;
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* handle) {
    auto* self = static_cast<WatchSet*>(handle->data);
    self->closed_(self->closed_arg_);
  });
  return true;
}

#else

int WatchSet::Set(int, uint8_t interest) { return interest == kInterestNone ? 0 : -ENOTSUP; }

const std::vector<WatchEvent>& WatchSet::Take(int) { return taken_; }

bool WatchSet::Close(void (*)(void*), void*) { return false; }

#endif

}  // namespace uvio
