#include "core/write_queue.h"

#include <cstring>
#include <string>

#include "test/check.h"

namespace {

std::string Content(const uvio::WriteQueue& queue) {
  iovec parts[64];
  std::string text;
  const int count = queue.Peek(parts, 64);
  for (int i = 0; i < count; ++i) {
    text.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  }
  return text;
}

bool Append(uvio::WriteQueue* queue, const std::string& text) {
  return queue->Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

}  // namespace

TEST(an_empty_queue_has_nothing_to_send) {
  uvio::WriteQueue queue;
  CHECK(queue.empty());
  CHECK_EQ(Content(queue), "");
}

TEST(bytes_come_out_in_order_whatever_the_kernel_takes) {
  uvio::WriteQueue queue;
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string part(static_cast<size_t>(i * 37 % 4099 + 1), static_cast<char>('a' + i % 26));
    CHECK(Append(&queue, part));
    expected += part;
  }
  std::string taken;
  size_t step = 1;
  while (!queue.empty()) {
    const std::string head = Content(queue);
    CHECK(!head.empty());
    const size_t len = step < head.size() ? step : head.size();
    taken += head.substr(0, len);
    queue.Consume(len);
    step = step * 3 + 1;
  }
  CHECK(taken == expected);
}

TEST(a_large_write_is_kept_whole) {
  uvio::WriteQueue queue;
  const std::string large(3 << 20, 'x');
  CHECK(Append(&queue, large));
  CHECK_EQ(Content(queue).size(), large.size());
  queue.Clear();
  CHECK(queue.empty());
}

TEST(a_cleared_queue_can_be_used_again) {
  uvio::WriteQueue queue;
  CHECK(Append(&queue, "old"));
  queue.Clear();
  CHECK(Append(&queue, "new"));
  CHECK_EQ(Content(queue), "new");
  queue.Clear();
}
