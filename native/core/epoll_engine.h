// Owner: the hub.
// Lifetime: Open() .. Close() .. EngineHost::OnEngineClosed.
// Thread: the loop's thread.
// Re-entrancy: see engine.h.
#pragma once

#ifdef __linux__

#include "core/engine.h"
#include "core/slept.h"

namespace uvio {

// Linux: an epoll instance of our own inside libuv's. One edge-triggered registration for the life
// of a connection (no call to pause, resume or wait for room), and Poll() between two rounds of a
// turn, which an iteration of Node's whole loop would cost otherwise. What the edges have told is
// kept in each endpoint, so that the hub sees plain levels.
class EpollEngine : public Engine {
 public:
  explicit EpollEngine(uv_loop_t* loop) : loop_(loop) {}
  int Open(EngineHost* host) override;
  void Close() override;
  int Add(Endpoint* endpoint) override;
  int SetInterest(Endpoint* endpoint, uint8_t interest) override;
  void Remove(Endpoint* endpoint) override;
  void Reference(Endpoint* endpoint, bool ref) override;
  int Poll() override;
  bool Pending() override;
  void Again(Endpoint* endpoint) override;
  void Drained(Endpoint* endpoint) override;
  void Full(Endpoint* endpoint) override;
  int64_t Receive(Endpoint* endpoint, void* into, size_t capacity) override;
  int64_t Send(Endpoint* endpoint, const iovec* parts, int count) override;
  int ReceiveDatagrams(Endpoint* endpoint, DatagramSlot* slots, int count) override;
  int SendDatagrams(Endpoint* endpoint, const DatagramSlot* slots, int count) override;

 private:
  static constexpr int kSteadyLooks = 8;
  static void OnPoll(uv_poll_t* poll, int status, int events);
  static void OnClose(uv_handle_t* handle);
  int Register(Endpoint* endpoint, bool out);
  void Hold(Endpoint* endpoint);
  void Link(Endpoint* endpoint);
  void Unlink(Endpoint* endpoint);
  bool Guess();
  void Judge(bool right);
  void Note(Endpoint* endpoint, uint32_t seen, int count);
  void TakeEdges();

  uv_loop_t* loop_;
  EngineHost* host_ = nullptr;
  uv_poll_t poll_;
  int fd_ = -1;
  int holders_ = 0;  // endpoints that keep the process alive
  Endpoint* hot_ = nullptr;       // those whose edges may meet their interest
  Endpoint* hot_tail_ = nullptr;
  Endpoint* usual_ = nullptr;     // the one that the last looks told of
  int steady_ = 0;                // how many of them
  int least_steady_ = kSteadyLooks;
  Slept slept_;                   // since its last word
  bool guessed_ = false;          // and not read since
};

}  // namespace uvio

#endif
