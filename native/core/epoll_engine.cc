#ifdef __linux__

#include "core/epoll_engine.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/endpoint.h"
#include "core/system_io.h"

namespace uvio {

namespace {

constexpr int kEventsPerCall = 256;
constexpr int kCallsPerPoll = 4;
// An end or an error is behind the data: only a read that says so clears the edge.
constexpr uint8_t kEdgeEnd = 4;
// The edge was told, and no byte was received since.
constexpr uint8_t kEdgeFresh = 8;
// The last Send took less than it was given: the kernel knows that we wait for room.
constexpr uint8_t kEdgeShort = 16;
// After as many looks that told of nothing but bytes for one and the same connection, the next ones
// are guessed. A guess that was wrong doubles the number, one that was right takes one off.
constexpr int kMaxSteadyLooks = 1024;
constexpr uint32_t kEndEvents = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

}  // namespace

int EpollEngine::Open(EngineHost* host) {
  host_ = host;
  fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (fd_ < 0) return -errno;
  const int error = uv_poll_init(loop_, &poll_, fd_);
  if (error != 0) {
    close(fd_);
    return error;
  }
  poll_.data = this;
  uv_poll_start(&poll_, UV_READABLE, OnPoll);
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
  return 0;
}

void EpollEngine::Close() {
  uv_poll_stop(&poll_);
  close(fd_);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), OnClose);
}

void EpollEngine::OnClose(uv_handle_t* handle) {
  static_cast<EpollEngine*>(handle->data)->host_->OnEngineClosed();
}

void EpollEngine::OnPoll(uv_poll_t* poll, int, int) {
  auto* self = static_cast<EpollEngine*>(poll->data);
  if (!self->Guess()) self->Poll();
}

// libuv has told that something is ready. With a client that waits for its one answer it is known
// what: then the look that would say so is saved. Only if libuv has slept, before which it has seen
// that nothing is left: so whoever comes at the same time is heard by the next look, which is a
// real one, as libuv tells again without sleeping.
bool EpollEngine::Guess() {
  const bool slept = slept_.Since(loop_);
  Endpoint* endpoint = usual_;
  if (!slept || endpoint == nullptr || steady_ < least_steady_ || hot_ != nullptr) return false;
  if (endpoint->engine.interest != kInterestIn) return false;
  // Registered for room as well, which it does not wait for, it would be ready for libuv for ever.
  if (endpoint->engine.registered == 2 && Register(endpoint, false) != 0) return false;
  guessed_ = true;
  endpoint->engine.edge |= kInterestIn;
  Link(endpoint);
  host_->OnReady(endpoint, kInterestIn, false);
  return true;
}

// A guess was read.
void EpollEngine::Judge(bool right) {
  guessed_ = false;
  if (right) {
    if (least_steady_ > kSteadyLooks) least_steady_--;
  } else {
    steady_ = 0;
    if (least_steady_ < kMaxSteadyLooks) least_steady_ *= 2;
  }
}

// A look has told of `count`.
void EpollEngine::Note(Endpoint* endpoint, uint32_t seen, int count) {
  const bool bytes = count == 1 && (seen & ~uint32_t{EPOLLOUT}) == EPOLLIN;
  if (bytes && endpoint == usual_) {
    if (steady_ < least_steady_) steady_++;
    return;
  }
  steady_ = 0;
  // Of a pipe a read might wait, if others have changed its descriptor.
  const bool socket = endpoint->kind == Kind::kStream && !endpoint->Has(kFlagPlain);
  usual_ = bytes && socket ? endpoint : nullptr;
}

// Registered with the first interest: then it is known whether room to write matters yet.
int EpollEngine::Add(Endpoint* endpoint) {
  endpoint->engine = EngineSlot{};
  return 0;
}

int EpollEngine::Register(Endpoint* endpoint, bool out) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  if (out) event.events |= EPOLLOUT;
  event.data.ptr = endpoint;
  const bool known = endpoint->engine.registered != 0;
  if (epoll_ctl(fd_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, endpoint->fd, &event) != 0) {
    return -errno;
  }
  endpoint->engine.registered = out ? 2 : 1;
  return 0;
}

int EpollEngine::SetInterest(Endpoint* endpoint, uint8_t interest) {
  EngineSlot& slot = endpoint->engine;
  const bool out = (interest & kInterestOut) != 0;
  if (interest != kInterestNone && (slot.registered == 0 || (out && slot.registered == 1))) {
    if (const int error = Register(endpoint, out)) return error;
  }
  slot.interest = interest;
  Hold(endpoint);
  if ((slot.edge & interest) != 0) Link(endpoint);
  return 0;
}

// The descriptor is closed by the caller, which ends its registration.
void EpollEngine::Remove(Endpoint* endpoint) {
  if (endpoint == usual_) usual_ = nullptr;
  endpoint->engine.interest = kInterestNone;
  Hold(endpoint);
  Unlink(endpoint);
  host_->OnReleased(endpoint);
}

void EpollEngine::Reference(Endpoint* endpoint, bool ref) {
  endpoint->engine.unref = !ref;
  Hold(endpoint);
}

// Counts the endpoints that wait for something and are referenced, as libuv does with handles.
void EpollEngine::Hold(Endpoint* endpoint) {
  EngineSlot& slot = endpoint->engine;
  const bool holds = slot.interest != kInterestNone && !slot.unref;
  if (holds == slot.holds) return;
  slot.holds = holds;
  holders_ += holds ? 1 : -1;
  auto* handle = reinterpret_cast<uv_handle_t*>(&poll_);
  if (holders_ == 0) uv_unref(handle);
  if (holders_ == 1 && holds) uv_ref(handle);
}

