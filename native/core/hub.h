// Owner: the binding's instance data, one hub per environment (main thread or worker).
// Lifetime: Open() .. Dispose() .. HubHost::OnDisposed(), after which it may be deleted.
// Thread: the thread of its loop.
// Re-entrancy: HubHost::Enter runs user code that may call any public method but Dispose's last
//   step; every loop re-reads its state after Enter.
#pragma once

#include <string_view>
#include <vector>

#include "core/endpoint.h"
#include "core/layout.h"
#include "core/slept.h"
#include "core/timer.h"
#include "core/watch.h"

#ifdef __linux__
#include "core/epoll_engine.h"
#else
#include "core/uv_engine.h"
#endif

namespace uvio {

#ifdef __linux__
using DefaultEngine = EpollEngine;
#else
using DefaultEngine = UvEngine;
#endif

struct Chunk {
  uint8_t* data = nullptr;
  size_t len = 0;
};

class HubHost {
 public:
  // Hands `records` in records to JavaScript; microtasks have run when it returns.
  virtual void Enter(int records) = 0;
  // JavaScript's current chunk. Valid until JavaScript runs again.
  virtual Chunk GetChunk(bool bulk) = 0;
  virtual void OnDisposed() = 0;

 protected:
  ~HubHost() = default;
};

struct ListenOptions {
  int backlog = 511;
  bool reuse_port = false;
  bool ipv6_only = false;
  bool no_delay = true;
  bool paused = false;
  bool duplicate = false;  // of a descriptor, which stays the caller's
};

enum class UdpOption : int {
  kBroadcast,
  kTtl,
  kMulticastTtl,
  kMulticastLoopback,
  kMulticastInterface,
  kAddMembership,
  kDropMembership,
};

// One loop turn is: poll (libuv marks endpoints ready) -> Turn in the check phase (accept, read,
// emit records, enter JavaScript once, flush what it wrote).
class Hub final : public EngineHost {
 public:
  // Another engine than the default is borrowed (tests).
  Hub(uv_loop_t* loop, HubHost* host, Engine* engine = nullptr);
  ~Hub();
  int Open();
  void Map(uint8_t* shared, double clock_offset_ms);
  void Dispose();

  // Ids, or a negative errno.
  int ListenTcp(std::string_view host, int port, const ListenOptions& options);
  int ListenUnix(std::string_view path, const ListenOptions& options);
  int ConnectTcp(std::string_view host, int port, std::string_view local_host, int local_port,
                 bool no_delay);
  int ConnectUnix(std::string_view path);

  int OpenUdp(std::string_view host, int port, bool reuse_port);
  int ConnectUdp(uint32_t id, std::string_view host, int port);
  int SetUdpOption(uint32_t id, UdpOption option, int value, std::string_view group,
                   std::string_view interface);
  // hub_files.cc. The descriptor is the hub's when the result is an id, else the caller's.
  int AdoptSocket(int fd, bool duplicate);
  int AdoptPipe(int fd, bool writes);
  int ListenFd(int fd, const ListenOptions& options);
  // Bytes, at most kMaxSendFile; 0 at the file's end; -EAGAIN: wait with NotifyWritable.
  int64_t SendFile(uint32_t id, int file, int64_t offset, size_t count);
  // Emits a kRecWritable when nothing is queued and there is room.
  int NotifyWritable(uint32_t id);
  // See WatchSet::Set.
  int Watch(int fd, uint8_t interest);

  // Bytes queued after it, or a negative errno (-EBADF: stale id or closing).
  int64_t Write(uint32_t id, const uint8_t* data, size_t len);
  // The same for parts that follow one another, none of them empty: one system call for 64.
  int64_t WriteMany(uint32_t id, iovec* parts, int count);
  int64_t Receive(uint32_t id, void* into, size_t capacity);
  int Shutdown(uint32_t id);
  int Close(uint32_t id);
  int Abort(uint32_t id);
  int SetReading(uint32_t id, bool reading);
  int SetInto(uint32_t id, bool into);
  int NotifyDrain(uint32_t id, int low_water);
  // Emits a kRecReplay for the id in the next turn.
  int Replay(uint32_t id);
  int SetNoDelay(uint32_t id, bool enable);
  int SetLeastRead(uint32_t id, int bytes);
  int SetKeepAlive(uint32_t id, bool enable, int idle_ms);
  int Reference(uint32_t id, bool ref);
  int Descriptor(uint32_t id);
  // Port and family go to the control words.
  int AddressOf(uint32_t id, bool peer, std::string* text);
  // Where the last datagram that could not be sent was going; empty: to the connected peer.
  int FailedAddress(uint32_t id, std::string* text);

  // Sends what JavaScript has put into the out slab: one vectored write for each stream.
  void Flush();
  void TimerReference(bool ref);
  void SetSpin(uint64_t micros) { spin_ns_ = micros * 1000; }
  bool disposing() const { return disposing_; }

  void OnReady(Endpoint* endpoint, uint8_t interest, bool failed) override;
  void OnReleased(Endpoint* endpoint) override;
  void OnEngineClosed() override { HandleClosed(); }

 private:
  static constexpr uint32_t kPageSlots = 64;
#ifdef __linux__
  static constexpr int kOwnHandles = 7;  // the engine's, the timer's and the five below
#else
  static constexpr int kOwnHandles = 6;
#endif
  struct List {
    Endpoint* head = nullptr;
    Endpoint* tail = nullptr;
  };

