#include "parse/http1.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "test/check.h"

namespace http1 = uvio::http1;

namespace {

constexpr uint32_t kRoom = 8 * http1::kHeadWords;

// What a caller has to do: keeps the bytes of a head that was cut, and reads records.
class Reader {
 public:
  explicit Reader(int32_t mode = 0) { state_.mode = mode; }

  // False once bad input was seen, or HTTP has ended.
  bool Feed(const std::string& bytes) {
    // A buffer of exactly this size, so that a sanitizer sees each byte too far.
    const size_t kept = held_.size();
    const size_t size = kept + bytes.size();
    uint8_t* data = static_cast<uint8_t*>(std::malloc(size == 0 ? 1 : size));
    std::memcpy(data, held_.data(), kept);
    std::memcpy(data + kept, bytes.data(), bytes.size());
    uint32_t at = static_cast<uint32_t>(kept);
    do {
      Prepare();
      const uint32_t words = http1::Parse(&state_, data, at, static_cast<uint32_t>(size), out_,
                                          kRoom, &targets_);
      Take(data, words);
      at = static_cast<uint32_t>(state_.consumed);
    } while (state_.stop == http1::kNoRoom || state_.stop == http1::kMessageEnd);
    held_.clear();
    const bool head = state_.phase >= http1::kMethod && state_.phase <= http1::kEndLf;
    if (head && state_.trailers == 0) {
      held_.assign(data + state_.head_start, data + size);
    }
    state_.head_start = 0;
    std::free(data);
    return state_.stop == http1::kNeedsMore;
  }

  // Heads, bodies and verdicts as text: equal for equal messages.
  std::string log;

 private:
  void Prepare() {
    state_.max_bytes = 256;
    state_.max_headers = 8;
    state_.budget = 1 << 20;
  }

  void Take(const uint8_t* data, uint32_t words) {
    const auto text = [data](int32_t from, int32_t bytes) {
      return std::string(reinterpret_cast<const char*>(data) + from, static_cast<size_t>(bytes));
    };
    for (uint32_t at = 0; at < words;) {
      const int32_t* word = out_ + at;
      if (word[0] == http1::kHead) {
        log += "[" + text(word[1], word[5]) + " " + text(word[6], word[7]) + " f" +
               std::to_string(word[3]) + " h" + std::to_string(word[9]) + " l" +
               std::to_string(word[10]) + "]";
        at += http1::kHeadWords;
      } else if (word[0] == http1::kEnd) {
        log += trailers_ + ".";
        trailers_.clear();
        at += 1;
      } else if (word[0] == http1::kBad) {
        log += "!" + std::to_string(word[1]);
        at += 3;
      } else {
        // Trailers are given in parts, before it is known whether all of them are good.
        (word[0] == http1::kData ? log : trailers_) += text(word[1], word[2]);
        at += 3;
      }
    }
  }

  http1::State state_ = {};
  http1::TargetTable targets_ = {};
  std::string held_;
  std::string trailers_;
  int32_t out_[kRoom];
};

std::string Whole(const std::string& bytes, int32_t mode = 0) {
  Reader reader(mode);
  reader.Feed(bytes);
  return reader.log;
}

// The same verdict for every cut into two, and byte by byte.
bool SameForEachCut(const std::string& bytes, int32_t mode = 0) {
  const std::string expected = Whole(bytes, mode);
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    Reader reader(mode);
    if (reader.Feed(bytes.substr(0, cut))) reader.Feed(bytes.substr(cut));
    if (reader.log != expected) {
      std::fprintf(stderr, "cut at %zu: %s, not %s\n", cut, reader.log.c_str(), expected.c_str());
      return false;
    }
  }
  Reader reader(mode);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (!reader.Feed(bytes.substr(i, 1))) break;
  }
  if (reader.log == expected) return true;
  std::fprintf(stderr, "byte-wise: %s, not %s\n", reader.log.c_str(), expected.c_str());
  return false;
}

