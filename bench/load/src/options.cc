#include "options.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace load {
namespace {

constexpr uint64_t kStreamBytesInFlight = 4 << 20;
constexpr uint64_t kMaxSizeBytes = 1ull << 30;

constexpr char kUsage[] =
    "usage: load --port N [--host ADDRESS] | --unix PATH\n"
    "  --mode echo|stream|connect|idle  default echo\n"
    "  --connections N                  default 64\n"
    "  --size BYTES                     of a message, default 64\n"
    "  --pipeline K                     messages in flight per connection, default 1\n"
    "  --seconds S | --messages N       length of the measured window, default 3 s\n"
    "  --warmup MS                      before the window, default 500\n"
    "  --watch PID                      measure this process's CPU time over the window\n"
    "  --stall MS                       give up without progress, default 5000\n"
    "  --deadline MS                    give up in any case, default window + 30 s\n";

bool ParseMode(std::string_view text, Options* o) {
  if (text == "echo") o->mode = Mode::kEcho;
  else if (text == "stream") o->mode = Mode::kStream;
  else if (text == "connect") o->mode = Mode::kConnect;
  else if (text == "idle") o->mode = Mode::kIdle;
  else return false;
  o->mode_name = text;
  return true;
}

bool ParseUnsigned(const char* text, uint64_t min, uint64_t max, uint64_t* out) {
  char* end = nullptr;
  errno = 0;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || text[0] == '-') return false;
  if (value < min || value > max) return false;
  *out = value;
  return true;
}

bool ParseSeconds(const char* text, uint64_t* out_ms) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value > 0 && value <= 3600)) return false;
  *out_ms = static_cast<uint64_t>(value * 1000);
  return true;
}

bool ParseOne(std::string_view name, const char* text, Options* o) {
  uint64_t n = 0;
  const auto number = [&](uint64_t min, uint64_t max) { return ParseUnsigned(text, min, max, &n); };
  if (name == "--mode") return ParseMode(text, o);
  if (name == "--host") return o->host = text, true;
  if (name == "--unix") return o->unix_path = text, true;
  if (name == "--seconds") return ParseSeconds(text, &o->seconds_ms);
  if (name == "--port") return number(1, 65535) && (o->port = static_cast<int>(n), true);
  if (name == "--connections")
    return number(1, 1000000) && (o->connections = static_cast<uint32_t>(n), true);
  if (name == "--size") return number(1, kMaxSizeBytes) && (o->size_bytes = n, true);
  if (name == "--pipeline")
    return number(1, 65536) && (o->pipeline = static_cast<uint32_t>(n), true);
  if (name == "--messages") return number(1, UINT64_MAX) && (o->messages = n, true);
  if (name == "--warmup") return number(0, 3600000) && (o->warmup_ms = n, true);
  if (name == "--stall") return number(1, 3600000) && (o->stall_ms = n, true);
  if (name == "--deadline") return number(1, 86400000) && (o->deadline_ms = n, true);
  if (name == "--watch") return number(1, INT32_MAX) && (o->watch_pid = static_cast<int>(n), true);
  return false;
}

void FillDefaults(Options* o) {
  if (o->mode == Mode::kConnect || o->mode == Mode::kIdle) o->pipeline = 1;
  if (o->pipeline == 0) {
    const bool stream = o->mode == Mode::kStream && o->size_bytes < kStreamBytesInFlight;
    o->pipeline = stream ? static_cast<uint32_t>(kStreamBytesInFlight / o->size_bytes) : 1;
    if (o->pipeline > 65536) o->pipeline = 65536;
  }
  if (o->deadline_ms == 0) {
    const bool open_ended = o->messages != 0 || o->mode == Mode::kIdle;
    o->deadline_ms = o->warmup_ms + (open_ended ? 600000 : o->seconds_ms + 30000);
  }
}

}  // namespace

bool ParseOptions(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 >= argc || !ParseOne(argv[i], argv[i + 1], options)) {
      std::fprintf(stderr, "load: bad or incomplete option %s\n%s", argv[i], kUsage);
      return false;
    }
  }
  if (options->port == 0 && options->unix_path.empty()) {
    std::fprintf(stderr, "load: --port or --unix is needed\n%s", kUsage);
    return false;
  }
  FillDefaults(options);
  return true;
}

}  // namespace load
