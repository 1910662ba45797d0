#include "core/hub.h"

#include <errno.h>

#include <cmath>
#include <cstring>
#include <new>

#include "core/socket.h"

namespace uvio {

namespace {

Ctl CounterOf(Kind kind) {
  switch (kind) {
    case Kind::kListener: return kCtlListeners;
    case Kind::kDatagram: return kCtlDatagrams;
    default: return kCtlStreams;
  }
}

}  // namespace

Hub::Hub(uv_loop_t* loop, HubHost* host, Engine* engine)
    : loop_(loop),
      host_(host),
      default_engine_(loop),
      engine_(engine != nullptr ? engine : &default_engine_),
      watches_(loop) {}

Hub::~Hub() {
  for (Endpoint* page : pages_) delete[] page;
}

int Hub::Open() {
  if (const int error = engine_->Open(this)) return error;
  if (const int error = timer_.Open(loop_, OnTimerDue, OnTimerClosed, this)) return error;
  uv_prepare_init(loop_, &prepare_);
  uv_check_init(loop_, &check_);
  uv_idle_init(loop_, &wake_);
  uv_idle_init(loop_, &spin_);
  uv_timer_init(loop_, &retry_);
  prepare_.data = check_.data = wake_.data = spin_.data = retry_.data = this;
  open_handles_ = kOwnHandles;
  uv_prepare_start(&prepare_, OnPrepare);
  uv_check_start(&check_, OnCheck);
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&check_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&spin_));
  armed_ = INFINITY;
  return 0;
}

void Hub::Map(uint8_t* shared, double clock_offset_ms) {
  shared_ = shared;
  ctl_ = reinterpret_cast<int32_t*>(shared);
  deadline_ = reinterpret_cast<double*>(shared + kDeadlineOffset);
  in_ = reinterpret_cast<int32_t*>(shared + kInOffset);
  out_ = reinterpret_cast<int32_t*>(shared + kOutOffset);
  queued_ = reinterpret_cast<int32_t*>(shared + kQueuedOffset);
  slab_ = shared + kSlabOffset;
  clock_offset_ms_ = clock_offset_ms;
  *deadline_ = INFINITY;
}

// Closes everything. The loop has to run until OnDisposed; Node does that for clean-up hooks.
void Hub::Dispose() {
  if (disposing_) return;
  disposing_ = true;
  for (uint32_t slot = 0; slot < slots_used_; slot++) {
    Endpoint* endpoint = &pages_[slot / kPageSlots][slot % kPageSlots];
    if (endpoint->fd >= 0 && endpoint->state != State::kClosing) CloseNow(endpoint);
  }
  uv_idle_stop(&wake_);
  engine_->Close();
  timer_.Close();
  if (watches_.Close(OnTimerClosed, this)) open_handles_++;
  for (uv_handle_t* handle :
       {reinterpret_cast<uv_handle_t*>(&prepare_), reinterpret_cast<uv_handle_t*>(&check_),
        reinterpret_cast<uv_handle_t*>(&wake_), reinterpret_cast<uv_handle_t*>(&spin_),
        reinterpret_cast<uv_handle_t*>(&retry_)}) {
    uv_close(handle, OnHandleClosed);
  }
}

void Hub::OnHandleClosed(uv_handle_t* handle) { static_cast<Hub*>(handle->data)->HandleClosed(); }

void Hub::OnTimerClosed(void* arg) { static_cast<Hub*>(arg)->HandleClosed(); }

void Hub::HandleClosed() {
  open_handles_--;
  if (open_handles_ == 0 && live_endpoints_ == 0) host_->OnDisposed();
}

Endpoint* Hub::Find(uint32_t id) {
  const uint32_t slot = id & kSlotMask;
  if (slot >= slots_used_) return nullptr;
  Endpoint* endpoint = &pages_[slot / kPageSlots][slot % kPageSlots];
  return endpoint->id == id && endpoint->fd >= 0 ? endpoint : nullptr;
}

Endpoint* Hub::Stream(uint32_t id) {
  Endpoint* endpoint = Find(id);
  return endpoint != nullptr && endpoint->kind == Kind::kStream &&
                 endpoint->state != State::kClosing
             ? endpoint
             : nullptr;
}

Endpoint* Hub::Udp(uint32_t id) {
  Endpoint* endpoint = Find(id);
  return endpoint != nullptr && endpoint->kind == Kind::kDatagram &&
                 endpoint->state != State::kClosing
             ? endpoint
             : nullptr;
}