std::string Get(const std::string& lines) { return "GET / HTTP/1.1\r\n" + lines + "\r\n"; }

std::string Post(const std::string& lines, const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" + body;
}

const std::string kChunked = "Transfer-Encoding: chunked\r\n";

}  // namespace

TEST(good_requests_are_read_however_they_are_cut) {
  const std::pair<std::string, std::string> cases[] = {
      {Get("Host: a\r\n"), "[GET / f1 h1 l0]"},
      {"\r\n\r\n" + Get("Host:a\r\nX: \t y \t\r\n"), "[GET / f1 h2 l0]"},
      {"GET / HTTP/1.0\r\n\r\n", "[GET / f32 h0 l0]"},
      {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "[GET / f33 h1 l0]"},
      {Get("Host: a\r\nConnection: x, CLOSE\r\n"), "[GET / f0 h2 l0]"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "[OPTIONS * f1 h1 l0]"},
      {"BREW http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "[BREW http://a/x?y f1 h1 l0]"},
      {Post("Content-Length: 5\r\n", "hello") + Get("Host: a\r\n"),
       "[POST / f9 h2 l5]hello.[GET / f1 h1 l0]"},
      {Post("Content-Length: 1\r\nExpect: 100-continue\r\n", "x"), "[POST / f11 h3 l1]x."},
      {Post(kChunked, "5;a=b;c=\"d\\\"\";e\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
       "[POST / f25 h2 l0]hello0123456789X: y\r\n\r\n."},
      {Get("Host: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n") + "\x81\x05",
       "[GET / f5 h3 l0]"},
  };
  for (const auto& [bytes, expected] : cases) {
    const std::string found = Whole(bytes);
    if (found != expected) std::fprintf(stderr, "%s\nis %s\n", bytes.c_str(), found.c_str());
    CHECK(found == expected);
    CHECK(SameForEachCut(bytes));
  }
}

TEST(bad_requests_get_one_verdict_however_they_are_cut) {
  const std::string nul("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 33);
  const std::pair<std::string, int> cases[] = {
      {Get(""), 400},
      {Get("Host: a\r\nhost: a\r\n"), 400},
      {Get("Host: a b\r\n"), 400},
      {Get("Host: u@a\r\n"), 400},
      {Get("Host : a\r\n"), 400},
      {Get(" Host: a\r\n"), 400},
      {Get("Host: a\r\nX: y\r\n z\r\n"), 400},
      {Get("Host: a\r\n: y\r\n"), 400},
      {Get("Host: a\r\nno colon\r\n"), 400},
      {"GET / HTTP/1.1\nHost: a\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n\rX", 400},
      {nul, 400},
      {"GET  / HTTP/1.1\r\n", 400},
      {"GET /\r\n", 400},
      {"G@T / HTTP/1.1\r\n", 400},
      {"GET /#x HTTP/1.1\r\n", 400},
      {"GET x HTTP/1.1\r\n", 400},
      {"GET * HTTP/1.1\r\n", 400},
      {"GET http://u@a/ HTTP/1.1\r\n", 400},
      {"GET / http/1.1\r\n", 400},
      {"GET / HTTP/1.2\r\n", 505},
      {"GET / HTTP/2.0\r\n", 505},
      {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {Get("Host: a\r\nExpect: tea\r\n"), 417},
      {Post("Content-Length: 1\r\n" + kChunked, ""), 400},
      {Post(kChunked + "Content-Length: 1\r\n", ""), 400},
      {Post(kChunked + kChunked, ""), 400},
      {Post("Transfer-Encoding: gzip, chunked\r\n", ""), 400},
      {"POST / HTTP/1.0\r\n" + kChunked + "\r\n", 400},
      {Post("Content-Length: 1\r\nContent-Length: 1\r\n", ""), 400},
      {Post("Content-Length: 1, 1\r\n", ""), 400},
      {Post("Content-Length: +1\r\n", ""), 400},
      {Post("Content-Length: \r\n", ""), 400},
      {Post("Content-Length: 9007199254740992\r\n", ""), 400},
      {Post(kChunked, "x"), 400},
      {Post(kChunked, "\r\n"), 400},
      {Post(kChunked, "1 \r\n"), 400},
      {Post(kChunked, "1\n"), 400},
      {Post(kChunked, "1;\r\n"), 400},
      {Post(kChunked, "1;a=\"\n"), 400},
      {Post(kChunked, "1\r\nxy"), 400},
      {Post(kChunked, "20000000000000\r\n"), 400},
      {Post(kChunked, "0\r\nX Y: z\r\n"), 400},
      {Post(kChunked, "0\r\nX: y\r\n z"), 400},
      {Get("Host: a\r\n" + std::string(300, 'x')), 431},
      {Get("Host: a\r\nX: " + std::string(300, 'x')), 431},
      {"GET /" + std::string(300, 'x'), 431},
      {Get("Host: a\r\nA:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\nG:\r\nH:\r\n"), 431},
      {Post(kChunked, "0\r\nA:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\nG:\r\n"), 431},
      {Post(kChunked, "0\r\nX: " + std::string(250, 'x')), 431},
  };
  for (const auto& [bytes, status] : cases) {
    const std::string log = Whole(bytes);
    const std::string expected = "!" + std::to_string(status);
    const bool right = log.size() >= 4 && log.substr(log.size() - 4) == expected;
    if (!right) std::fprintf(stderr, "%s\nis %s\n", bytes.c_str(), log.c_str());
    CHECK(right);
    CHECK(SameForEachCut(bytes));
  }
}

TEST(extensions_of_all_chunks_of_a_body_have_one_limit) {
  std::string body;
  for (int i = 0; i < 200; ++i) body += "1;a=" + std::string(97, 'x') + "\r\nz\r\n";
  const std::string log = Whole(Post(kChunked, body));
  CHECK(log.substr(log.size() - 4) == "!400");
}

TEST(responses_are_read_however_they_are_cut) {
  const int32_t plain = http1::kResponse;
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  CHECK(Whole(ok + "Content-Length: 2\r\n\r\nhi", plain).find("hi.") != std::string::npos);
  CHECK(Whole(ok + "\r\nall of it", plain).find("all of it") != std::string::npos);
  CHECK(Whole(ok + "Content-Length: 2\r\n\r\n", plain | http1::kToHead).find('!') ==
        std::string::npos);
  for (const std::string& bytes : {
           ok + "Content-Length: 2\r\n\r\nhi" + ok + "Content-Length: 0\r\n\r\n",
           ok + kChunked + "\r\n3\r\nabc\r\n0\r\n\r\n",
           "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nx",
           std::string("HTTP/1.1 204\r\n\r\n"),
           std::string("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
           ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
           std::string("HTTP/2.0 200 OK\r\n"),
           std::string("HTTP/1.1 2x0 OK\r\n"),
       }) {
    CHECK(SameForEachCut(bytes, plain));
  }
}

TEST(no_cut_of_random_bytes_changes_a_verdict) {
  const std::string words[] = {"GET ", "/", " HTTP/1.1\r\n", "Host: a\r\n", "\r\n", "\r", "\n", ":",
                               "Content-Length: 3\r\n", kChunked, "POST ", "3\r\nabc\r\n",
                               "0\r\n\r\n", "abc", ";a=b", " ", "Connection: upgrade\r\n",
                               "Upgrade: websocket\r\n", "X: y\r\n"};
  uint32_t seed = 7;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = round % 2 == 0 ? "POST / HTTP/1.1\r\nHost: a\r\n" : "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 8; ++i) {
      seed = seed * 1103515245 + 12345;
      bytes += words[(seed >> 16) % (sizeof(words) / sizeof(words[0]))];
    }
    if (!SameForEachCut(bytes)) {
      CHECK(false);
      return;
    }
  }
}
