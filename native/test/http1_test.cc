#include "parse/http1.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "test/check.h"

namespace http1 = uvio::http1;

namespace {

// What a connection keeps between reads, as lib/http/native-intake.ts does. Every read is a block
// of its own size on the heap, so that a look beyond its end is seen by ASan.
class Reader {
 public:
  explicit Reader(int32_t mode = 0) : state_{} { state_.mode = mode; }

  void Read(const std::string& bytes) {
    const uint32_t from = static_cast<uint32_t>(kept_.size());
    std::vector<uint8_t> block(kept_.begin(), kept_.end());
    block.insert(block.end(), bytes.begin(), bytes.end());
    block.shrink_to_fit();
    const uint32_t to = static_cast<uint32_t>(block.size());
    state_.max_bytes = 400;
    state_.max_headers = 8;
    uint32_t at = from;
    do {
      int32_t words[4 * http1::kHeadWords];
      state_.budget = 1'000;
      const uint32_t count = http1::Parse(&state_, block.data(), at, to, words,
                                          sizeof(words) / sizeof(int32_t), &targets_);
      Note(block.data(), words, count);
      at = static_cast<uint32_t>(state_.consumed);
    } while (state_.stop == http1::kNoRoom || state_.stop == http1::kMessageEnd);
    Keep(block, to);
  }

  const std::string& log() const { return log_; }

 private:
  void Note(const uint8_t* bytes, const int32_t* words, uint32_t count) {
    for (uint32_t at = 0; at < count;) {
      const int32_t kind = words[at];
      if (kind == http1::kHead) {
        const auto* head = reinterpret_cast<const char*>(bytes) + words[at + 1];
        log_ += "[head " + std::to_string(words[at + 3]) + " " + std::to_string(words[at + 4]) +
                " " + std::to_string(words[at + 9]) + " " + std::to_string(words[at + 10]) + " " +
                std::string(head, static_cast<size_t>(words[at + 2])) + "]";
        at += http1::kHeadWords;
      } else if (kind == http1::kData) {
        log_.append(reinterpret_cast<const char*>(bytes) + words[at + 1],
                    static_cast<size_t>(words[at + 2]));
        at += 3;
      } else if (kind == http1::kEnd) {
        log_ += "[end]";
        at += 1;
      } else {
        if (kind == http1::kBad) log_ += "[bad " + std::to_string(words[at + 1]) + "]";
        at += 3;
      }
    }
  }

  void Keep(const std::vector<uint8_t>& block, uint32_t to) {
    kept_.clear();
    const bool in_head = state_.phase >= http1::kMethod && state_.phase <= http1::kEndLf;
    if (in_head && state_.trailers == 0) kept_.assign(block.begin() + state_.head_start,
                                                      block.begin() + to);
    state_.head_start = 0;
  }

  http1::State state_;
  http1::TargetTable targets_ = {};
  std::vector<uint8_t> kept_;
  std::string log_;
};

std::string Whole(const std::string& text, int32_t mode) {
  Reader reader(mode);
  reader.Read(text);
  return reader.log();
}

const std::string kGet = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const std::string kChunked =
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3;a=\"b\\\"c\";d\r\nabc\r\n1\r\nd\r\n0\r\nX: y\r\n\r\n";

std::vector<std::string> Requests() {
  return {
      kGet,
      "\r\n" + kGet + kPost + kGet,
      kChunked + kPost + kChunked + kGet,
      "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + kGet,
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nx",
      kGet + "junk junk\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(500, 'y') + "\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(10, 'x') + ": y\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\n\r\n",
      kChunked.substr(0, kChunked.size() - 2) + "X:" + std::string(400, 'y') + "\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\n\n",
  };
}

std::vector<std::string> Responses() {
  return {
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204 No Content\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nhi\r\n0\r\n\r\n",
      "HTTP/1.0 200 OK\r\n\r\nuntil the end",
      "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw",
      "HTTP/1.1 99 Low\r\n\r\n",
  };
}

void CheckSplits(const std::string& text, int32_t mode) {
  const std::string whole = Whole(text, mode);
  Reader single(mode);
  for (const char c : text) single.Read(std::string(1, c));
  CHECK_EQ(single.log(), whole);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    Reader reader(mode);
    reader.Read(text.substr(0, cut));
    reader.Read(text.substr(cut));
    CHECK_EQ(reader.log(), whole);
  }
}

}  // namespace

TEST(every_split_of_requests_gives_the_same_records) {
  for (const std::string& text : Requests()) CheckSplits(text, 0);
}

TEST(every_split_of_responses_gives_the_same_records) {
  for (const std::string& text : Responses()) CheckSplits(text, http1::kResponse);
}

TEST(framing_in_trailers_is_refused_at_every_cut) {
  const std::string start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
  for (const char* name : {"Transfer-Encoding", "content-length", "CONTENT-LENGTH"}) {
    const std::string text = start + "X: y\r\n" + name + ": 1\r\n\r\n";
    CheckSplits(text, 0);
    CHECK(Whole(text, 0).find("[bad 400") != std::string::npos);
  }
  for (const char* name : {"Transfer-Encodings", "content-lengt", "Content-Encoding"}) {
    const std::string text = start + name + ": 1\r\n\r\n";
    CheckSplits(text, 0);
    CHECK(Whole(text, 0).find("[end]") != std::string::npos);
  }
}

TEST(flags_say_how_a_message_goes_on) {
  CHECK_EQ(Whole(kGet, 0), "[head 1 1 1 0 " + kGet + "]");
  CHECK_EQ(Whole(kPost, 0), "[head 9 3 2 3 " + kPost.substr(0, kPost.size() - 3) + "]abc[end]");
}

// A small generator: the same bytes in each run.
TEST(changed_bytes_give_one_verdict_however_they_are_cut) {
  uint64_t seed = 0x2545f4914f6cdd1du;
  const auto next = [&seed](uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return static_cast<uint32_t>(seed >> 33) % below;
  };
  const std::string bytes = std::string("\r\n :;,\t\"\\09afX%/*@", 19) + '\0' + '\x7f' + '\xff';
  const std::vector<std::string> requests = Requests();
  const std::vector<std::string> responses = Responses();
  for (int round = 0; round < 20'000; ++round) {
    const bool response = round % 4 == 0;
    const std::vector<std::string>& source = response ? responses : requests;
    std::string text = source[next(static_cast<uint32_t>(source.size()))];
    for (uint32_t changes = 1 + next(3); changes > 0 && !text.empty(); --changes) {
      const size_t at = next(static_cast<uint32_t>(text.size()));
      const char c = bytes[next(static_cast<uint32_t>(bytes.size()))];
      if (next(3) == 0) text.insert(at, 1, c);
      else if (next(2) == 0) text.erase(at, 1 + next(4));
      else text[at] = c;
    }
    const int32_t mode = response ? http1::kResponse : 0;
    Reader reader(mode);
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + next(40);
      reader.Read(text.substr(at, size));
      at += size;
    }
    CHECK_EQ(reader.log(), Whole(text, mode));
  }
}
