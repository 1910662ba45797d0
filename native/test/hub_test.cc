// The hub on a bare libuv loop: the part of JavaScript is played by a host that echoes. Faults are
// put between the hub and the kernel at every nth call.
#include "core/hub.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bare_host.h"
#include "check.h"
#include "core/socket.h"

using namespace uvio;

namespace {

struct FaultEngine final : DefaultEngine {
  using DefaultEngine::DefaultEngine;
  int every = 0;          // each nth Send takes one byte or nothing
  int receive_fails_at = 0;
  int64_t room = -1;      // bytes that the next Send takes, or a negative errno below -1
  int sends = 0;
  int receives = 0;
  int vectors = 0;

  int64_t Send(Endpoint* endpoint, const iovec* parts, int count) override {
    sends++;
    vectors += count;
    if (room != -1) return SendSome(endpoint, parts, count, std::exchange(room, -1));
    if (every > 0 && sends % every == 0) {
      if (sends % 2 == 0) return -EAGAIN;
      const iovec one{parts[0].iov_base, 1};
      return DefaultEngine::Send(endpoint, &one, 1);
    }
    return DefaultEngine::Send(endpoint, parts, count);
  }
  int64_t SendSome(Endpoint* endpoint, const iovec* parts, int count, int64_t bytes) {
    if (bytes <= 0) return bytes == 0 ? -EAGAIN : bytes;
    std::vector<iovec> some(parts, parts + count);
    auto left = static_cast<size_t>(bytes);
    for (iovec& part : some) {
      part.iov_len = std::min(part.iov_len, left);
      left -= part.iov_len;
    }
    return DefaultEngine::Send(endpoint, some.data(), count);
  }
  int64_t Receive(Endpoint* endpoint, void* into, size_t capacity) override {
    receives++;
    if (receive_fails_at > 0 && receives == receive_fails_at) return -ECONNRESET;
    return DefaultEngine::Receive(endpoint, into, capacity);
  }
};

struct Event {
  uint32_t id;
  int kind;
  int a, b;
};

struct Host final : BareHost {
  FaultEngine engine;
  std::vector<uint8_t> small, bulk;
  std::vector<Event> events;  // without data records
  std::vector<std::pair<uint32_t, std::string>> data;
  std::function<void(const Event&)> on_event;
  bool echo = true;

  Host() : engine(&loop), small(64 << 10), bulk(512 << 10) { OpenHub(&engine); }
  ~Host() { CloseHub(); }
  int Port(int listener) { return PortOf(static_cast<uint32_t>(listener)); }
  // What JavaScript does: copy into the slab, append a record.
  void Put(uint32_t id, const std::string& text) {
    int32_t* out = reinterpret_cast<int32_t*>(shared.data() + kOutOffset);
    int32_t& count = ctl()[kCtlOutCount];
    int32_t& pos = ctl()[kCtlOutPos];
    memcpy(shared.data() + kSlabOffset + pos, text.data(), text.size());
    out[count * 3] = static_cast<int32_t>(id);
    out[count * 3 + 1] = pos;
    out[count * 3 + 2] = static_cast<int32_t>(text.size());
    pos += static_cast<int32_t>(text.size());
    count++;
  }
  void Enter(int records) override {
    const int32_t* in = reinterpret_cast<const int32_t*>(shared.data() + kInOffset);
    for (int i = 0; i < records; i++, in += 4) {
      const auto id = static_cast<uint32_t>(in[0]);
      if (in[1] != kRecData && in[1] != kRecBulk) {
        events.push_back({id, in[1], in[2], in[3]});
        if (on_event) on_event(events.back());
        continue;
      }
      const auto& chunk = in[1] == kRecData ? small : bulk;
      std::string text(reinterpret_cast<const char*>(chunk.data()) + in[2],
                       static_cast<size_t>(in[3]));
      if (echo) {
        hub->Write(id, reinterpret_cast<const uint8_t*>(text.data()), text.size());
      }
      data.emplace_back(id, std::move(text));
    }
    if (ctl()[kCtlNeedChunk] & 1) ctl()[kCtlSmallPos] = 0;
    if (ctl()[kCtlNeedChunk] & 2) ctl()[kCtlBulkPos] = 0;
    ctl()[kCtlNeedChunk] = 0;
  }
  Chunk GetChunk(bool is_bulk) override {
    auto& chunk = is_bulk ? bulk : small;
    return {chunk.data(), chunk.size()};
  }

