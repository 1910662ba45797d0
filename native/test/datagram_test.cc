// Datagram sockets of the hub on a bare libuv loop, with faults between the hub and the kernel.
#include "core/datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bare_host.h"
#include "check.h"
#include "core/hub.h"

using namespace uvio;

namespace {

struct FaultEngine final : DefaultEngine {
  using DefaultEngine::DefaultEngine;
  bool full = false;     // the kernel takes nothing
  int fails_at = 0;      // that datagram fails
  int calls = 0;
  int sent = 0;
  int most = 1000;       // taken by one call

  int SendDatagrams(Endpoint* endpoint, const DatagramSlot* slots, int count) override {
    calls++;
    if (full) return -EAGAIN;
    if (fails_at > 0 && sent + 1 == fails_at) {
      fails_at = 0;
      return -EPERM;
    }
    if (fails_at > 0 && sent + count >= fails_at) count = fails_at - 1 - sent;
    if (count > most) count = most;
    const int taken = DefaultEngine::SendDatagrams(endpoint, slots, count);
    if (taken > 0) sent += taken;
    return taken;
  }
};

struct Got {
  uint32_t id;
  DatagramHead head;
  std::string text;
  bool bulk;
};

struct Host final : BareHost {
  FaultEngine engine;
  std::vector<uint8_t> small, bulk;
  std::vector<Got> got;
  std::vector<std::vector<int>> events;  // id, kind, a, b
  int entries = 0;

  Host() : engine(&loop), small(64 << 10), bulk(512 << 10) { OpenHub(&engine); }
  ~Host() { CloseHub(); }
  int32_t queued(uint32_t id) {
    return reinterpret_cast<int32_t*>(shared.data() + kQueuedOffset)[id & kSlotMask];
  }
  uint32_t Open(const char* host = "127.0.0.1") {
    const int id = hub->OpenUdp(host, 0, false);
    CHECK(id >= 0);
    return static_cast<uint32_t>(id);
  }
  // What JavaScript does. Without a port: to the connected peer.
  void Put(uint32_t id, const std::string& text, int port) {
    int32_t* out = reinterpret_cast<int32_t*>(shared.data() + kOutOffset);
    int32_t& count = ctl()[kCtlOutCount];
    int32_t& pos = ctl()[kCtlOutPos];
    DatagramHead head{};
    if (port != 0) {
      Address address;
      ParseIp("127.0.0.1", port, &address);
      head = ToHead(address.addr, address.len);
    }
    uint8_t* at = shared.data() + kSlabOffset + pos;
    memcpy(at, &head, sizeof(head));
    memcpy(at + sizeof(head), text.data(), text.size());
    out[count * 3] = static_cast<int32_t>(id);
    out[count * 3 + 1] = pos;
    out[count * 3 + 2] = static_cast<int32_t>(sizeof(head) + text.size());
    pos += static_cast<int32_t>((sizeof(head) + text.size() + 3) & ~size_t{3});
    count++;
  }
  void Enter(int records) override {
    entries++;
    const int32_t* in = reinterpret_cast<const int32_t*>(shared.data() + kInOffset);
    for (int i = 0; i < records; i++, in += 4) {
      const auto id = static_cast<uint32_t>(in[0]);
      if (in[1] != kRecDatagram && in[1] != kRecDatagramBulk) {
        events.push_back({in[0], in[1], in[2], in[3]});
        continue;
      }
      const uint8_t* at = (in[1] == kRecDatagram ? small : bulk).data() + in[2];
      Got one{id, {}, "", in[1] == kRecDatagramBulk};
      memcpy(&one.head, at, sizeof(one.head));
      one.text.assign(reinterpret_cast<const char*>(at) + sizeof(one.head),
                      static_cast<size_t>(in[3]));
      got.push_back(std::move(one));
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
    for (const auto& event : events) count += event[1] == kind;
    return count;
  }
};

TEST(heads_and_addresses_are_one_another) {
  for (const char* text : {"127.0.0.1", "255.1.2.3", "::1", "fe80::1:2:3"}) {
    Address address;
    CHECK_EQ(ParseIp(text, 54321, &address), 0);
    const DatagramHead head = ToHead(address.addr, address.len);
    CHECK_EQ(head.port(), 54321);
    CHECK(HeadText(head) == text);
    SockAddr back;
    socklen_t len = 0;
    CHECK_EQ(FromHead(head, &back, &len), 0);
    CHECK_EQ(len, address.len);
    CHECK_EQ(memcmp(&back, &address.addr, len), 0);
  }
  SockAddr none;
  socklen_t len = 7;
  CHECK_EQ(FromHead(DatagramHead{}, &none, &len), 0);
  CHECK_EQ(len, 0u);
  DatagramHead wrong{};
  wrong.tag = 9u << 16;
  CHECK_EQ(FromHead(wrong, &none, &len), -EINVAL);
}

TEST(many_datagrams_of_a_turn_leave_in_few_calls_and_arrive_in_one_entry) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  const int port = host.PortOf(b);
  for (int i = 0; i < 40; i++) host.Put(a, "number " + std::to_string(i), port);
  host.hub->Flush();
  CHECK_EQ(host.engine.calls, 2);
  CHECK(host.RunUntil([&] { return host.got.size() == 40; }));
  CHECK_EQ(host.entries, 1);
  for (int i = 0; i < 40; i++) {
    const Got& one = host.got[static_cast<size_t>(i)];
    CHECK_EQ(one.id, b);
    CHECK(one.text == "number " + std::to_string(i));
    CHECK_EQ(one.head.port(), host.PortOf(a));
    CHECK_EQ(one.head.family(), 4u);
  }
}

#ifdef __linux__
// Alike ones beside others: only lengths and order tell how they were put together.
void SendMany(Host& host, uint32_t from, int port) {
  const std::vector<size_t> sizes = {1000, 1000, 1000, 300, 1000, 0,    1000, 1000,
                                     1400, 1400, 1401, 1401, 5,   1000, 1000, 1001};
  for (size_t i = 0; i < sizes.size(); i++) {
    host.Put(from, std::string(sizes[i], static_cast<char>('a' + i)), port);
  }
  host.hub->Flush();
  CHECK(host.RunUntil([&] { return host.got.size() == sizes.size(); }));
  for (size_t i = 0; i < sizes.size(); i++) {
    CHECK(host.got[i].text == std::string(sizes[i], static_cast<char>('a' + i)));
  }
  CHECK_EQ(host.events.size(), 0u);
}

TEST(alike_datagrams_leave_as_one_and_arrive_one_by_one) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  SendMany(host, a, host.PortOf(b));
  CHECK_EQ(host.engine.calls, 1);
  // A socket that takes them together sees that they came together.
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  const int on = 1;
  setsockopt(fd, IPPROTO_UDP, 104 /* UDP_GRO */, &on, sizeof(on));
  Address address;
  ParseIp("127.0.0.1", 0, &address);
  CHECK_EQ(bind(fd, &address.addr.any, address.len), 0);
  CHECK_EQ(getsockname(fd, &address.addr.any, &address.len), 0);
  for (int i = 0; i < 3; i++) host.Put(a, std::string(500, 'x'), ntohs(address.addr.v4.sin_port));
  host.hub->Flush();
  char data[4096];
  CHECK_EQ(recv(fd, data, sizeof(data), 0), 1500);
  close(fd);
}

