// Owner: one stream owns one queue; the queue owns copies of what the kernel did not take.
// Lifetime: Clear() frees all blocks; the destructor is trivial on purpose (streams are pooled).
// Thread: the loop's thread.
// Re-entrancy: calls nothing outside.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace uvio {

class WriteQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  // False when there is no memory.
  bool Append(const uint8_t* data, size_t len);
  // Fills up to `max` vectors with what comes first.
  int Peek(iovec* out, int max) const;
  void Consume(size_t len);
  void Clear();

 private:
  struct Block {
    Block* next;
    size_t begin, end, capacity;
    uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  };
  Block* head_ = nullptr;
  Block* tail_ = nullptr;
};

}  // namespace uvio
