// Owner: whoever asks; each has its own.
// Lifetime: the loop's.
// Thread: the loop's thread.
// Re-entrancy: nothing here calls back.
#pragma once

#include <uv.h>

#include <cstdint>

namespace uvio {

// Whether libuv has slept since the last question: before it sleeps it has seen that nothing is
// left. Costs no system call; the loop must measure its idle time, as Node's does.
class Slept {
 public:
  bool Since(uv_loop_t* loop) {
    const uint64_t idle_ns = uv_metrics_idle_time(loop);
    const bool slept = idle_ns != idle_ns_;
    idle_ns_ = idle_ns;
    return slept;
  }

 private:
  uint64_t idle_ns_ = 0;  // as at the last question
};

}  // namespace uvio