TEST(where_the_kernel_refuses_segments_each_datagram_leaves_alone) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  const int on = 1;
  CHECK_EQ(setsockopt(host.hub->Descriptor(a), SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
  SendMany(host, a, host.PortOf(b));
}
#endif

TEST(sizes_from_none_to_the_most) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  CHECK_EQ(host.hub->ConnectUdp(a, "127.0.0.1", host.PortOf(b)), 0);
  const std::vector<size_t> sizes = {0, 1, 4096, 4097, 65507};
  for (const size_t size : sizes) {
    host.Put(a, std::string(size, 'x'), 0);
    host.hub->Flush();
  }
  CHECK(host.RunUntil([&] { return host.got.size() == sizes.size(); }));
  for (size_t i = 0; i < sizes.size(); i++) {
    CHECK_EQ(host.got[i].text.size(), sizes[i]);
    CHECK_EQ(host.got[i].bulk, sizes[i] > kSmallDatagramBytes);
  }
}

TEST(a_chunk_that_is_full_keeps_the_rest_for_the_next_one) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  const uint32_t c = host.Open();
  for (int round = 0; round < 12; round++) {
    for (int i = 0; i < 12; i++) {
      host.Put(a, std::string(static_cast<size_t>(1000 + i), 'b'), host.PortOf(b));
      host.Put(a, std::string(static_cast<size_t>(2000 + i), 'c'), host.PortOf(c));
    }
    host.hub->Flush();
    const auto wanted = static_cast<size_t>((round + 1) * 24);
    CHECK(host.RunUntil([&] { return host.got.size() == wanted; }));
  }
  int next[2] = {0, 0};
  for (const Got& one : host.got) {
    const bool is_b = one.id == b;
    CHECK_EQ(one.text.size(), static_cast<size_t>((is_b ? 1000 : 2000) + next[is_b]++ % 12));
    CHECK_EQ(one.text[0], is_b ? 'b' : 'c');
  }
}

TEST(a_datagram_that_fails_costs_the_others_nothing) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  for (int i = 1; i <= 5; i++) host.Put(a, std::to_string(i), host.PortOf(b));
  host.engine.fails_at = 3;
  host.hub->Flush();
  CHECK(host.RunUntil([&] { return host.got.size() == 4 && host.Count(kRecError) == 1; }));
  CHECK(host.got[2].text == "4");
  CHECK_EQ(host.events[0][2], EPERM);
  CHECK_EQ(host.events[0][3], static_cast<int>(kSysSend));
  const int port = host.PortOf(b);
  std::string text;
  CHECK_EQ(host.hub->FailedAddress(a, &text), 0);
  CHECK(text == "127.0.0.1");
  CHECK_EQ(host.ctl()[kCtlAddrPort], port);
}

