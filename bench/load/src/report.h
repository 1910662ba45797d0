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

}  // namespace load
