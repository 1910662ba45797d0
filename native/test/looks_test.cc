// How often the hub asks the kernel what is ready, and that nobody is forgotten when it does not.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "bare_host.h"
#include "check.h"
#include "core/socket.h"

using namespace uvio;

namespace {

struct CountingEngine final : DefaultEngine {
  using DefaultEngine::DefaultEngine;
  int polls = 0;
  int receives = 0;

  int Poll() override {
    polls++;
    return DefaultEngine::Poll();
  }
  int64_t Receive(Endpoint* endpoint, void* into, size_t capacity) override {
    receives++;
    return DefaultEngine::Receive(endpoint, into, capacity);
  }
};

struct Host final : BareHost {
  CountingEngine engine;
  std::vector<uint8_t> chunk;
  std::vector<std::pair<uint32_t, int>> events;  // without data records
  bool echo = true;

  Host() : engine(&loop), chunk(64 << 10) {
    uv_loop_configure(&loop, UV_METRICS_IDLE_TIME);  // as Node does
    OpenHub(&engine);
  }
  ~Host() { CloseHub(); }
  void Enter(int records) override {
    const int32_t* in = reinterpret_cast<const int32_t*>(shared.data() + kInOffset);
    for (int i = 0; i < records; i++, in += 4) {
      const auto id = static_cast<uint32_t>(in[0]);
      if (in[1] != kRecData) {
        events.emplace_back(in[1] == kRecAccept ? static_cast<uint32_t>(in[2]) : id, in[1]);
      } else if (echo) {
        hub->Write(id, chunk.data() + in[2], static_cast<size_t>(in[3]));
      }
    }
    ctl()[kCtlSmallPos] = ctl()[kCtlNeedChunk] = 0;
  }
  Chunk GetChunk(bool) override { return {chunk.data(), chunk.size()}; }
  bool Has(uint32_t id, int kind) const {
    for (const auto& event : events) {
      if (event == std::pair{id, kind}) return true;
    }
    return false;
  }
};

int Socket(int port) {
  Address address;
  ParseIp("127.0.0.1", port, &address);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (port == 0) {
    CHECK_EQ(bind(fd, &address.addr.any, address.len), 0);
    CHECK_EQ(listen(fd, 8), 0);
  } else {
    connect(fd, &address.addr.any, address.len);
  }
  return fd;
}

// A stream that the hub has accepted, and its other side.
struct Accepted {
  int fd = -1;
  uint32_t id = 0;

