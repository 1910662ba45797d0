// Log-linear histogram (as HdrHistogram): 128 steps per power of two, so at most 0.8 % off.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace load {

class Histogram {
 public:
  void Add(uint64_t value) {
    ++buckets_[IndexOf(value)];
    ++count_;
    sum_ += value;
    if (value > max_) max_ = value;
  }

  void Clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  double mean() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }

  // The smallest recorded value (its bucket's upper end) that `percent` of all do not exceed.
  uint64_t Percentile(double percent) const {
    if (count_ == 0) return 0;
    const double exact = percent / 100 * static_cast<double>(count_);
    uint64_t wanted = static_cast<uint64_t>(exact);
    if (static_cast<double>(wanted) < exact) ++wanted;
    uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted && seen > 0) return UpperEnd(i) < max_ ? UpperEnd(i) : max_;
    }
    return max_;
  }

 private:
  static constexpr int kBits = 7;
  static constexpr uint64_t kSteps = 1u << kBits;

  // Values below 128 have a bucket each; above, the 8 leading bits choose it.
  static std::size_t IndexOf(uint64_t value) {
    if (value < kSteps) return value;
    const int shift = std::bit_width(value) - 1 - kBits;
    return (static_cast<uint64_t>(shift) << kBits) + (value >> shift);
  }

  static uint64_t UpperEnd(std::size_t index) {
    if (index < kSteps) return index;
    const int shift = static_cast<int>(index >> kBits) - 1;
    const uint64_t top = (index & (kSteps - 1)) + kSteps;
    return ((top + 1) << shift) - 1;
  }

  std::array<uint64_t, (64 - kBits + 1) << kBits> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace load
