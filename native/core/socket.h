// Owner: the caller owns every descriptor that is returned.
// Lifetime: none.
// Thread: any.
// Re-entrancy: thin wrappers of system calls; each returns a value >= 0 or a negative errno.
#pragma once

#include "core/address.h"

namespace uvio {

// All descriptors are non-blocking and close-on-exec.
int OpenSocket(int family, int type = SOCK_STREAM);
int AcceptSocket(int listener, Address* peer);
int BindSocket(int fd, const Address& address);
int ListenSocket(int fd, int backlog);
// 0: connected at once; -EINPROGRESS: wait for writability, then SocketError().
int ConnectSocket(int fd, const Address& address);
int SocketError(int fd);
int ShutdownSocket(int fd);
void CloseSocket(int fd);

int SetReuseAddr(int fd);
int SetReusePort(int fd);
int SetIpv6Only(int fd, bool enable);
int SetNoDelay(int fd, bool enable);
// Less than that wakes nobody, but the end does. Not for UNIX sockets. -ENOSYS outside of Linux.
int SetLeastRead(int fd, int bytes);
// What may wait in the kernel without having been sent; 0: the system's rule. An accepted socket
// has its listener's, as it has no-delay. -ENOSYS outside of Linux.
int SetMostUnsent(int fd, int bytes);
// idle_ms 0 leaves the system's value.
int SetKeepAlive(int fd, bool enable, int idle_ms);

// What another part of the program, or another process, has opened.
int SetNonBlocking(int fd);
// 0 for a stream socket that listens, or is connected; -ENOTSOCK, -EPROTOTYPE, -EINVAL, -ENOTCONN.
int CheckListening(int fd);
int CheckConnected(int fd);
// Bits of poll(2) that are set now, without waiting.
int PollNow(int fd, int events);

int LocalAddress(int fd, Address* out);
int PeerAddress(int fd, Address* out);

}  // namespace uvio
