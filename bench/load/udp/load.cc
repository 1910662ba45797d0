// Load for a UDP echo server: many sockets, each with several datagrams under way. Prints one line
// of JSON. Build: c++ -O3 -std=c++20 -o udp-load load.cc
//   udp-load PORT SOCKETS WINDOW BYTES SECONDS
// Each answer is compared by length and sends the next datagram. What is lost is sent again when
// its socket has been silent for 20 ms, and counted.
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr int kBatch = 32;
constexpr uint64_t kSilenceNs = 20'000'000;

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

struct Client {
  int fd;
  int flying;
  uint64_t heard_ns;
};

struct Load {
  size_t bytes;
  std::vector<uint8_t> data;
  std::vector<uint8_t> memory;
  mmsghdr out[kBatch];
  mmsghdr in[kBatch];
  iovec out_part, in_parts[kBatch];
  uint64_t received = 0, wrong = 0, lost = 0;

  explicit Load(size_t size) : bytes(size), data(size, 7), memory(kBatch * 65536) {
    out_part = {data.data(), size};
    for (int i = 0; i < kBatch; i++) {
      out[i] = mmsghdr{};
      out[i].msg_hdr.msg_iov = &out_part;
      out[i].msg_hdr.msg_iovlen = 1;
      in_parts[i] = {memory.data() + i * 65536, 65536};
      in[i] = mmsghdr{};
      in[i].msg_hdr.msg_iov = &in_parts[i];
      in[i].msg_hdr.msg_iovlen = 1;
    }
  }

  void Send(Client& client, int count) {
    while (count > 0) {
      const int sent = sendmmsg(client.fd, out, count < kBatch ? count : kBatch, 0);
      if (sent <= 0) return;
      client.flying += sent;
      count -= sent;
    }
  }

  void Receive(Client& client, uint64_t now) {
    for (;;) {
      const int got = recvmmsg(client.fd, in, kBatch, MSG_DONTWAIT, nullptr);
      if (got <= 0) return;
      for (int i = 0; i < got; i++) wrong += in[i].msg_len != bytes;
      received += static_cast<uint64_t>(got);
      client.heard_ns = now;
      client.flying -= got;
      Send(client, got);
      if (got < kBatch) return;
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr, "udp-load PORT SOCKETS WINDOW BYTES SECONDS\n");
    return 2;
  }
  const int sockets = atoi(argv[2]);
  const int window = atoi(argv[3]);
  Load load(static_cast<size_t>(atoi(argv[4])));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int poll = epoll_create1(0);
  std::vector<Client> clients(static_cast<size_t>(sockets));
  for (size_t i = 0; i < clients.size(); i++) {
    Client& client = clients[i];
    client = {socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), 0, Now()};
    if (connect(client.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return 1;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(poll, EPOLL_CTL_ADD, client.fd, &event);
  }
  const uint64_t start = Now();
  const uint64_t end = start + static_cast<uint64_t>(atof(argv[5]) * 1e9);
  for (Client& client : clients) load.Send(client, window);
  uint64_t now = start;
  while (now < end) {
    epoll_event events[64];
    const int count = epoll_wait(poll, events, 64, 10);
    now = Now();
    for (int i = 0; i < count; i++) load.Receive(clients[events[i].data.u64], now);
    if (count > 0) continue;
    for (Client& client : clients) {
      if (now - client.heard_ns < kSilenceNs) continue;
      load.lost += static_cast<uint64_t>(client.flying);
      client.flying = 0;
      client.heard_ns = now;
      load.Send(client, window);
    }
  }
  printf("{\"messages\":%llu,\"seconds\":%.3f,\"lost\":%llu,\"wrong\":%llu}\n",
         static_cast<unsigned long long>(load.received), static_cast<double>(now - start) / 1e9,
         static_cast<unsigned long long>(load.lost), static_cast<unsigned long long>(load.wrong));
  return 0;
}
