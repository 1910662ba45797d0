#include <errno.h>

#include <algorithm>

#include "core/hub.h"
#include "core/socket.h"

namespace uvio {

namespace {

constexpr int kMaxParts = 64;  // vectors in one system call; below IOV_MAX everywhere

}  // namespace

// JavaScript has left (id, offset, length) records and their bytes. Records of one stream may lie
// between those of others: they are chained first, so that each stream gets one system call.
void Hub::Flush() {
  const int count = ctl_ == nullptr ? 0 : ctl_[kCtlOutCount];
  if (count == 0) return;
  Endpoint* first = nullptr;
  Endpoint* last = nullptr;
  for (int i = 0; i < count; i++) {
    Endpoint* endpoint = Find(static_cast<uint32_t>(out_[i * 3]));
    if (endpoint == nullptr || endpoint->state == State::kClosing) continue;
    next_out_[i] = -1;
    if (endpoint->first_out >= 0) {
      next_out_[endpoint->last_out] = i;
    } else {
      endpoint->first_out = i;
      endpoint->next_flush = nullptr;
      (last == nullptr ? first : last->next_flush) = endpoint;
      last = endpoint;
    }
    endpoint->last_out = i;
  }
  for (Endpoint* endpoint = first; endpoint != nullptr; endpoint = endpoint->next_flush) {
    if (endpoint->kind == Kind::kDatagram) {
      FlushDatagrams(endpoint);
    } else {
      FlushOne(endpoint);
    }
  }
  ctl_[kCtlOutCount] = 0;
  ctl_[kCtlOutPos] = 0;
  ctl_[kCtlFlushEpoch]++;
}

void Hub::FlushOne(Endpoint* endpoint) {
  iovec parts[kMaxParts];
  int record = endpoint->first_out;
  endpoint->first_out = endpoint->last_out = -1;
  while (record >= 0) {
    int count = 0;
    for (; record >= 0 && count < kMaxParts; record = next_out_[record]) {
      parts[count++] = {slab_ + out_[record * 3 + 1], static_cast<size_t>(out_[record * 3 + 2])};
    }
    if (Send(endpoint, parts, count) < 0) return;
  }
}

// Sends at once if nothing is queued before it, and queues a copy of the rest. Bytes queued, or a
// negative errno after which the stream is closing.
int64_t Hub::Send(Endpoint* endpoint, iovec* parts, int count) {
  size_t done = 0;
  if (endpoint->queue.empty()) {
    size_t total = 0;
    for (int i = 0; i < count; i++) total += parts[i].iov_len;
    const int64_t sent = engine_->Send(endpoint, parts, count);
    if (sent < 0 && sent != -EAGAIN) {
      Fail(endpoint, static_cast<int>(-sent), kSysWrite);
      return sent;
    }
    done = sent < 0 ? 0 : static_cast<size_t>(sent);
    if (done == total) return 0;
  }
  if (!Enqueue(endpoint, parts, count, done)) {
    Fail(endpoint, ENOBUFS, kSysWrite);
    return -ENOBUFS;
  }
  UpdateInterest(endpoint);
  return queued_[endpoint->id & kSlotMask];
}

bool Hub::Enqueue(Endpoint* endpoint, const iovec* parts, int count, size_t skip) {
  int64_t bytes = queued_[endpoint->id & kSlotMask];
  for (int i = 0; i < count; i++) {
    const size_t len = parts[i].iov_len;
    if (skip >= len) {
      skip -= len;
      continue;
    }
    const auto* data = static_cast<const uint8_t*>(parts[i].iov_base) + skip;
    bytes += static_cast<int64_t>(len - skip);
    if (bytes > kMaxQueueBytes || !endpoint->queue.Append(data, len - skip)) return false;
    skip = 0;
  }
  SetQueued(endpoint, bytes);
  return true;
}

void Hub::SetQueued(Endpoint* endpoint, int64_t bytes) {
  int32_t* column = &queued_[endpoint->id & kSlotMask];
  total_queued_ += bytes - *column;
  *column = static_cast<int32_t>(bytes);
  ctl_[kCtlQueued] = static_cast<int32_t>((total_queued_ + 1023) >> 10);
}

// The socket is writable again.
void Hub::DrainQueue(Endpoint* endpoint) {
  iovec parts[kMaxParts];
  while (!endpoint->queue.empty()) {
    const int count = endpoint->queue.Peek(parts, kMaxParts);
    const int64_t sent = engine_->Send(endpoint, parts, count);
    if (sent == -EAGAIN) break;
    if (sent < 0) {
      Fail(endpoint, static_cast<int>(-sent), kSysWrite);
      return;
    }
    endpoint->queue.Consume(static_cast<size_t>(sent));
    SetQueued(endpoint, queued_[endpoint->id & kSlotMask] - sent);
  }
  AfterDrain(endpoint);
  if (endpoint->state != State::kClosing) UpdateInterest(endpoint);
}

// The peer has taken what it was sent. Who never does makes the kernel hold little: hundreds of
// those would take all the memory that the system has for TCP, and all its connections would
// crawl. A limit for good would cost fast peers a third of their CPU.
void Hub::TrustMore(Endpoint* endpoint) {
  endpoint->distrust--;
  const int bytes = endpoint->distrust == 0 ? 0 : kLeastUnsent << (kDistrust - endpoint->distrust);
  SetMostUnsent(endpoint->fd, bytes);
}

void Hub::AfterDrain(Endpoint* endpoint) {
  if (endpoint->Has(kFlagWantDrain) &&
      queued_[endpoint->id & kSlotMask] <= endpoint->low_water) {
    endpoint->flags &= static_cast<uint16_t>(~kFlagWantDrain);
    Raise(endpoint, kRecDrain);
  }
  if (!endpoint->sent()) return;
  if (endpoint->state == State::kFlushing) {
    CloseNow(endpoint);
  } else if (endpoint->Has(kFlagShutdown)) {
    ShutdownSocket(endpoint->fd);
  }
}

int64_t Hub::Write(uint32_t id, const uint8_t* data, size_t len) {
  iovec part{const_cast<uint8_t*>(data), len};
  return WriteMany(id, &part, len == 0 ? 0 : 1);
}

int64_t Hub::WriteMany(uint32_t id, iovec* parts, int count) {
  Flush();  // what was written before goes first
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr || endpoint->state != State::kOpen ||
      endpoint->Has(kFlagShutdown)) {
    return -EBADF;
  }
  int64_t queued = queued_[endpoint->id & kSlotMask];
  for (int done = 0; done < count && queued >= 0; done += kMaxParts) {
    queued = Send(endpoint, parts + done, std::min(count - done, kMaxParts));
  }
  return queued;
}

}  // namespace uvio
