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
int SystemSendDatagrams(int fd, const DatagramSlot* slots, int count);

}  // namespace uvio
