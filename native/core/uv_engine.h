// Owner: the hub.
// Lifetime: as the hub's.
// Thread: the loop's thread.
// Re-entrancy: see engine.h.
#pragma once

#ifndef __linux__

#include "core/engine.h"

namespace uvio {

// Elsewhere than on Linux: one uv_poll_t for each descriptor. uv_tcp_t is not used: its accept
// closes the whole backlog on EMFILE, and its reads want memory before there is anything to read.
class UvEngine : public Engine {
 public:
  explicit UvEngine(uv_loop_t* loop) : loop_(loop) {}
  int Add(Endpoint* endpoint) override;
  int SetInterest(Endpoint* endpoint, uint8_t interest) override;
  void Remove(Endpoint* endpoint) override;
  void Reference(Endpoint* endpoint, bool ref) override;
  int64_t Receive(Endpoint* endpoint, void* into, size_t capacity) override;
  int64_t Send(Endpoint* endpoint, const iovec* parts, int count) override;
  int ReceiveDatagrams(Endpoint* endpoint, DatagramSlot* slots, int count) override;
  int SendDatagrams(Endpoint* endpoint, const DatagramSlot* slots, int count) override;

 private:
  static void OnPoll(uv_poll_t* poll, int status, int events);
  static void OnClose(uv_handle_t* handle);
  uv_loop_t* loop_;
};

}  // namespace uvio

#endif
