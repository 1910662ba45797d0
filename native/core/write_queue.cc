#include "core/write_queue.h"

#include <cstdlib>
#include <cstring>

namespace uvio {

// Many small writes behind a full socket share blocks of this size.
constexpr size_t kMinBlockBytes = 16 << 10;

bool WriteQueue::Append(const uint8_t* data, size_t len) {
  if (len == 0) return true;
  if (tail_ != nullptr && tail_->capacity - tail_->end >= len) {
    memcpy(tail_->data() + tail_->end, data, len);
    tail_->end += len;
    return true;
  }
  const size_t capacity = len > kMinBlockBytes ? len : kMinBlockBytes;
  auto* block = static_cast<Block*>(malloc(sizeof(Block) + capacity));
  if (block == nullptr) return false;
  block->next = nullptr;
  block->begin = 0;
  block->end = len;
  block->capacity = capacity;
  memcpy(block->data(), data, len);
  if (tail_ == nullptr) {
    head_ = block;
  } else {
    tail_->next = block;
  }
  tail_ = block;
  return true;
}

int WriteQueue::Peek(iovec* out, int max) const {
  int count = 0;
  for (Block* block = head_; block != nullptr && count < max; block = block->next) {
    out[count++] = {block->data() + block->begin, block->end - block->begin};
  }
  return count;
}

void WriteQueue::Consume(size_t len) {
  while (len > 0 && head_ != nullptr) {
    const size_t have = head_->end - head_->begin;
    if (len < have) {
      head_->begin += len;
      return;
    }
    len -= have;
    Block* done = head_;
    head_ = done->next;
    if (head_ == nullptr) tail_ = nullptr;
    free(done);
  }
}

void WriteQueue::Clear() {
  while (head_ != nullptr) {
    Block* done = head_;
    head_ = done->next;
    free(done);
  }
  tail_ = nullptr;
}

}  // namespace uvio
