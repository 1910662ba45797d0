#include "core/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>

#include <cstddef>
#include <cstring>

namespace uvio {

int ParseIp(std::string_view host, int port, Address* out) {
  if (port < 0 || port > 65535) return -EINVAL;
  std::string text(host);
  *out = Address{};
  if (inet_pton(AF_INET, text.c_str(), &out->addr.v4.sin_addr) == 1) {
    out->addr.v4.sin_family = AF_INET;
    out->addr.v4.sin_port = htons(static_cast<uint16_t>(port));
    out->len = sizeof(sockaddr_in);
    return 0;
  }
  uint32_t scope = 0;
  if (const size_t percent = text.find('%'); percent != std::string::npos) {
    scope = if_nametoindex(text.c_str() + percent + 1);
    text.resize(percent);
  }
  if (inet_pton(AF_INET6, text.c_str(), &out->addr.v6.sin6_addr) != 1) return -EINVAL;
  out->addr.v6.sin6_family = AF_INET6;
  out->addr.v6.sin6_port = htons(static_cast<uint16_t>(port));
  out->addr.v6.sin6_scope_id = scope;
  out->len = sizeof(sockaddr_in6);
  return 0;
}

int UnixPath(std::string_view path, Address* out) {
  *out = Address{};
  if (path.empty()) return -EINVAL;
  const bool abstract = path[0] == '\0';
#ifndef __linux__
  if (abstract) return -EINVAL;
#endif
  if (!abstract && path.find('\0') != std::string_view::npos) return -EINVAL;
  // A path needs room for its closing NUL, an abstract name does not.
  if (path.size() + (abstract ? 0 : 1) > sizeof(out->addr.un.sun_path)) return -ENAMETOOLONG;
  out->addr.un.sun_family = AF_UNIX;
  memcpy(out->addr.un.sun_path, path.data(), path.size());
  out->len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                    (abstract ? 0 : 1));
  return 0;
}

Peer ToPeer(const Address& address) {
  Peer peer{};
  if (address.len == 0) return peer;
  if (address.addr.any.sa_family == AF_INET) {
    peer.family = 4;
    peer.port = ntohs(address.addr.v4.sin_port);
    memcpy(peer.ip, &address.addr.v4.sin_addr, 4);
  } else if (address.addr.any.sa_family == AF_INET6) {
    peer.family = 6;
    peer.port = ntohs(address.addr.v6.sin6_port);
    memcpy(peer.ip, &address.addr.v6.sin6_addr, 16);
  } else if (address.addr.any.sa_family == AF_UNIX) {
    peer.family = 1;
  }
  return peer;
}

std::string IpText(const Peer& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.family == 4) inet_ntop(AF_INET, peer.ip, text, sizeof(text));
  if (peer.family == 6) inet_ntop(AF_INET6, peer.ip, text, sizeof(text));
  return text;
}

std::string PathText(const Address& address) {
  const size_t head = offsetof(sockaddr_un, sun_path);
  if (address.addr.any.sa_family != AF_UNIX || address.len <= head) return "";
  const char* path = address.addr.un.sun_path;
  if (path[0] == '\0') return std::string(path, address.len - head);
  return std::string(path, strnlen(path, address.len - head));
}

}  // namespace uvio