TEST(a_full_kernel_queues_in_order_and_drain_is_told) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  host.engine.full = true;
  for (int i = 0; i < 50; i++) host.Put(a, std::to_string(100 + i), host.PortOf(b));
  host.hub->Flush();
  CHECK_EQ(host.queued(a), 50 * 4);
  CHECK(host.ctl()[kCtlQueued] > 0);
  host.hub->NotifyDrain(a, 10);
  CHECK_EQ(host.Count(kRecDrain), 0);
  host.engine.full = false;
  host.engine.most = 7;
  CHECK(host.RunUntil([&] { return host.got.size() == 50 && host.Count(kRecDrain) == 1; }));
  for (int i = 0; i < 50; i++) {
    CHECK(host.got[static_cast<size_t>(i)].text == std::to_string(100 + i));
  }
  CHECK_EQ(host.queued(a), 0);
  CHECK_EQ(host.ctl()[kCtlQueued], 0);
}

TEST(the_queue_has_a_bound_and_what_is_above_is_told) {
  Host host;
  const uint32_t a = host.Open();
  host.engine.full = true;
  const std::string big(65000, 'x');
  for (int i = 0; i < 300; i++) {
    host.Put(a, big, 9);
    host.hub->Flush();
  }
  CHECK(host.queued(a) <= kMaxDatagramQueueBytes);
  CHECK(host.queued(a) > kMaxDatagramQueueBytes - 70000);
  CHECK(host.RunUntil([&] { return host.Count(kRecError) > 0; }));
  CHECK_EQ(host.events[0][2], ENOBUFS);
}

TEST(closing_sends_what_waits_and_aborting_does_not) {
  for (const bool abort : {false, true}) {
    Host host;
    const uint32_t a = host.Open();
    const uint32_t b = host.Open();
    host.engine.full = true;
    for (int i = 0; i < 5; i++) host.Put(a, "x", host.PortOf(b));
    CHECK_EQ(abort ? host.hub->Abort(a) : host.hub->Close(a), 0);
    host.engine.full = false;
    CHECK(host.RunUntil([&] { return host.Count(kRecClosed) == 1; }));
    for (int i = 0; i < 50; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
    CHECK_EQ(host.got.size(), abort ? 0u : 5u);
    CHECK_EQ(host.hub->Close(a), -EBADF);
    CHECK_EQ(host.ctl()[kCtlDatagrams], 1);
  }
}

TEST(closing_while_datagrams_wait_in_the_inbox) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  const uint32_t c = host.Open();
  for (int round = 0; round < 8; round++) {
    for (int i = 0; i < 20; i++) host.Put(a, std::string(3000, 'b'), host.PortOf(b));
    host.hub->Flush();
    uv_run(&host.loop, UV_RUN_NOWAIT);
  }
  host.hub->Abort(b);
  host.Put(a, "to c", host.PortOf(c));
  host.hub->Flush();
  CHECK(host.RunUntil([&] { return !host.got.empty() && host.got.back().id == c; }));
  CHECK(host.got.back().text == "to c");
}

TEST(nobody_listens_at_the_connected_peer) {
  Host host;
  const uint32_t gone = host.Open();
  const int port = host.PortOf(gone);
  host.hub->Abort(gone);
  const uint32_t a = host.Open();
  CHECK_EQ(host.hub->ConnectUdp(a, "127.0.0.1", port), 0);
  host.Put(a, "anyone?", 0);
  host.hub->Flush();
  CHECK(host.RunUntil([&] { return host.Count(kRecError) == 1; }));
  for (const auto& event : host.events) {
    if (event[1] == kRecError) CHECK_EQ(event[2], ECONNREFUSED);
  }
  for (int i = 0; i < 50; i++) uv_run(&host.loop, UV_RUN_NOWAIT);
  CHECK_EQ(host.Count(kRecError), 1);
}

TEST(settings_are_checked) {
  Host host;
  const uint32_t a = host.Open();
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kBroadcast, 1, "", ""), 0);
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kTtl, 0, "", ""), -EINVAL);
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kTtl, 255, "", ""), 0);
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kMulticastTtl, 256, "", ""), -EINVAL);
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kAddMembership, 0, "no address", ""), -EINVAL);
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kAddMembership, 0, "ff02::1", ""), -EINVAL);
  CHECK_EQ(host.hub->SetUdpOption(a, UdpOption::kMulticastInterface, 0, "", "::1"), -EINVAL);
  CHECK_EQ(host.hub->SetUdpOption(a + 1, UdpOption::kTtl, 1, "", ""), -EBADF);
  CHECK_EQ(host.hub->OpenUdp("no address", 0, false), -EINVAL);
  CHECK_EQ(host.hub->OpenUdp("127.0.0.1", host.PortOf(a), false), -EADDRINUSE);
}

TEST(disposing_with_datagrams_everywhere) {
  Host host;
  const uint32_t a = host.Open();
  const uint32_t b = host.Open();
  host.Put(a, "under way", host.PortOf(b));
  host.hub->Flush();
  host.engine.full = true;
  host.Put(a, "queued", host.PortOf(b));
  host.hub->Flush();
  host.Put(a, "in the slab", host.PortOf(b));
}

}  // namespace