  int Count(int kind) const {
    int count = 0;
    for (const Event& event : events) count += event.kind == kind;
    return count;
  }
};

// A plain blocking client on the same thread: small messages fit the socket buffers.
int Client(int port) {
  Address address;
  ParseIp("127.0.0.1", port, &address);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  connect(fd, &address.addr.any, address.len);
  return fd;
}

// A client of a listener of its own; returns the stream on the other side of `fd`.
uint32_t Connected(Host& host, int* fd) {
  const int before = host.Count(kRecAccept);
  *fd = Client(host.Port(host.hub->ListenTcp("127.0.0.1", 0, {})));
  CHECK(host.RunUntil([&] { return host.Count(kRecAccept) == before + 1; }));
  return static_cast<uint32_t>(host.events.back().a);
}

std::string Take(int fd) {
  char buffer[65536];
  const ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
  return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : "";
}

TEST(echoes_with_a_fault_at_every_nth_send) {
  for (int every = 1; every <= 5; every++) {
    Host host;
    host.engine.every = every == 1 ? 3 : every;
    const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
    CHECK(listener >= 0);
    const int fd = Client(host.Port(listener));
    std::string sent, got;
    for (int i = 0; i < 50; i++) {
      const std::string text = "message " + std::to_string(i) + ";";
      sent += text;
      CHECK(host.RunUntil([&] {
        const auto size = static_cast<ssize_t>(text.size());
        return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == size;
      }));
      host.RunUntil([&] { return (got += Take(fd)).size() >= sent.size(); });
    }
    CHECK(got == sent);
    CHECK_EQ(host.ctl()[kCtlQueued], 0);
    close(fd);
  }
}

TEST(records_of_one_stream_leave_in_one_vector_and_in_order) {
  Host host;
  host.echo = false;
  int a = -1;
  int b = -1;
  const uint32_t first = Connected(host, &a);
  const uint32_t second = Connected(host, &b);
  host.engine.sends = host.engine.vectors = 0;
  for (int i = 0; i < 3; i++) {
    host.Put(first, "a" + std::to_string(i));
    host.Put(second, "b" + std::to_string(i));
  }
  const int32_t epoch = host.ctl()[kCtlFlushEpoch];
  host.hub->Flush();
  CHECK_EQ(host.engine.sends, 2);
  CHECK_EQ(host.engine.vectors, 6);
  CHECK_EQ(host.ctl()[kCtlFlushEpoch], epoch + 1);
  std::string got_a, got_b;
  CHECK(host.RunUntil([&] { return (got_a += Take(a)).size() + (got_b += Take(b)).size() >= 12; }));
  CHECK(got_a == "a0a1a2");
  CHECK(got_b == "b0b1b2");
  close(a);
  close(b);
}

std::vector<iovec> PartsOf(std::vector<std::string>& texts) {
  std::vector<iovec> parts;
  for (std::string& text : texts) parts.push_back({text.data(), text.size()});
  return parts;
}

TEST(parts_arrive_in_order_wherever_the_kernel_stops) {
  Host host;
  host.echo = false;
  int fd = -1;
  const uint32_t id = Connected(host, &fd);
  for (int64_t room = 0; room <= 15; room++) {
    std::vector<std::string> texts = {"abc", "defgh", "ijklmno"};
    std::vector<iovec> parts = PartsOf(texts);
    host.engine.room = room;
    CHECK_EQ(host.hub->WriteMany(id, parts.data(), 3), 15 - room);
    // The caller's memory is its own again, and what is put after it comes after it.
    for (std::string& text : texts) text.assign(text.size(), '#');
    host.Put(id, "!");
    host.hub->Flush();
    std::string got;
    CHECK(host.RunUntil([&] { return (got += Take(fd)).size() >= 16; }));
    CHECK(got == "abcdefghijklmno!");
    CHECK_EQ(host.ctl()[kCtlQueued], 0);
  }
  close(fd);
}

TEST(very_many_parts_take_few_calls_and_none_behind_a_full_socket) {
  Host host;
  host.echo = false;
  int fd = -1;
  const uint32_t id = Connected(host, &fd);
  std::vector<std::string> texts;
  std::string expected;
  for (int i = 0; i < 150; i++) {
    texts.push_back(std::to_string(i) + ";");
    expected += texts.back();
  }
  for (const int64_t room : {int64_t{-1}, int64_t{100}}) {
    std::vector<iovec> parts = PartsOf(texts);
    host.engine.room = room;
    const int before = host.engine.sends;
    host.hub->WriteMany(id, parts.data(), 150);
    CHECK_EQ(host.engine.sends - before, room < 0 ? 3 : 1);
    std::string got;
    CHECK(host.RunUntil([&] { return (got += Take(fd)).size() >= expected.size(); }));
    CHECK(got == expected);
  }
  close(fd);
}

TEST(a_write_of_parts_may_fail_or_be_cut_short) {
  Host host;
  host.echo = false;
  int a = -1;
  int b = -1;
  const uint32_t first = Connected(host, &a);
  const uint32_t second = Connected(host, &b);
  std::vector<std::string> texts(150, "some text");
  std::vector<iovec> parts = PartsOf(texts);
  host.engine.room = -EPIPE;
  CHECK_EQ(host.hub->WriteMany(first, parts.data(), 150), -EPIPE);
  CHECK_EQ(host.hub->WriteMany(first, parts.data(), 150), -EBADF);
  host.engine.room = 5;
  CHECK_EQ(host.hub->WriteMany(second, parts.data(), 150), 150 * 9 - 5);
  CHECK_EQ(host.hub->Abort(second), 0);
  CHECK(host.RunUntil([&] { return host.Count(kRecClosed) == 2; }));
  CHECK_EQ(host.ctl()[kCtlQueued], 0);
  close(a);
  close(b);
}

TEST(a_failed_read_closes_that_stream_only) {
  Host host;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  const int a = Client(host.Port(listener));
  const int b = Client(host.Port(listener));
  CHECK(host.RunUntil([&] { return host.Count(kRecAccept) == 2; }));
  host.engine.receive_fails_at = host.engine.receives + 1;
  send(a, "x", 1, 0);
  CHECK(host.RunUntil([&] { return host.Count(kRecClosed) == 1; }));
  const Event closed = host.events.back();
  CHECK_EQ(closed.a, ECONNRESET);
  CHECK_EQ(closed.b, static_cast<int>(kSysRead));
  CHECK_EQ(host.hub->Write(closed.id, reinterpret_cast<const uint8_t*>("y"), 1), -EBADF);
  send(b, "still here", 10, 0);
  std::string got;
  CHECK(host.RunUntil([&] { return (got += Take(b)).size() == 10; }));
  CHECK_EQ(host.Count(kRecClosed), 1);
  close(a);
  close(b);
}

TEST(ids_are_not_reused_while_stale_ones_may_be_around) {
  Host host;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  std::vector<uint32_t> seen;
  for (int i = 0; i < 300; i++) {
    const int fd = Client(host.Port(listener));
    CHECK(host.RunUntil([&] { return host.Count(kRecAccept) == i + 1; }));
    uint32_t id = 0;
    for (const Event& event : host.events) {
      if (event.kind == kRecAccept) id = static_cast<uint32_t>(event.a);
    }
    for (const uint32_t other : seen) CHECK(other != id);
    seen.push_back(id);
    host.hub->Abort(id);
    CHECK(host.RunUntil([&] { return host.Count(kRecClosed) == i + 1; }));
    CHECK_EQ(host.hub->Abort(id), -EBADF);
    close(fd);
  }
  CHECK(host.RunUntil([&] { return host.ctl()[kCtlStreams] == 0; }));
}

TEST(emfile_keeps_the_backlog) {
  Host host;
  host.echo = false;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  std::vector<int> clients;
  for (int i = 0; i < 40; i++) clients.push_back(Client(host.Port(listener)));
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const int next = dup(0);
  close(next);
  const rlimit tight{static_cast<rlim_t>(next + 10), before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &tight);
  CHECK(host.RunUntil([&] { return host.Count(kRecAcceptError) == 1; }));
  for (int i = 0; i < 200; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
  const int accepted = host.Count(kRecAccept);
  CHECK(accepted >= 1 && accepted <= 10);
  CHECK_EQ(host.Count(kRecAcceptError), 1);  // once a second at most
  // One closes: one more is served at once, not after the retry timer.
  host.hub->Abort(static_cast<uint32_t>(host.events[0].a));
  for (int i = 0; i < 20; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
  CHECK_EQ(host.Count(kRecAccept), accepted + 1);
  setrlimit(RLIMIT_NOFILE, &before);
  for (int i = 0; i < 60 && host.Count(kRecAccept) < 40; i++) uv_run(&host.loop, UV_RUN_ONCE);
  CHECK_EQ(host.Count(kRecAccept), 40);
  for (const int fd : clients) close(fd);
}

TEST(closing_waits_for_the_queue_and_aborting_does_not) {
  for (const bool abort : {false, true}) {
    Host host;
    host.echo = false;
    int fd = -1;
    const uint32_t id = Connected(host, &fd);
    std::string big(16 << 20, 'z');
    CHECK(host.hub->Write(id, reinterpret_cast<const uint8_t*>(big.data()), big.size()) > 0);
    CHECK_EQ(abort ? host.hub->Abort(id) : host.hub->Close(id), 0);
    size_t got = 0;
    host.RunUntil([&] {
      const size_t more = Take(fd).size();
      got += more;
      return host.Count(kRecClosed) == 1 && more == 0;
    });
    CHECK_EQ(host.Count(kRecClosed), 1);
    CHECK(abort ? got < big.size() : got == big.size());
    CHECK_EQ(host.events.back().a, 0);
    close(fd);
  }
}

TEST(drain_is_told_once_at_the_low_water_mark) {
  Host host;
  host.echo = false;
  int fd = -1;
  const uint32_t id = Connected(host, &fd);
  std::string big(8 << 20, 'z');
  host.hub->Write(id, reinterpret_cast<const uint8_t*>(big.data()), big.size());
  host.hub->NotifyDrain(id, 1000);
  CHECK_EQ(host.Count(kRecDrain), 0);
  size_t got = 0;
  CHECK(host.RunUntil([&] { return (got += Take(fd).size()) == big.size(); }));
  CHECK(host.RunUntil([&] { return host.Count(kRecDrain) == 1; }));
  for (int i = 0; i < 20; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
  CHECK_EQ(host.Count(kRecDrain), 1);
  close(fd);
}

#ifdef __linux__
int TcpOption(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof(value);
  getsockopt(fd, IPPROTO_TCP, name, &value, &length);
  return value;
}

TEST(a_peer_that_never_reads_makes_the_kernel_hold_little) {
  Host host;
  host.echo = false;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  const int fd = Client(host.Port(listener));
  CHECK(host.RunUntil([&] { return host.Count(kRecAccept) == 1; }));
  const auto id = static_cast<uint32_t>(host.events[0].a);
  const int own = host.hub->Descriptor(id);
  CHECK_EQ(TcpOption(own, TCP_NODELAY), 1);
  CHECK_EQ(TcpOption(own, TCP_NOTSENT_LOWAT), kLeastUnsent);
  const std::string big(8 << 20, 'x');
  const int64_t left =
      host.hub->Write(id, reinterpret_cast<const uint8_t*>(big.data()), big.size());
  CHECK(left > (7 << 20));
  for (int i = 0; i < 20; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
  CHECK_EQ(TcpOption(own, TCP_NOTSENT_LOWAT), kLeastUnsent);
  // Who reads is trusted, step by step, until the kernel's own rule holds.
  size_t got = 0;
  CHECK(host.RunUntil([&] { return (got += Take(fd).size()) == big.size(); }));
  CHECK_EQ(TcpOption(own, TCP_NOTSENT_LOWAT), 0);
  close(fd);
}

TEST(accepted_sockets_delay_only_where_that_is_wanted) {
  Host host;
  ListenOptions options;
  options.no_delay = false;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, options);
  const int fd = Client(host.Port(listener));
  CHECK(host.RunUntil([&] { return host.Count(kRecAccept) == 1; }));
  const auto id = static_cast<uint32_t>(host.events[0].a);
  CHECK_EQ(TcpOption(host.hub->Descriptor(id), TCP_NODELAY), 0);
  close(fd);
}
#endif

TEST(connecting_to_nobody_tells_the_error_and_frees_the_slot) {
  Host host;
  const int id = host.hub->ConnectTcp("127.0.0.1", 1, "", 0, true);
  CHECK(id >= 0);
  CHECK(host.RunUntil([&] { return host.Count(kRecConnect) == 1; }));
  CHECK_EQ(host.events[0].a, ECONNREFUSED);
  CHECK(host.RunUntil([&] { return host.ctl()[kCtlStreams] == 0; }));
  CHECK_EQ(host.ctl()[kCtlConnecting], 0);
}

TEST(a_slot_is_free_only_when_the_end_was_heard_of) {
  Host host;
  const int first = host.hub->ConnectTcp("127.0.0.1", 1, "", 0, true);
  int second = -1;
  // The failure and the end come in one batch; the next attempt is made between them.
  host.on_event = [&](const Event& event) {
    if (event.kind == kRecConnect && second < 0) {
      second = host.hub->ConnectTcp("127.0.0.1", 1, "", 0, true);
    }
  };
  CHECK(host.RunUntil([&] { return host.Count(kRecClosed) == 2; }));
  CHECK((static_cast<uint32_t>(first) & kSlotMask) != (static_cast<uint32_t>(second) & kSlotMask));
}

TEST(keep_alive_gives_a_dead_peer_up_after_ten_seconds) {
  const int fd = OpenSocket(AF_INET);
  CHECK_EQ(SetKeepAlive(fd, true, 1'500), 0);
  const auto option = [&](int name) {
    int value = 0;
    socklen_t length = sizeof(value);
    getsockopt(fd, IPPROTO_TCP, name, &value, &length);
    return value;
  };
  CHECK_EQ(option(TCP_KEEPIDLE), 2);
  CHECK_EQ(option(TCP_KEEPINTVL), 1);
  CHECK_EQ(option(TCP_KEEPCNT), 10);
  close(fd);
}

TEST(disposing_with_everything_open) {
  Host host;
  const int listener = host.hub->ListenTcp("127.0.0.1", 0, {});
  const int fd = Client(host.Port(listener));
  CHECK(host.RunUntil([&] { return host.Count(kRecAccept) == 1; }));
  host.hub->ConnectTcp("127.0.0.1", host.Port(listener), "", 0, true);
  close(fd);
}

}  // namespace
