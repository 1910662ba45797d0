// The command line of the load generator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace load {

enum class Mode { kEcho, kStream, kConnect, kIdle };

struct Options {
  Mode mode = Mode::kEcho;
  std::string mode_name = "echo";
  std::string host = "127.0.0.1";
  int port = 0;
  std::string unix_path;
  uint32_t connections = 64;
  uint64_t size_bytes = 64;
  uint32_t pipeline = 0;  // 0: 1, or as many as make 4 MiB in stream mode
  uint64_t seconds_ms = 3000;
  uint64_t messages = 0;  // 0: run for seconds_ms
  uint64_t warmup_ms = 500;
  uint64_t stall_ms = 5000;
  uint64_t deadline_ms = 0;  // 0: chosen from the others
  int watch_pid = 0;         // CPU time of this process is taken over the measured window
};

// Fills `options`; on a bad command line prints why to stderr and returns false.
bool ParseOptions(int argc, char** argv, Options* options);

}  // namespace load