// The caller keeps `fd` when this answers null (no slot left, no memory).
Endpoint* Hub::New(Kind kind, int fd) {
  Endpoint* endpoint = free_.head;
  uint32_t id;
  if (endpoint != nullptr) {
    free_.head = endpoint->next_ready;
    if (free_.head == nullptr) free_.tail = nullptr;
    id = endpoint->id;
  } else {
    if (slots_used_ == kMaxSlots) return nullptr;
    if (slots_used_ % kPageSlots == 0) {
      auto* page = new (std::nothrow) Endpoint[kPageSlots];
      if (page == nullptr) return nullptr;
      pages_.push_back(page);
    }
    id = slots_used_++;
    endpoint = &pages_[id / kPageSlots][id % kPageSlots];
  }
  *endpoint = Endpoint{};
  endpoint->host = this;
  endpoint->id = id;
  endpoint->fd = fd;
  endpoint->kind = kind;
  endpoint->first_out = endpoint->last_out = -1;
  queued_[id & kSlotMask] = 0;
  if (const int error = engine_->Add(endpoint); error != 0) {
    endpoint->fd = -1;
    endpoint->next_ready = free_.head;
    free_.head = endpoint;
    if (free_.tail == nullptr) free_.tail = endpoint;
    return nullptr;
  }
  live_endpoints_++;
  ctl_[CounterOf(kind)]++;
  return endpoint;
}

// Both JavaScript (CLOSED was handed over) and the engine are done with it.
void Hub::Recycle(Endpoint* endpoint) {
  const uint32_t generation = (endpoint->id >> kSlotBits) + 1;
  endpoint->id = (endpoint->id & kSlotMask) | ((generation % kMaxGeneration) << kSlotBits);
  endpoint->fd = -1;
  endpoint->next_ready = nullptr;
  // First in, first out: an id comes back as late as possible.
  if (free_.tail == nullptr) {
    free_.head = endpoint;
  } else {
    free_.tail->next_ready = endpoint;
  }
  free_.tail = endpoint;
}

void Hub::OnReleased(Endpoint* endpoint) {
  live_endpoints_--;
  endpoint->flags |= kFlagReleased;
  if (disposing_) {
    if (open_handles_ == 0 && live_endpoints_ == 0) host_->OnDisposed();
    return;
  }
  ctl_[CounterOf(endpoint->kind)]--;
  if (endpoint->Has(kFlagReported)) Recycle(endpoint);
}

void Hub::Fail(Endpoint* endpoint, int error, Syscall syscall) {
  if (endpoint->state == State::kClosing) return;
  endpoint->error = error;
  endpoint->error_syscall = syscall;
  CloseNow(endpoint);
}

void Hub::CloseNow(Endpoint* endpoint) {
  if (endpoint->state == State::kConnecting) ctl_[kCtlConnecting]--;
  if (endpoint->Has(kFlagStarved)) starved_--;
  endpoint->state = State::kClosing;
  endpoint->queue.Clear();
  if (endpoint->datagrams != nullptr) DropDatagrams(endpoint);
  SetQueued(endpoint, 0);
  engine_->Remove(endpoint);
  CloseSocket(endpoint->fd);
  if (disposing_) return;
  Raise(endpoint, kRecClosed);
  if (starved_ > 0) RetryStarved();
}

void Hub::Raise(Endpoint* endpoint, Record record) {
  const bool listed = endpoint->raised != 0;
  endpoint->raised |= static_cast<uint16_t>(1u << record);
  if (listed) return;
  endpoint->next_event = nullptr;
  if (events_tail_ == nullptr) {
    events_ = endpoint;
  } else {
    events_tail_->next_event = endpoint;
  }
  events_tail_ = endpoint;
  Wake();
}

// A turn will follow without sleeping, and the loop stays alive until then.
void Hub::Wake() {
  if (woken_ || disposing_) return;
  woken_ = true;
  uv_idle_start(&wake_, OnIdle);
}

int Hub::SetInterest(Endpoint* endpoint, uint8_t interest) {
  if (endpoint->interest == interest) return 0;
  endpoint->interest = interest;
  const int error = engine_->SetInterest(endpoint, interest);
  if (!in_turn_ && engine_->Pending()) Wake();  // told before, and wanted only now
  return error;
}

void Hub::UpdateInterest(Endpoint* endpoint) {
  uint8_t interest = kInterestNone;
  if (endpoint->kind == Kind::kListener) {
    if (endpoint->Has(kFlagReading) && !endpoint->Has(kFlagStarved)) interest = kInterestIn;
  } else if (endpoint->state == State::kConnecting) {
    interest = kInterestOut;
  } else if (endpoint->state != State::kClosing) {
    const bool reads = endpoint->state == State::kOpen && endpoint->Has(kFlagReading) &&
                       !endpoint->Has(kFlagEof);
    interest = static_cast<uint8_t>((reads ? kInterestIn : 0) |
                                    (endpoint->sent() && !endpoint->Has(kFlagWantWritable)
                                         ? 0
                                         : kInterestOut));
  } else {
    return;
  }
  const int error = SetInterest(endpoint, interest);
  if (error != 0) Fail(endpoint, -error, kSysRead);
}

