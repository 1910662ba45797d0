#ifndef __linux__

#include "core/uv_engine.h"

#include "core/endpoint.h"
#include "core/system_io.h"

namespace uvio {

int UvEngine::Add(Endpoint* endpoint) {
  uv_poll_t* poll = &endpoint->engine.poll;
  const int error = uv_poll_init(loop_, poll, endpoint->fd);
  if (error != 0) return error;
  poll->data = endpoint;
  return 0;
}

int UvEngine::SetInterest(Endpoint* endpoint, uint8_t interest) {
  if (interest == kInterestNone) return uv_poll_stop(&endpoint->engine.poll);
  const int events = ((interest & kInterestIn) ? UV_READABLE : 0) |
                     ((interest & kInterestOut) ? UV_WRITABLE : 0);
  return uv_poll_start(&endpoint->engine.poll, events, OnPoll);
}

void UvEngine::Remove(Endpoint* endpoint) {
  uv_close(reinterpret_cast<uv_handle_t*>(&endpoint->engine.poll), OnClose);
}

void UvEngine::Reference(Endpoint* endpoint, bool ref) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&endpoint->engine.poll);
  if (ref) {
    uv_ref(handle);
  } else {
    uv_unref(handle);
  }
}

int64_t UvEngine::Receive(Endpoint* endpoint, void* into, size_t capacity) {
  return endpoint->Has(kFlagPlain) ? SystemRead(endpoint->fd, into, capacity)
                                   : SystemReceive(endpoint->fd, into, capacity);
}

int64_t UvEngine::Send(Endpoint* endpoint, const iovec* parts, int count) {
  return endpoint->Has(kFlagPlain) ? SystemWrite(endpoint->fd, parts, count)
                                   : SystemSend(endpoint->fd, parts, count);
}

int UvEngine::ReceiveDatagrams(Endpoint* endpoint, DatagramSlot* slots, int count) {
  return SystemReceiveDatagrams(endpoint->fd, slots, count);
}

int UvEngine::SendDatagrams(Endpoint* endpoint, const DatagramSlot* slots, int count) {
  return SystemSendDatagrams(endpoint->fd, slots, count, &endpoint->datagrams->join);
}

void UvEngine::OnPoll(uv_poll_t* poll, int status, int events) {
  auto* endpoint = static_cast<Endpoint*>(poll->data);
  EngineHost* host = endpoint->host;
  if (status != 0) {
    // libuv has stopped polling (POLLERR). The next system call tells why.
    host->OnReady(endpoint, kInterestIn | kInterestOut, true);
    return;
  }
  const uint8_t interest = ((events & UV_READABLE) ? kInterestIn : 0) |
                           ((events & UV_WRITABLE) ? kInterestOut : 0);
  host->OnReady(endpoint, interest, false);
}

void UvEngine::OnClose(uv_handle_t* handle) {
  auto* endpoint = static_cast<Endpoint*>(handle->data);
  endpoint->host->OnReleased(endpoint);
}

}  // namespace uvio

#endif