void EpollEngine::Link(Endpoint* endpoint) {
  EngineSlot& slot = endpoint->engine;
  if (slot.hot) return;
  slot.hot = true;
  slot.next = nullptr;
  slot.previous = hot_tail_;
  (hot_tail_ == nullptr ? hot_ : hot_tail_->engine.next) = endpoint;
  hot_tail_ = endpoint;
}

void EpollEngine::Unlink(Endpoint* endpoint) {
  EngineSlot& slot = endpoint->engine;
  if (!slot.hot) return;
  slot.hot = false;
  (slot.previous == nullptr ? hot_ : slot.previous->engine.next) = slot.next;
  (slot.next == nullptr ? hot_tail_ : slot.next->engine.previous) = slot.previous;
}

void EpollEngine::TakeEdges() {
  epoll_event events[kEventsPerCall];
  for (int call = 0; call < kCallsPerPoll; call++) {
    const int count = epoll_wait(fd_, events, kEventsPerCall, 0);
    if (count > 0) Note(static_cast<Endpoint*>(events[0].data.ptr), events[0].events, count);
    for (int i = 0; i < count; i++) {
      auto* endpoint = static_cast<Endpoint*>(events[i].data.ptr);
      const uint32_t seen = events[i].events;
      uint8_t edge = 0;
      if (seen & (EPOLLIN | kEndEvents)) edge |= kInterestIn | kEdgeFresh;
      if (seen & (EPOLLOUT | EPOLLHUP | EPOLLERR)) edge |= kInterestOut;
      if (seen & kEndEvents) edge |= kEdgeEnd;
      if (edge & kInterestOut) endpoint->engine.edge &= ~kEdgeShort;
      endpoint->engine.edge |= edge;
      Link(endpoint);
    }
    if (count < kEventsPerCall) return;
  }
}

int EpollEngine::Poll() {
  TakeEdges();
  int ready = 0;
  Endpoint* next;
  for (Endpoint* endpoint = hot_; endpoint != nullptr; endpoint = next) {
    next = endpoint->engine.next;
    const uint8_t met = endpoint->engine.edge & endpoint->engine.interest;
    if (met == 0) {
      Unlink(endpoint);
      continue;
    }
    ready++;
    host_->OnReady(endpoint, met, false);
  }
  return ready;
}

bool EpollEngine::Pending() {
  while (hot_ != nullptr) {
    if ((hot_->engine.edge & hot_->engine.interest) != 0) return true;
    Unlink(hot_);
  }
  return false;
}

// A call has said EAGAIN where the kernel had told of an edge, or knows of no reason to tell of
// one: an edge would be waited for in vain. Registering anew makes one if there is something to
// tell.
void EpollEngine::Again(Endpoint* endpoint) {
  const uint8_t registered = endpoint->engine.registered;
  if (registered != 0) Register(endpoint, registered == 2);
}

void EpollEngine::Drained(Endpoint* endpoint) { endpoint->engine.edge &= ~kInterestIn; }

void EpollEngine::Full(Endpoint* endpoint) { endpoint->engine.edge &= ~kInterestOut; }

int64_t EpollEngine::Receive(Endpoint* endpoint, void* into, size_t capacity) {
  const bool plain = endpoint->Has(kFlagPlain);
  const int64_t got = plain ? SystemRead(endpoint->fd, into, capacity)
                            : SystemReceive(endpoint->fd, into, capacity);
  if (guessed_ && endpoint == usual_) Judge(got != -EAGAIN);
  EngineSlot& slot = endpoint->engine;
  const bool more = got > 0 && (static_cast<size_t>(got) == capacity || (slot.edge & kEdgeEnd));
  if (!more) slot.edge &= ~kInterestIn;
  if (got > 0) slot.edge &= ~kEdgeFresh;
  if (got == -EAGAIN && (slot.edge & kEdgeFresh)) Again(endpoint);
  return got;
}

int64_t EpollEngine::Send(Endpoint* endpoint, const iovec* parts, int count) {
  const int64_t sent = endpoint->Has(kFlagPlain) ? SystemWrite(endpoint->fd, parts, count)
                                                 : SystemSend(endpoint->fd, parts, count);
  EngineSlot& slot = endpoint->engine;
  if (sent == -EAGAIN) {
    slot.edge &= ~kInterestOut;
    if (!(slot.edge & kEdgeShort)) Again(endpoint);
  } else if (sent >= 0) {
    size_t wanted = 0;
    for (int i = 0; i < count; i++) wanted += parts[i].iov_len;
    slot.edge &= ~kEdgeShort;
    if (static_cast<size_t>(sent) < wanted) slot.edge |= kEdgeShort;
  }
  return sent;
}

int EpollEngine::ReceiveDatagrams(Endpoint* endpoint, DatagramSlot* slots, int count) {
  const int got = SystemReceiveDatagrams(endpoint->fd, slots, count);
  // After an error (that of an earlier send) there may still be data.
  EngineSlot& slot = endpoint->engine;
  if (got == -EAGAIN || (got >= 0 && got < count)) slot.edge &= ~kInterestIn;
  if (got > 0) slot.edge &= ~kEdgeFresh;
  if (got == -EAGAIN && (slot.edge & kEdgeFresh)) Again(endpoint);
  return got;
}

int EpollEngine::SendDatagrams(Endpoint* endpoint, const DatagramSlot* slots, int count) {
  const int sent = SystemSendDatagrams(endpoint->fd, slots, count, &endpoint->datagrams->join);
  if (sent == -EAGAIN) {
    endpoint->engine.edge &= ~kInterestOut;
    Again(endpoint);
  }
  return sent;
}

}  // namespace uvio

#endif