int Hub::Close(uint32_t id) {
  Flush();
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  if (inbox_.owner == id) inbox_.next = inbox_.count = 0;
  if (endpoint->sent() || endpoint->kind == Kind::kListener) {
    CloseNow(endpoint);
    return 0;
  }
  endpoint->state = State::kFlushing;
  UpdateInterest(endpoint);
  return 0;
}

int Hub::Abort(uint32_t id) {
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  CloseNow(endpoint);
  return 0;
}

int Hub::Shutdown(uint32_t id) {
  Flush();
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr || endpoint->state != State::kOpen) return -EBADF;
  if (endpoint->Has(kFlagShutdown)) return 0;
  endpoint->flags |= kFlagShutdown;
  if (endpoint->queue.empty()) ShutdownSocket(endpoint->fd);
  return 0;
}

int Hub::SetReading(uint32_t id, bool reading) {
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  if (reading) {
    endpoint->flags |= kFlagReading;
  } else {
    endpoint->flags &= static_cast<uint16_t>(~kFlagReading);
  }
  UpdateInterest(endpoint);
  return 0;
}

int Hub::SetInto(uint32_t id, bool into) {
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr) return -EBADF;
  if (into) {
    endpoint->flags |= kFlagInto;
  } else {
    endpoint->flags &= static_cast<uint16_t>(~kFlagInto);
  }
  return 0;
}

int Hub::NotifyDrain(uint32_t id, int low_water) {
  Flush();
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  endpoint->flags |= kFlagWantDrain;
  endpoint->low_water = low_water;
  AfterDrain(endpoint);
  return 0;
}

int Hub::Replay(uint32_t id) {
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  Raise(endpoint, kRecReplay);
  return 0;
}

int Hub::SetNoDelay(uint32_t id, bool enable) {
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr) return -EBADF;
  return endpoint->Has(kFlagUnix) ? 0 : uvio::SetNoDelay(endpoint->fd, enable);
}

int Hub::SetLeastRead(uint32_t id, int bytes) {
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr) return -EBADF;
  return endpoint->Has(kFlagUnix) ? -ENOSYS : uvio::SetLeastRead(endpoint->fd, bytes);
}

int Hub::SetKeepAlive(uint32_t id, bool enable, int idle_ms) {
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr) return -EBADF;
  return endpoint->Has(kFlagUnix) ? 0 : uvio::SetKeepAlive(endpoint->fd, enable, idle_ms);
}

int Hub::Reference(uint32_t id, bool ref) {
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  engine_->Reference(endpoint, ref);
  return 0;
}

int Hub::Descriptor(uint32_t id) {
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr || endpoint->state == State::kClosing) return -EBADF;
  return endpoint->fd;
}

int Hub::AddressOf(uint32_t id, bool peer, std::string* text) {
  Endpoint* endpoint = Find(id);
  if (endpoint == nullptr) return -EBADF;
  Address address;
  Peer ip = endpoint->peer;
  if (!peer || ip.family == 0 || ip.family == 1 || endpoint->kind == Kind::kDatagram) {
    // The descriptor's number may belong to somebody else once it was closed.
    if (endpoint->state == State::kClosing) return -EBADF;
    const int error =
        peer ? PeerAddress(endpoint->fd, &address) : LocalAddress(endpoint->fd, &address);
    if (error != 0) return error;
    ip = ToPeer(address);
  }
  ctl_[kCtlAddrPort] = ip.port;
  ctl_[kCtlAddrFamily] = ip.family;
  *text = ip.family == 1 ? PathText(address) : IpText(ip);
  return 0;
}

int Hub::FailedAddress(uint32_t id, std::string* text) {
  Endpoint* endpoint = Udp(id);
  if (endpoint == nullptr) return -EBADF;
  const DatagramHead& head = endpoint->datagrams->failed;
  ctl_[kCtlAddrPort] = head.port();
  ctl_[kCtlAddrFamily] = static_cast<int32_t>(head.family());
  *text = HeadText(head);
  return 0;
}

void Hub::TimerReference(bool ref) {
  ctl_[kCtlTimerRef] = ref ? 1 : 0;
  timer_.Reference(ref);
  SyncTimer();
}

}  // namespace uvio
