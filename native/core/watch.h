// Owner: the hub.
// Lifetime: Set() opens it; Close() .. the `closed` callback.
// Thread: the loop's thread.
// Re-entrancy: nothing here calls back but `closed`; the hub asks with Take().
#pragma once

#include <uv.h>

#include <cstdint>
#include <map>
#include <vector>

#include "core/engine.h"

namespace uvio {

constexpr int kMaxWatchEvents = 256;

struct WatchEvent {
  int fd;
  uint32_t generation;
  uint8_t interest;
};

// Readiness of descriptors that are not ours (loop.addReader). Level-triggered, as in asyncio, in
// an epoll instance of its own: Node may have the same descriptor in its own. The descriptors'
// flags are left alone.
class WatchSet {
 public:
  explicit WatchSet(uv_loop_t* loop) : loop_(loop) {}
  // `interest` kInterestNone: forget it. The generation of the registration (1 ..; 0: forgotten),
  // or a negative errno. It changes when the number stands for another open file.
  int Set(int fd, uint8_t interest);
  // Something may be ready since the last Take.
  bool ready() const { return ready_; }
  const std::vector<WatchEvent>& Take(int max);
  // False: there was nothing to close, and `closed` is not called.
  bool Close(void (*closed)(void*), void* arg);

 private:
  struct Entry {
    uint32_t generation;
    uint8_t interest;
  };
  static void OnPoll(uv_poll_t* poll, int status, int events);
  int Open();
  int Register(int fd, Entry* entry);
  void Rebuild();

  uv_loop_t* loop_;
  std::map<int, Entry> entries_;  // hash tables need a newer libstdc++ than Node does
  std::vector<WatchEvent> taken_;
  uv_poll_t poll_;
  int fd_ = -1;
  uint32_t generation_ = 0;
  bool ready_ = false;
  void (*closed_)(void*) = nullptr;
  void* closed_arg_ = nullptr;
};

}  // namespace uvio
