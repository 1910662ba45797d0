#include "load.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace load {
namespace {

constexpr int kMaxEvents = 512;
constexpr uint32_t kMaxConnecting = 64;  // well below any server's backlog
constexpr uint64_t kMsNs = 1000000;
constexpr uint32_t kMaxFailures = 1000;
constexpr uint64_t kDrainMs = 3000;

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Load::Load(const Options& options)
    : options_(options), clients_(options.connections), scratch_(Pattern::kWindowBytes) {
  RaiseFileLimit();
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
}

Load::~Load() {
  for (Client& client : clients_) Close(client);
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

const Report& Load::Run() {
  std::vector<epoll_event> events(kMaxEvents);
  begin_ns_ = now_ns_ = phase_ns_ = progress_ns_ = NowNs();
  // Connections of this mode carry messages from the start: the warm-up begins at once.
  if (one_shot()) phase_ = Phase::kWarmup;
  while (phase_ != Phase::kDone) {
    OpenMore();
    const int n = epoll_wait(epoll_fd_, events.data(), kMaxEvents, WaitMs());
    now_ns_ = NowNs();
    for (int i = 0; i < n; ++i) HandleEvent(events[static_cast<std::size_t>(i)]);
    CheckClock();
  }
  return report_;
}

int Load::WaitMs() const { return phase_ == Phase::kDraining ? 10 : 50; }

void Load::OpenMore() {
  // In idle mode an echo proves that the server has accepted: its backlog cannot overflow.
  while (next_to_open_ < clients_.size() && connecting_ + unproven() < kMaxConnecting) {
    Start(clients_[next_to_open_++]);
  }
}

void Load::Start(Client& client) {
  if (!Open(client, options_, next_id_++)) return Failed(client);
  ++connecting_;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &client;
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, client.fd, &event);
}

void Load::HandleEvent(const epoll_event& event) {
  if (event.data.ptr == nullptr) {  // standard input ended: the caller wants idle mode to end
    char byte = 0;
    if (read(STDIN_FILENO, &byte, 1) == 0) phase_ = Phase::kDone;
    return;
  }
  Client& client = *static_cast<Client*>(event.data.ptr);
  if (client.fd < 0) return;
  if (client.state == State::kConnecting) {
    --connecting_;
    if (!FinishOpen(client)) return Failed(client);
    return Opened(client);
  }
  HandleIo(client, event.events);
}

void Load::Opened(Client& client) {
  ++open_;
  progress_ns_ = now_ns_;
  if (one_shot() || options_.mode == Mode::kIdle) return TopUp(client);
  if (open_ == clients_.size()) AllOpened();
}

void Load::AllOpened() {
  phase_ = Phase::kWarmup;
  phase_ns_ = progress_ns_ = now_ns_;
  for (Client& client : clients_) {
    if (client.state == State::kOpen) TopUp(client);
  }
}

void Load::HandleIo(Client& client, uint32_t events) {
  const uint32_t ending = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & (EPOLLIN | ending)) != 0) {
    const bool good = Receive(client, pattern_, scratch_.data(), (events & ending) != 0);
    CountMessages(client);
    if (!good) return Failed(client);
    if (client.saw_end) return CycleEnded(client);
  }
  if (client.state == State::kOpen) TopUp(client);
}

void Load::CountMessages(Client& client) {
  const uint64_t size = options_.size_bytes;
  if (client.in_flight() == 0 || client.received < (client.completed + 1) * size) return;
  const uint64_t now = NowNs();
  do {
    const uint64_t started_ns = client.sent_ns[client.completed % options_.pipeline];
    ++client.completed;
    --in_flight_;
    if (!one_shot()) Record(now - started_ns);
  } while (client.in_flight() > 0 && client.received >= (client.completed + 1) * size);
  progress_ns_ = now;
  if (one_shot()) {
    client.state = State::kEnding;
    shutdown(client.fd, SHUT_WR);
  } else if (options_.mode == Mode::kIdle && ++echoed_ == clients_.size()) {
    Hold();
  }
}

void Load::Record(uint64_t latency_ns) {
  if (phase_ != Phase::kMeasuring) return;
  ++report_.messages;
  report_.latency_ns.Add(latency_ns);
  if (report_.messages == options_.messages) EndWindow();
}