  // hub.cc: slots and closing
  Endpoint* Find(uint32_t id);
  Endpoint* Stream(uint32_t id);
  Endpoint* Udp(uint32_t id);
  Endpoint* New(Kind kind, int fd);
  void Recycle(Endpoint* endpoint);
  void Fail(Endpoint* endpoint, int error, Syscall syscall);
  void CloseNow(Endpoint* endpoint);
  void Raise(Endpoint* endpoint, Record record);
  void Wake();
  int SetInterest(Endpoint* endpoint, uint8_t interest);
  void UpdateInterest(Endpoint* endpoint);
  void HandleClosed();

  // hub_open.cc
  int Listen(int fd, const Address& address, const ListenOptions& options);
  int Connect(int fd, const Address& address);
  void StartListener(Endpoint* endpoint, const Address& address, const ListenOptions& options);
  void RetryStarved();
  void Accept(Endpoint* listener);
  bool AcceptOne(Endpoint* listener, bool first);
  void AcceptFailed(Endpoint* listener, int error);

  // hub_files.cc
  int Adopt(int fd, uint16_t flags);
  void CheckReader(Endpoint* endpoint);
  void EmitWatches();

  // hub_flush.cc
  int64_t Send(Endpoint* endpoint, iovec* parts, int count);
  void FlushOne(Endpoint* endpoint);
  bool Enqueue(Endpoint* endpoint, const iovec* parts, int count, size_t skip);
  void DrainQueue(Endpoint* endpoint);
  void AfterDrain(Endpoint* endpoint);
  void TrustMore(Endpoint* endpoint);
  void SetQueued(Endpoint* endpoint, int64_t bytes);

  // hub_datagram.cc
  bool ReadDatagrams(Endpoint* endpoint);
  bool DeliverDatagram(Endpoint* endpoint, const DatagramSlot& slot);
  void FlushDatagrams(Endpoint* endpoint);
  int SendAll(Endpoint* endpoint, const DatagramSlot* slots, int count);
  bool EnqueueDatagram(Endpoint* endpoint, const DatagramSlot& slot);
  void DatagramFailed(Endpoint* endpoint, const DatagramSlot& slot, int error);
  void DrainDatagrams(Endpoint* endpoint);
  void DropDatagrams(Endpoint* endpoint);

  // hub_turn.cc
  void Turn();
  bool LookAgain(uint64_t start_ns);
  void ReadAll();
  bool ReadOne(Endpoint* endpoint);
  void ReadNothing(Endpoint* endpoint, int64_t got);
  const Chunk& CurrentChunk(bool bulk);
  void EmitEvents();
  bool Emit(Endpoint* endpoint, Record record);
  void RecycleTold();
  void Put(uint32_t id, Record record, int32_t a, int32_t b);
  void PushReady(Endpoint* endpoint);
  void SyncTimer();
  void Spin(bool active);
  static void OnPrepare(uv_prepare_t* handle);
  static void OnCheck(uv_check_t* handle);
  static void OnIdle(uv_idle_t* handle);
  static void OnRetry(uv_timer_t* handle);
  static void OnHandleClosed(uv_handle_t* handle);
  static void OnTimerDue(void* arg);
  static void OnTimerClosed(void* arg);

  uv_loop_t* loop_;
  HubHost* host_;
  DefaultEngine default_engine_;
  Engine* engine_;

  uint8_t* shared_ = nullptr;
  int32_t* ctl_ = nullptr;
  int32_t* in_ = nullptr;
  int32_t* out_ = nullptr;
  int32_t* queued_ = nullptr;
  uint8_t* slab_ = nullptr;
  double* deadline_ = nullptr;
  double clock_offset_ms_ = 0;

  std::vector<Endpoint*> pages_;
  uint32_t slots_used_ = 0;
  List free_;
  List ready_;
  Endpoint* events_ = nullptr;
  Endpoint* events_tail_ = nullptr;
  Endpoint* told_ = nullptr;  // their end is in the batch at work
  int next_out_[kMaxOutRecords];
  int64_t total_queued_ = 0;
  int in_count_ = 0;
  int luck_ = kAlwaysLucky;  // of looks for more: how many have found something, of late
  int passed_ = 0;           // looks that were not taken since
  Slept slept_;              // since the last one
  int starved_ = 0;
  size_t bulk_bytes_ = 0;  // read in this round
  bool unread_ = false;    // some that are ready had no room in this round
  DatagramInbox inbox_;
  Chunk chunk_[2];
  bool chunk_known_[2] = {false, false};

  uv_prepare_t prepare_;
  uv_check_t check_;
  uv_idle_t wake_;   // referenced: keeps the loop from sleeping or ending with events pending
  uv_idle_t spin_;   // busy-poll
  uv_timer_t retry_; // accepting again after EMFILE
  DeadlineTimer timer_;
  WatchSet watches_;
  double armed_ = 0;
  uint64_t spin_ns_ = 0;
  uint64_t spin_until_ = 0;
  int open_handles_ = 0;
  uint32_t live_endpoints_ = 0;
  bool timer_due_ = false;
  bool timer_fired_ = false;
  bool spinning_ = false;
  bool woken_ = false;
  bool in_turn_ = false;
  bool disposing_ = false;
};

}  // namespace uvio
