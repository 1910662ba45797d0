// What one run found, and its one line of JSON.
#pragma once

#include <cstdint>
#include <string>

#include "histogram.h"
#include "options.h"

namespace load {

struct Report {
  Histogram latency_ns;
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  uint64_t load_cpu_ns = 0;
  uint64_t server_cpu_ns = 0;
  uint64_t load_wait_ns = 0;    // ready to run, but something else had the core
  uint64_t server_wait_ns = 0;  // the same of the server's main thread
  bool watched = false;
  uint64_t messages = 0;
  uint64_t corrupt = 0;
  uint64_t lost = 0;
  uint64_t refused = 0;
  uint64_t stalled = 0;
  std::string first_error;

  uint64_t errors() const { return corrupt + lost + refused + stalled; }
};

void Print(const Options& options, const Report& report);

// CPU time of this process, or of process `pid` with all its threads, dead ones too.
uint64_t OwnCpuNs();
bool ProcessCpuNs(int pid, uint64_t* ns);

// How long the main thread of a process (0: this one) was kept from its core; 0 where unknown.
uint64_t WaitNs(int pid);

}  // namespace load
