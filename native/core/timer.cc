#include "core/timer.h"

#include <errno.h>
#ifdef __linux__
#include <sys/timerfd.h>
#include <unistd.h>
#endif

namespace uvio {

void DeadlineTimer::OnClosed(uv_handle_t* handle) {
  auto* self = static_cast<DeadlineTimer*>(handle->data);
  self->on_closed_(self->arg_);
}

void DeadlineTimer::Reference(bool ref) {
  if (ref) {
    uv_ref(handle());
  } else {
    uv_unref(handle());
  }
}

#ifdef __linux__

uv_handle_t* DeadlineTimer::handle() { return reinterpret_cast<uv_handle_t*>(&poll_); }

int DeadlineTimer::Open(uv_loop_t* loop, Callback on_due, Callback on_closed, void* arg) {
  on_due_ = on_due;
  on_closed_ = on_closed;
  arg_ = arg;
  fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd_ < 0) return -errno;
  int error = uv_poll_init(loop, &poll_, fd_);
  if (error != 0) {
    close(fd_);
    fd_ = -1;
    return error;
  }
  poll_.data = this;
  uv_poll_start(&poll_, UV_READABLE, OnPoll);
  uv_unref(handle());
  return 0;
}

void DeadlineTimer::Arm(uint64_t deadline_ns) {
  itimerspec spec{};
  if (deadline_ns != UINT64_MAX) {
    // Zero would disarm; a time in the past fires at once.
    if (deadline_ns == 0) deadline_ns = 1;
    spec.it_value.tv_sec = static_cast<time_t>(deadline_ns / 1000000000u);
    spec.it_value.tv_nsec = static_cast<long>(deadline_ns % 1000000000u);
  }
  timerfd_settime(fd_, TFD_TIMER_ABSTIME, &spec, nullptr);
}

// The descriptor stays readable until the next Arm: the hub arms again before each poll.
void DeadlineTimer::OnPoll(uv_poll_t* poll, int, int) {
  auto* self = static_cast<DeadlineTimer*>(poll->data);
  self->on_due_(self->arg_);
}

void DeadlineTimer::Close() {
  uv_poll_stop(&poll_);
  close(fd_);
  fd_ = -1;
  uv_close(handle(), OnClosed);
}

#else

uv_handle_t* DeadlineTimer::handle() { return reinterpret_cast<uv_handle_t*>(&timer_); }

int DeadlineTimer::Open(uv_loop_t* loop, Callback on_due, Callback on_closed, void* arg) {
  on_due_ = on_due;
  on_closed_ = on_closed;
  arg_ = arg;
  const int error = uv_timer_init(loop, &timer_);
  if (error != 0) return error;
  timer_.data = this;
  uv_unref(handle());
  return 0;
}

void DeadlineTimer::Arm(uint64_t deadline_ns) {
  if (deadline_ns == UINT64_MAX) {
    uv_timer_stop(&timer_);
    return;
  }
  // uv_timer counts from the loop's cached time.
  uv_update_time(timer_.loop);
  const uint64_t now = uv_hrtime();
  const uint64_t ms = deadline_ns > now ? (deadline_ns - now + 999999) / 1000000 : 0;
  uv_timer_start(&timer_, OnTimer, ms, 0);
}

void DeadlineTimer::OnTimer(uv_timer_t* timer) {
  auto* self = static_cast<DeadlineTimer*>(timer->data);
  self->on_due_(self->arg_);
}

void DeadlineTimer::Close() { uv_close(handle(), OnClosed); }

#endif

}  // namespace uvio
