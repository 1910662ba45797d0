#include "core/address.h"

#include <cerrno>
#include <string>

#include "test/check.h"

using uvio::Address;

TEST(ip_addresses_are_read_and_written_back) {
  for (const char* text : {"127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::", "2001:db8::8"}) {
    Address address;
    CHECK_EQ(uvio::ParseIp(text, 8080, &address), 0);
    const uvio::Peer peer = uvio::ToPeer(address);
    CHECK_EQ(uvio::IpText(peer), text);
    CHECK_EQ(peer.port, 8080);
  }
}

TEST(names_and_broken_addresses_are_refused) {
  for (const char* text : {"", "localhost", "127.0.0", "1.2.3.4.5", "::1::", "127.0.0.1 "}) {
    Address address;
    CHECK(uvio::ParseIp(text, 1, &address) < 0);
  }
}

TEST(a_unix_path_up_to_the_limit_is_taken) {
  Address address;
  const size_t limit = sizeof(sockaddr_un::sun_path);
  CHECK_EQ(uvio::UnixPath("/tmp/a.sock", &address), 0);
  CHECK_EQ(uvio::PathText(address), "/tmp/a.sock");
  CHECK_EQ(uvio::UnixPath(std::string(limit + 1, 'p'), &address), -ENAMETOOLONG);
}

TEST(an_abstract_name_may_hold_any_byte) {
  Address address;
  const std::string name("\0uvio\0x", 7);
  CHECK_EQ(uvio::UnixPath(name, &address), 0);
  CHECK_EQ(uvio::PathText(address), name);
}
