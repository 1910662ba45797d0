// Owner: none.
// Lifetime: none.
// Thread: any.
// Re-entrancy: thin wrappers of system calls for the engines.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "core/datagram.h"

namespace uvio {

// Bytes, 0 at the end, or a negative errno (-EAGAIN: nothing there). Interrupts are retried.
int64_t SystemReceive(int fd, void* into, size_t capacity);
// Bytes taken, or a negative errno (-EAGAIN: full). Never a SIGPIPE.
int64_t SystemSend(int fd, const iovec* parts, int count);

// At most kDatagramBatch. How many, or a negative errno.
int SystemReceiveDatagrams(int fd, DatagramSlot* slots, int count);
// With `join`, alike ones leave as one message; it is false afterwards where that cannot be.
int SystemSendDatagrams(int fd, const DatagramSlot* slots, int count, bool* join);
// The same on what is no socket: pipes, ttys. A broken pipe is EPIPE: Node ignores SIGPIPE.
int64_t SystemRead(int fd, void* into, size_t capacity);
int64_t SystemWrite(int fd, const iovec* parts, int count);

// From a regular file, whose position is neither used nor moved. Bytes, 0 at its end, or a negative
// errno (-EAGAIN: no room).
int64_t SystemSendFile(int fd, int file, int64_t offset, size_t count);

}  // namespace uvio
