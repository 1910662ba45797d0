#include "report.h"

#include <time.h>

#include <cinttypes>
#include <cstdio>

namespace load {
namespace {

uint64_t ToNs(const timespec& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

double Us(uint64_t ns) { return static_cast<double>(ns) / 1000; }

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

}  // namespace

uint64_t OwnCpuNs() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return ToNs(t);
}

bool ProcessCpuNs(int pid, uint64_t* ns) {
  clockid_t clock{};
  timespec t{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return false;
  *ns = ToNs(t);
  return true;
}

uint64_t WaitNs(int pid) {
  const std::string who = pid == 0 ? "self" : std::to_string(pid);
  std::FILE* file = std::fopen(("/proc/" + who + "/schedstat").c_str(), "re");
  if (file == nullptr) return 0;
  uint64_t run_ns = 0;
  uint64_t wait_ns = 0;
  const int fields = std::fscanf(file, "%" SCNu64 " %" SCNu64, &run_ns, &wait_ns);
  std::fclose(file);
  return fields == 2 ? wait_ns : 0;
}

void Print(const Options& o, const Report& r) {
  const double seconds = static_cast<double>(r.end_ns - r.begin_ns) / 1e9;
  const double rate = seconds > 0 ? static_cast<double>(r.messages) / seconds : 0;
  const double count = r.messages > 0 ? static_cast<double>(r.messages) : 1;
  std::printf("{\"mode\":%s,\"connections\":%u,\"sizeBytes\":%" PRIu64 ",\"pipeline\":%u,",
              Quoted(o.mode_name).c_str(), o.connections, o.size_bytes, o.pipeline);
  std::printf("\"seconds\":%.6f,\"messages\":%" PRIu64 ",\"messagesPerSecond\":%.1f,", seconds,
              r.messages, rate);
  std::printf("\"megabytesPerSecond\":%.3f,", rate * static_cast<double>(o.size_bytes) / 1e6);
  const Histogram& h = r.latency_ns;
  std::printf("\"latencyUs\":{\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,", h.mean() / 1000,
              Us(h.Percentile(50)), Us(h.Percentile(90)));
  std::printf("\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f},", Us(h.Percentile(99)),
              Us(h.Percentile(99.9)), Us(h.max()));
  std::printf("\"loadCpuUs\":%.0f,\"loadCpuUsPerMessage\":%.4f,", Us(r.load_cpu_ns),
              Us(r.load_cpu_ns) / count);
  std::printf("\"loadWaitUs\":%.0f,", Us(r.load_wait_ns));
  if (r.watched) {
    std::printf("\"serverCpuUs\":%.0f,\"serverCpuUsPerMessage\":%.4f,", Us(r.server_cpu_ns),
                Us(r.server_cpu_ns) / count);
    std::printf("\"serverWaitUs\":%.0f,", Us(r.server_wait_ns));
  }
  std::printf("\"errors\":%" PRIu64 ",\"errorKinds\":{\"corrupt\":%" PRIu64 ",\"lost\":%" PRIu64,
              r.errors(), r.corrupt, r.lost);
  std::printf(",\"refused\":%" PRIu64 ",\"stalled\":%" PRIu64 "},\"firstError\":%s}\n", r.refused,
              r.stalled, Quoted(r.first_error).c_str());
  std::fflush(stdout);
}

}  // namespace load
