// Owner: the hub.
// Lifetime: Open once, Close once; `on_closed` is the last call.
// Thread: the loop's thread.
// Re-entrancy: `on_due` comes from the poll or timer phase only.
#pragma once

#include <uv.h>

#include <cstdint>

namespace uvio {

// The one timer of a thread. On Linux a timerfd on CLOCK_MONOTONIC, exact to the microsecond:
// uv_timer counts whole milliseconds from a cached time and would be up to 1 ms late each time.
class DeadlineTimer {
 public:
  using Callback = void (*)(void* arg);
  int Open(uv_loop_t* loop, Callback on_due, Callback on_closed, void* arg);
  // Absolute nanoseconds on uv_hrtime()'s clock; UINT64_MAX disarms.
  void Arm(uint64_t deadline_ns);
  void Reference(bool ref);
  void Close();

 private:
  static void OnClosed(uv_handle_t* handle);
  uv_handle_t* handle();
#ifdef __linux__
  static void OnPoll(uv_poll_t* poll, int status, int events);
  uv_poll_t poll_;
  int fd_ = -1;
#else
  static void OnTimer(uv_timer_t* timer);
  uv_timer_t timer_;
#endif
  Callback on_due_ = nullptr;
  Callback on_closed_ = nullptr;
  void* arg_ = nullptr;
};

}  // namespace uvio
