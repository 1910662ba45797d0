// The run: opens connections, keeps messages in flight, measures one window, ends by itself.
//
// In: Options. Out: Report. Never: a wait without a deadline, or a byte that is not checked.
// Phases: kOpening -> kWarmup -> kMeasuring -> kDraining -> kDone, or kHolding for idle mode.
#pragma once

#include <cstdint>
#include <vector>

#include "client.h"
#include "options.h"
#include "pattern.h"
#include "report.h"

struct epoll_event;

namespace load {

class Load {
 public:
  explicit Load(const Options& options);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  const Report& Run();

 private:
  enum class Phase { kOpening, kWarmup, kMeasuring, kDraining, kHolding, kDone };

  bool one_shot() const { return options_.mode == Mode::kConnect; }
  uint64_t unproven() const { return options_.mode == Mode::kIdle ? in_flight_ : 0; }

  void OpenMore();
  void Start(Client& client);
  void HandleEvent(const epoll_event& event);
  void HandleIo(Client& client, uint32_t events);
  void Opened(Client& client);
  void AllOpened();
  void CountMessages(Client& client);
  void Record(uint64_t latency_ns);
  void TopUp(Client& client);
  void CycleEnded(Client& client);
  void Failed(Client& client);
  void Stalled(const char* what);

  void CheckClock();
  void BeginWindow();
  void EndWindow();
  void Hold();
  int WaitMs() const;

  const Options options_;
  const Pattern pattern_;
  Report report_;
  std::vector<Client> clients_;
  std::vector<uint8_t> scratch_;
  int epoll_fd_ = -1;
  Phase phase_ = Phase::kOpening;
  uint32_t next_to_open_ = 0;
  uint32_t next_id_ = 0;
  uint32_t connecting_ = 0;
  uint32_t open_ = 0;
  uint32_t echoed_ = 0;  // idle mode: connections that have echoed
  uint32_t failed_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t now_ns_ = 0;
  uint64_t begin_ns_ = 0;
  uint64_t phase_ns_ = 0;
  uint64_t progress_ns_ = 0;
  uint64_t cpu_at_begin_ns_ = 0;
  uint64_t server_cpu_at_begin_ns_ = 0;
  uint64_t wait_at_begin_ns_ = 0;
  uint64_t server_wait_at_begin_ns_ = 0;
};

}  // namespace load
