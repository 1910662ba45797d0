#include "client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace load {
namespace {

constexpr uint32_t kSourceAddresses = 200;

bool Fail(Client& client, Fault fault) {
  client.fault = fault;
  return false;
}

// Loopback has 2^24 addresses. Many short connections take turns over some of them as their source,
// so that ports in TIME_WAIT never run out and the kernel need not search for a free one.
void BindRotatingSource(int fd, uint32_t id) {
  const int on = 1;
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl((127u << 24) | ((1 + id % kSourceAddresses) << 8) | 1);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  (void)!bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source);
}

int ConnectUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

int ConnectTcp(const Options& options, uint32_t id) {
  sockaddr_storage address{};
  socklen_t len = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
  if (inet_pton(AF_INET, options.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(options.port));
    len = sizeof *v4;
  } else if (inet_pton(AF_INET6, options.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(options.port));
    len = sizeof *v6;
  } else {
    return errno = EINVAL, -1;
  }
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const bool loopback = options.host.starts_with("127.");
  if (options.mode == Mode::kConnect && loopback) BindRotatingSource(fd, id);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), len) == 0 || errno == EINPROGRESS)
    return fd;
  const int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

}  // namespace

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

bool Open(Client& client, const Options& options, uint32_t id) {
  client.id = id;
  client.started = client.completed = client.sent = client.received = 0;
  client.saw_end = false;
  client.fault = Fault::kNone;
  client.state = State::kConnecting;
  client.opened_ns = NowNs();
  if (!client.sent_ns) client.sent_ns = std::make_unique<uint64_t[]>(options.pipeline);
  const bool is_unix = !options.unix_path.empty();
  client.fd = is_unix ? ConnectUnix(options.unix_path) : ConnectTcp(options, id);
  return client.fd >= 0 || Fail(client, Fault::kConnect);
}

bool FinishOpen(Client& client) {
  int error = 0;
  socklen_t len = sizeof error;
  getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &error, &len);
  errno = error;
  if (error != 0) return Fail(client, Fault::kConnect);
  client.state = State::kOpen;
  return true;
}

bool Pump(Client& client, const Pattern& pattern, uint64_t size_bytes) {
  const uint64_t end = client.started * size_bytes;
  while (client.sent < end) {
    const uint64_t len = std::min(end - client.sent, Pattern::kWindowBytes);
    const uint8_t* data = pattern.At(client.id, client.sent);
    const ssize_t n = send(client.fd, data, len, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (n < 0) return Fail(client, Fault::kLost);
    client.sent += static_cast<uint64_t>(n);
  }
  return true;
}

bool Receive(Client& client, const Pattern& pattern, uint8_t* scratch, bool drain) {
  for (;;) {
    const ssize_t n = recv(client.fd, scratch, Pattern::kWindowBytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (n < 0) return Fail(client, Fault::kLost);
    if (n == 0) {
      errno = 0;
      client.saw_end = true;
      return client.state == State::kEnding || Fail(client, Fault::kLost);
    }
    const uint64_t len = static_cast<uint64_t>(n);
    const uint64_t right = pattern.Match(client.id, client.received, scratch, len);
    client.received += right;
    if (right < len || client.received > client.sent) return Fail(client, Fault::kCorrupt);
    // Edge-triggered: a short read emptied the socket, and new bytes make a new event.
    if (len < Pattern::kWindowBytes && !drain) return true;
  }
}

void Close(Client& client) {
  if (client.fd >= 0) close(client.fd);
  client.fd = -1;
  client.state = State::kIdle;
}

std::string Describe(const Client& client) {
  const std::string error = errno != 0 ? std::string(": ") + std::strerror(errno) : "";
  const std::string where = "connection " + std::to_string(client.id) + ", byte " +
                            std::to_string(client.received) + " of " + std::to_string(client.sent);
  switch (client.fault) {
    case Fault::kConnect: return "connect failed" + error;
    case Fault::kCorrupt: return "wrong byte came back: " + where;
    case Fault::kLost: return "connection lost: " + where + error;
    case Fault::kNone: break;
  }
  return "none";
}

}  // namespace load