  Accepted(Host& host, int listener) {
    const size_t before = host.events.size();
    fd = Socket(host.PortOf(static_cast<uint32_t>(listener)));
    CHECK(host.RunUntil([&] { return host.events.size() > before; }));
    id = host.events.back().first;
  }
  ~Accepted() { close(fd); }
};

bool Answered(int fd) {
  char byte = 0;
  return recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
}

void Ask(int fd) { CHECK_EQ(send(fd, "x", 1, MSG_NOSIGNAL), 1); }

// Asks once the loop sleeps.
struct Asking {
  uv_timer_t timer;
  int fd;
};

void AskLater(Host& host, int fd) {
  auto* asking = new Asking{{}, fd};
  uv_timer_init(&host.loop, &asking->timer);
  asking->timer.data = asking;
  uv_timer_start(
      &asking->timer,
      [](uv_timer_t* timer) {
        Ask(static_cast<Asking*>(timer->data)->fd);
        uv_close(reinterpret_cast<uv_handle_t*>(timer),
                 [](uv_handle_t* handle) { delete static_cast<Asking*>(handle->data); });
      },
      1, 0);
}

// One after the other, as a client does that waits for each answer.
void Exchange(Host& host, int fd, int count) {
  for (int i = 0; i < count; i++) {
    AskLater(host, fd);
    for (int turn = 0; !Answered(fd); turn++) {
      CHECK(turn < 20);
      if (turn == 20) return;
      uv_run(&host.loop, UV_RUN_ONCE);
    }
  }
}

// Turns that do not sleep, `before` each of which something else is done.
template <typename Before>
int TurnsUntilAnswered(Host& host, int fd, Before before) {
  int turns = 0;
  while (!Answered(fd) && turns < 100) {
    before();
    uv_run(&host.loop, UV_RUN_NOWAIT);
    turns++;
  }
  return turns;
}

constexpr int kEnoughToKnow = 64;

TEST(of_one_answer_at_a_time_few_looks_are_taken) {
  Host host;
  Accepted one(host, host.hub->ListenTcp("127.0.0.1", 0, {}));
  Exchange(host, one.fd, kEnoughToKnow);
  host.engine.polls = host.engine.receives = 0;
  Exchange(host, one.fd, 160);
  CHECK(host.engine.polls <= 50);
  CHECK_EQ(host.engine.receives, 160);
}

TEST(another_one_is_heard_at_once_though_it_was_not_guessed) {
  Host host;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  Accepted one(host, listener);
  Accepted other(host, listener);
  for (int round = 0; round < 20; round++) {
    Exchange(host, one.fd, kEnoughToKnow);
    Ask(other.fd);
    CHECK(TurnsUntilAnswered(host, other.fd, [] {}) <= 3);
  }
}

TEST(one_that_always_has_something_outruns_nobody) {
  Host host;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  Accepted one(host, listener);
  Accepted other(host, listener);
  for (int round = 0; round < 20; round++) {
    Exchange(host, one.fd, kEnoughToKnow);
    Ask(other.fd);
    int turns = TurnsUntilAnswered(host, other.fd, [&] { Ask(one.fd); });
    CHECK(turns <= 3);
    CHECK(host.RunUntil([&] {
      while (Answered(one.fd)) turns--;
      return turns == 0;
    }));
  }
}

TEST(the_end_of_the_usual_one_is_heard) {
  for (const bool reset : {false, true}) {
    Host host;
    host.echo = true;
    Accepted one(host, host.hub->ListenTcp("127.0.0.1", 0, {}));
    Exchange(host, one.fd, kEnoughToKnow);
    Ask(one.fd);
    if (reset) {
      const linger now{1, 0};
      setsockopt(one.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      CHECK_EQ(close(std::exchange(one.fd, -1)), 0);
    } else {
      shutdown(one.fd, SHUT_WR);
    }
    CHECK(host.RunUntil([&] { return host.Has(one.id, reset ? kRecClosed : kRecEof); }));
  }
}

TEST(the_usual_one_is_closed_by_us_and_its_slot_used_again) {
  Host host;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  for (int i = 0; i < 3; i++) {
    Accepted one(host, listener);
    Exchange(host, one.fd, kEnoughToKnow);
    host.hub->Abort(one.id);
    CHECK(host.RunUntil([&] { return host.Has(one.id, kRecClosed); }));
  }
}

TEST(paused_it_is_not_read_and_goes_on_later) {
  Host host;
  Accepted one(host, host.hub->ListenTcp("127.0.0.1", 0, {}));
  Exchange(host, one.fd, kEnoughToKnow);
  host.hub->SetReading(one.id, false);
  Ask(one.fd);
  host.engine.receives = 0;
  for (int i = 0; i < 50; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
  CHECK_EQ(host.engine.receives, 0);
  host.hub->SetReading(one.id, true);
  CHECK(host.RunUntil([&] { return Answered(one.fd); }));
}

// One that has connected was registered for room to write, and no longer is.
TEST(the_usual_one_waits_for_room) {
  Host host;
  const int server = Socket(0);
  sockaddr_in bound{};
  socklen_t length = sizeof(bound);
  getsockname(server, reinterpret_cast<sockaddr*>(&bound), &length);
  const int made = host.hub->ConnectTcp("127.0.0.1", ntohs(bound.sin_port), "", 0, true);
  const auto id = static_cast<uint32_t>(made);
  CHECK(host.RunUntil([&] { return host.Has(id, kRecConnect); }));
  const int peer = accept(server, nullptr, nullptr);
  host.hub->SetReading(id, true);
  Exchange(host, peer, kEnoughToKnow);
  host.engine.polls = 0;
  Exchange(host, peer, 160);
  CHECK(host.engine.polls <= 50);
  const std::string much(8 << 20, 'y');
  CHECK(host.hub->Write(id, reinterpret_cast<const uint8_t*>(much.data()), much.size()) > 0);
  size_t came = 0;
  std::vector<char> buffer(256 << 10);
  CHECK(host.RunUntil([&] {
    const ssize_t got = recv(peer, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) came += static_cast<size_t>(got);
    return came == much.size();
  }));
  Exchange(host, peer, kEnoughToKnow);
  close(peer);
  close(server);
}

// It reads on while what we write waits for room: the guess must not forget what it waits for.
TEST(the_usual_one_is_guessed_while_it_waits_for_room) {
  Host host;
  Accepted one(host, host.hub->ListenTcp("127.0.0.1", 0, {}));
  Exchange(host, one.fd, kEnoughToKnow);
  const std::string much(8 << 20, 'y');
  CHECK(host.hub->Write(one.id, reinterpret_cast<const uint8_t*>(much.data()), much.size()) > 0);
  host.echo = false;
  for (int i = 0; i < kEnoughToKnow; i++) {
    AskLater(host, one.fd);
    host.engine.receives = 0;
    for (int turn = 0; host.engine.receives == 0 && turn < 20; turn++) {
      uv_run(&host.loop, UV_RUN_ONCE);
    }
    CHECK_EQ(host.engine.receives, 1);
  }
  size_t came = 0;
  std::vector<char> buffer(256 << 10);
  CHECK(host.RunUntil([&] {
    const ssize_t got = recv(one.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) came += static_cast<size_t>(got);
    return came == much.size();
  }));
}

}  // namespace
