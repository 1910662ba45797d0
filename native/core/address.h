// Owner: values.
// Lifetime: none.
// Thread: any.
// Re-entrancy: pure functions.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>

namespace uvio {

union SockAddr {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un un;
};

struct Address {
  SockAddr addr{};
  socklen_t len = 0;
};

// 16 bytes of IP + port + family: what a connection keeps of its peer.
struct Peer {
  uint8_t ip[16];
  uint16_t port;
  uint8_t family;  // 4, 6, 1 (UNIX) or 0 (not known)
};

// "127.0.0.1", "::1", "fe80::1%eth0"; negative errno otherwise.
int ParseIp(std::string_view host, int port, Address* out);
// A leading NUL means Linux' abstract namespace. ENAMETOOLONG, EINVAL.
int UnixPath(std::string_view path, Address* out);
Peer ToPeer(const Address& address);
// Text of the IP address; empty for others.
std::string IpText(const Peer& peer);
// Path of a UNIX address.
std::string PathText(const Address& address);

}  // namespace uvio
