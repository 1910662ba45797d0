// The hub on a bare libuv loop. JavaScript's part is played by the host of a test, which derives
// from this.
//
// Owner: the test.
// Lifetime: OpenHub() .. CloseHub(), which runs the loop to its end.
// Thread: the test's only one.
// Re-entrancy: the hub calls the host inside uv_run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "core/hub.h"

struct BareHost : uvio::HubHost {
  uv_loop_t loop;
  std::unique_ptr<uvio::Hub> hub;
  std::vector<uint8_t> shared;
  bool disposed = false;

  BareHost() : shared(uvio::kSharedBytes) { uv_loop_init(&loop); }
  // In the constructor and the destructor of the host itself, whose engine the hub uses, and whom
  // it tells of its end.
  void OpenHub(uvio::Engine* engine = nullptr) {
    hub = std::make_unique<uvio::Hub>(&loop, this, engine);
    CHECK_EQ(hub->Open(), 0);
    hub->Map(shared.data(), 0);
  }
  void CloseHub() {
    hub->Dispose();
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(disposed);
    CHECK_EQ(uv_loop_close(&loop), 0);
    hub.reset();
  }
  template <typename Done>
  bool RunUntil(Done done) {
    for (int i = 0; i < 20000; i++) {
      if (done()) return true;
      uv_run(&loop, UV_RUN_NOWAIT);
    }
    return false;
  }
  void OnDisposed() override { disposed = true; }
  int32_t* ctl() { return reinterpret_cast<int32_t*>(shared.data()); }
  int PortOf(uint32_t id) {
    std::string text;
    CHECK_EQ(hub->AddressOf(id, false, &text), 0);
    return ctl()[uvio::kCtlAddrPort];
  }
};
