#include <errno.h>

#include <algorithm>
#include <cmath>

#include "core/heap.h"
#include "core/hub.h"
#include "core/socket.h"

namespace uvio {

// Poll phase: only notes what is ready. Nothing here runs JavaScript.
void Hub::OnReady(Endpoint* endpoint, uint8_t interest, bool failed) {
  if (disposing_ || endpoint->state == State::kClosing) return;
  if (failed) endpoint->interest = kInterestNone;
  if (endpoint->kind == Kind::kListener) {
    PushReady(endpoint);
    return;
  }
  if (endpoint->state == State::kConnecting) {
    const int error = SocketError(endpoint->fd);
    ctl_[kCtlConnecting]--;
    endpoint->state = State::kOpen;
    endpoint->error = -error;
    // Reading starts when the record is emitted: data must not overtake it.
    SetInterest(endpoint, kInterestNone);
    Raise(endpoint, kRecConnect);
    return;
  }
  if ((interest & kInterestOut) && endpoint->distrust > 0) TrustMore(endpoint);
  if ((interest & kInterestOut) && !endpoint->sent()) {
    if (endpoint->kind == Kind::kDatagram) {
      DrainDatagrams(endpoint);
    } else {
      DrainQueue(endpoint);
    }
  }
  if (endpoint->state != State::kOpen) return;
  if ((interest & kInterestOut) && endpoint->Has(kFlagWantWritable) && endpoint->queue.empty()) {
    endpoint->flags &= static_cast<uint16_t>(~kFlagWantWritable);
    Raise(endpoint, kRecWritable);
    UpdateInterest(endpoint);
    if (endpoint->state != State::kOpen) return;
  }
  const bool reads = endpoint->Has(kFlagReading) && !endpoint->Has(kFlagEof);
  if (reads && (interest & kInterestIn)) {
    PushReady(endpoint);
  } else if (failed) {
    UpdateInterest(endpoint);
  }
}

void Hub::PushReady(Endpoint* endpoint) {
  if (endpoint->Has(kFlagReady)) return;
  endpoint->flags |= kFlagReady;
  endpoint->next_ready = nullptr;
  (ready_.tail == nullptr ? ready_.head : ready_.tail->next_ready) = endpoint;
  ready_.tail = endpoint;
}

void Hub::OnPrepare(uv_prepare_t* handle) {
  auto* hub = static_cast<Hub*>(handle->data);
  if (hub->ctl_ == nullptr || hub->disposing_) return;
  hub->Flush();
  hub->SyncTimer();
}

void Hub::OnCheck(uv_check_t* handle) {
  auto* hub = static_cast<Hub*>(handle->data);
  if (hub->ctl_ != nullptr && !hub->disposing_) hub->Turn();
}

void Hub::OnIdle(uv_idle_t*) {}

void Hub::OnTimerDue(void* arg) {
  auto* hub = static_cast<Hub*>(arg);
  hub->timer_due_ = true;
  hub->timer_fired_ = true;
  hub->Wake();
}

// The wished deadline is a word in shared memory: arming costs JavaScript no call.
void Hub::SyncTimer() {
  const double wish = *deadline_;
  if (wish != armed_ || timer_fired_) {
    armed_ = wish;
    timer_fired_ = false;
    uint64_t ns = UINT64_MAX;
    if (std::isfinite(wish)) {
      const double at = std::ceil((wish + clock_offset_ms_) * 1e6);
      ns = at <= 0 ? 1 : at >= 9e18 ? UINT64_MAX : static_cast<uint64_t>(at);
    }
    timer_.Arm(ns);
  }
}

// Rounds: read, enter JavaScript, flush. All that a look found ready is read before the turn ends,
// or timers that publish to many would outrun the readers in this thread. Other looks follow while
// something is ready, for a bounded time, since Node's timers and handles wait meanwhile.
void Hub::Turn() {
  if (in_turn_) return;
  if (ready_.head == nullptr && engine_->Pending()) engine_->Poll();
  const bool active = ready_.head != nullptr || events_ != nullptr || timer_due_ ||
                      watches_.ready();
  if (active) {
    in_turn_ = true;
    const uint64_t start_ns = uv_hrtime();
    for (int round = 0; round < kMaxRoundsPerTurn;) {
      if (timer_due_) {
        timer_due_ = false;
        Put(0, kRecTimer, 0, 0);
      }
      if (watches_.ready()) EmitWatches();
      ReadAll();
      EmitEvents();
      const int count = in_count_;
      if (count == 0 && ctl_[kCtlNeedChunk] == 0) break;
      in_count_ = 0;
      host_->Enter(count);
      if (disposing_) return;
      RecycleTold();
      Flush();
      if (count == 0 || !unread_) round++;
      if (ready_.head != nullptr || events_ != nullptr) continue;
      if (!LookAgain(start_ns)) break;
    }
    in_turn_ = false;
  }
  if (ready_.head != nullptr || events_ != nullptr || engine_->Pending()) {
    Wake();
  } else if (woken_) {
    woken_ = false;
    uv_idle_stop(&wake_);
  }
  if (spin_ns_ != 0) Spin(active);
}

// Whether another look has found something. It costs a system call, an iteration of Node's loop
// that finds the same costs five: so not where hardly any look has found something, as with a
// client that waits for its one answer, and libuv sleeps each time. It tells of what is missed.
bool Hub::LookAgain(uint64_t start_ns) {
  const bool slept = slept_.Since(loop_);
  const bool known = engine_->Pending();
  if (slept && !known && luck_ < kLeastLuck && ++passed_ < kLooksPassed) return false;
  if (uv_hrtime() - start_ns > kMaxTurnNs) return false;
  const bool found = engine_->Poll() > 0;
  if (!known) {
    passed_ = 0;
    luck_ += ((found ? kAlwaysLucky : 0) - luck_) / 8;
  }
  return found;
}

// Busy-poll: for spin_ns_ after the last activity the poll phase does not sleep.
void Hub::Spin(bool active) {
  const uint64_t now = uv_hrtime();
  if (active) {
    spin_until_ = now + spin_ns_;
    if (!spinning_) uv_idle_start(&spin_, OnIdle);
    spinning_ = true;
  } else if (spinning_ && now >= spin_until_) {
    uv_idle_stop(&spin_);
    spinning_ = false;
  }
}

void Hub::ReadAll() {
  if (ready_.head == nullptr) return;
  chunk_known_[0] = chunk_known_[1] = false;  // JavaScript may have detached them meanwhile
  List left = ready_;
  ready_ = List{};
  Endpoint* again = nullptr;
  bulk_bytes_ = 0;
  unread_ = false;
  Endpoint* next;
  for (Endpoint* endpoint = left.head; endpoint != nullptr; endpoint = next) {
    next = endpoint->next_ready;
    endpoint->flags &= static_cast<uint16_t>(~kFlagReady);
    if (endpoint->state != State::kOpen || !endpoint->Has(kFlagReading)) continue;
    if (in_count_ >= kMaxInRecords || bulk_bytes_ >= kMaxBulkBytesPerRound) {
      unread_ = true;
      PushReady(endpoint);
    } else if (endpoint->kind == Kind::kListener) {
      Accept(endpoint);
    } else if (endpoint->kind == Kind::kDatagram) {
      if (ReadDatagrams(endpoint)) continue;
      endpoint->next_ready = again;
      again = endpoint;
    } else if (!ReadOne(endpoint)) {
      unread_ = true;
      PushReady(endpoint);
    }
  }
  // Behind those that got nothing, or who is flooded would keep them from it.
  for (; again != nullptr; again = next) {
    next = again->next_ready;
    PushReady(again);
  }
}

const Chunk& Hub::CurrentChunk(bool bulk) {
  const int kind = bulk ? 1 : 0;
  if (!chunk_known_[kind]) {
    chunk_known_[kind] = true;
    chunk_[kind] = host_->GetChunk(bulk);
  }
  return chunk_[kind];
}

// False: no room in the chunk; try again when JavaScript has given a new one.
bool Hub::ReadOne(Endpoint* endpoint) {
  if (endpoint->interest == kInterestNone) {  // after an error event
    UpdateInterest(endpoint);
    if (endpoint->state == State::kClosing) return true;
  }
  if (endpoint->Has(kFlagWriteOnly)) {
    CheckReader(endpoint);
    return true;
  }
  if (endpoint->Has(kFlagInto)) {
    Put(endpoint->id, kRecReadable, 0, 0);
    return true;
  }
  const bool bulk = endpoint->Has(kFlagBulk);
  int32_t* pos = &ctl_[bulk ? kCtlBulkPos : kCtlSmallPos];
  const Chunk& chunk = CurrentChunk(bulk);
  const size_t used = static_cast<size_t>(*pos);
  const size_t space = used < chunk.len ? chunk.len - used : 0;
  if (space < (bulk ? kMinBulkSpace : kMinSmallSpace)) {
    ctl_[kCtlNeedChunk] |= bulk ? 2 : 1;
    return false;
  }
  const size_t capacity = std::min(space, bulk ? kBulkReadBytes : kSmallReadBytes);
  const int64_t got = engine_->Receive(endpoint, chunk.data + used, capacity);
  if (got > 0) {
    Put(endpoint->id, bulk ? kRecBulk : kRecData, *pos, static_cast<int32_t>(got));
    *pos += static_cast<int32_t>(got);
    if (static_cast<size_t>(got) >= kBulkEnterBytes) bulk_bytes_ += static_cast<size_t>(got);
    const bool large = static_cast<size_t>(got) >= kBulkEnterBytes ||
                       (!bulk && static_cast<size_t>(got) == capacity);
    if (large != bulk) {
      endpoint->flags ^= kFlagBulk;
      if (large) KeepFreedChunks();
    }
  } else {
    ReadNothing(endpoint, got);
  }
  return true;
}

// A read gave no bytes: the end, nothing yet, or an error.
void Hub::ReadNothing(Endpoint* endpoint, int64_t got) {
  if (got == 0) {
    endpoint->flags |= kFlagEof;
    UpdateInterest(endpoint);
    Raise(endpoint, kRecEof);
  } else if (got != -EAGAIN) {
    Fail(endpoint, static_cast<int>(-got), kSysRead);
  }
}

int64_t Hub::Receive(uint32_t id, void* into, size_t capacity) {
  Endpoint* endpoint = Stream(id);
  if (endpoint == nullptr || endpoint->state != State::kOpen) return -EBADF;
  const int64_t got = engine_->Receive(endpoint, into, capacity);
  if (got <= 0) ReadNothing(endpoint, got);
  return got;
}

void Hub::Put(uint32_t id, Record record, int32_t a, int32_t b) {
  int32_t* at = in_ + in_count_ * 4;
  at[0] = static_cast<int32_t>(id);
  at[1] = record;
  at[2] = a;
  at[3] = b;
  in_count_++;
}

// After the data records of the turn, so that an end never overtakes data.
void Hub::EmitEvents() {
  while (events_ != nullptr && in_count_ + 8 <= kMaxInRecords) {
    Endpoint* endpoint = events_;
    events_ = endpoint->next_event;
    if (events_ == nullptr) events_tail_ = nullptr;
    const uint16_t raised = endpoint->raised;
    endpoint->raised = 0;
    for (const Record record :
          {kRecConnect, kRecAcceptError, kRecError, kRecReplay, kRecEof, kRecDrain, kRecWritable,
           kRecClosed}) {
      if ((raised & (1u << record)) && !Emit(endpoint, record)) break;
    }
  }
}

// JavaScript has seen the batch. Not before: what it opens while it is at it must not get the slot
// of an endpoint whose end it has yet to hear of.
void Hub::RecycleTold() {
  while (told_ != nullptr) {
    Endpoint* endpoint = told_;
    told_ = endpoint->next_event;
    endpoint->flags |= kFlagReported;
    if (endpoint->Has(kFlagReleased)) Recycle(endpoint);
  }
}

// False: nothing more may be said of this endpoint.
bool Hub::Emit(Endpoint* endpoint, Record record) {
  const bool closing = endpoint->state == State::kClosing;
  switch (record) {
    case kRecConnect:
      if (closing) return true;
      Put(endpoint->id, record, endpoint->error, 0);
      if (endpoint->error != 0) {
        endpoint->error = 0;
        CloseNow(endpoint);
      } else {
        UpdateInterest(endpoint);
      }
      return true;
    case kRecAcceptError:
      if (!closing) Put(endpoint->id, record, endpoint->error, 0);
      return true;
    case kRecError:
      if (closing) return true;
      Put(endpoint->id, record, endpoint->error, endpoint->error_syscall);
      endpoint->error = 0;
      endpoint->error_syscall = 0;
      return true;
    case kRecClosed:
      Put(endpoint->id, record, endpoint->error, endpoint->error_syscall);
      endpoint->next_event = told_;
      told_ = endpoint;
      return false;
    default:
      if (!closing) Put(endpoint->id, record, 0, 0);
      return true;
  }
}

}  // namespace uvio