// Starts messages up to the pipeline's depth and sends what the socket takes.
void Load::TopUp(Client& client) {
  const bool once = one_shot() || options_.mode == Mode::kIdle;
  const uint64_t limit = once ? 1 : UINT64_MAX;
  // What was connected still makes its round after the window.
  const bool more = once || (phase_ != Phase::kDraining && phase_ != Phase::kDone);
  if (more && client.in_flight() < options_.pipeline && client.started < limit) {
    const uint64_t now = NowNs();
    do {
      client.sent_ns[client.started % options_.pipeline] = now;
      ++client.started;
      ++in_flight_;
    } while (client.in_flight() < options_.pipeline && client.started < limit);
  }
  if (!Pump(client, pattern_, options_.size_bytes)) Failed(client);
}

// Connect mode: the server has closed too. The next connection takes this one's place.
void Load::CycleEnded(Client& client) {
  const uint64_t now = NowNs();
  progress_ns_ = now;
  --open_;
  Close(client);
  Record(now - client.opened_ns);
  if (phase_ == Phase::kWarmup || phase_ == Phase::kMeasuring) Start(client);
}

void Load::Failed(Client& client) {
  if (report_.errors() == 0) report_.first_error = Describe(client);
  if (client.fault == Fault::kCorrupt) ++report_.corrupt;
  if (client.fault == Fault::kConnect) ++report_.refused;
  if (client.fault == Fault::kLost) ++report_.lost;
  if (client.state == State::kOpen || client.state == State::kEnding) --open_;
  in_flight_ -= client.in_flight();
  client.started = client.completed;
  Close(client);
  client.state = State::kFailed;
  ++failed_;
  const bool hopeless = failed_ == clients_.size() || failed_ >= kMaxFailures;
  if (phase_ == Phase::kOpening || hopeless) {
    if (phase_ == Phase::kMeasuring) EndWindow();
    phase_ = Phase::kDone;
  }
}

void Load::Stalled(const char* what) {
  if (report_.errors() == 0) report_.first_error = what;
  report_.stalled += std::max<uint64_t>(1, in_flight_);
  if (phase_ == Phase::kMeasuring) EndWindow();
  phase_ = Phase::kDone;
}

void Load::CheckClock() {
  now_ns_ = NowNs();
  const uint64_t in_phase = now_ns_ - phase_ns_;
  if (phase_ == Phase::kDone) return;
  if (now_ns_ - begin_ns_ > options_.deadline_ms * kMsNs) return Stalled("the deadline passed");
  if (phase_ == Phase::kHolding) return;
  if (phase_ == Phase::kDraining) {
    const uint64_t left = one_shot() ? open_ + connecting_ : in_flight_;
    if (left == 0) phase_ = Phase::kDone;
    else if (in_phase > kDrainMs * kMsNs) Stalled("messages did not come back after the window");
    return;
  }
  if (now_ns_ - std::min(progress_ns_, now_ns_) > options_.stall_ms * kMsNs) {
    return Stalled("no message came back for a while");
  }
  if (phase_ == Phase::kWarmup && in_phase >= options_.warmup_ms * kMsNs) BeginWindow();
  else if (phase_ == Phase::kMeasuring && options_.messages == 0 &&
           in_phase >= options_.seconds_ms * kMsNs)
    EndWindow();
}

void Load::BeginWindow() {
  phase_ = Phase::kMeasuring;
  wait_at_begin_ns_ = WaitNs(0);
  if (options_.watch_pid != 0) {
    server_wait_at_begin_ns_ = WaitNs(options_.watch_pid);
    report_.watched = ProcessCpuNs(options_.watch_pid, &server_cpu_at_begin_ns_);
  }
  cpu_at_begin_ns_ = OwnCpuNs();
  report_.begin_ns = phase_ns_ = NowNs();
}

void Load::EndWindow() {
  uint64_t server_ns = 0;
  report_.watched = report_.watched && ProcessCpuNs(options_.watch_pid, &server_ns);
  report_.server_cpu_ns = report_.watched ? server_ns - server_cpu_at_begin_ns_ : 0;
  report_.end_ns = phase_ns_ = NowNs();
  report_.load_cpu_ns = OwnCpuNs() - cpu_at_begin_ns_;
  report_.load_wait_ns = WaitNs(0) - wait_at_begin_ns_;
  if (report_.watched) {
    report_.server_wait_ns = WaitNs(options_.watch_pid) - server_wait_at_begin_ns_;
  }
  phase_ = Phase::kDraining;
}

// Idle mode: all connections stand. Says so, and waits for the end of standard input.
void Load::Hold() {
  phase_ = Phase::kHolding;
  report_.begin_ns = begin_ns_;
  report_.end_ns = NowNs();
  report_.messages = echoed_;
  std::printf("{\"ready\":%u}\n", echoed_);
  std::fflush(stdout);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  // A regular file cannot be polled; reading it to the end at once is right then.
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) phase_ = Phase::kDone;
}

}  // namespace load
