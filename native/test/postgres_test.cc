#include "parse/postgres.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "test/check.h"

namespace {

using uvio::postgres::CopyPayloads;
using uvio::postgres::kInvalid;
using uvio::postgres::kLongText;
using uvio::postgres::kWindowBytes;
using uvio::postgres::ReadTexts;
using uvio::postgres::Window;

void AddUint32(std::vector<uint8_t>* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<uint8_t>(value >> shift));
}

void AddRow(std::vector<uint8_t>* out, const std::vector<std::string>& fields) {
  uint32_t length = 6;
  for (const std::string& field : fields) length += 4 + static_cast<uint32_t>(field.size());
  out->push_back('D');
  AddUint32(out, length);
  out->push_back(0);
  out->push_back(static_cast<uint8_t>(fields.size()));
  for (const std::string& field : fields) {
    AddUint32(out, static_cast<uint32_t>(field.size()));
    out->insert(out->end(), field.begin(), field.end());
  }
}

struct Result {
  size_t stop;
  std::string narrow;
  std::u16string wide;
  std::vector<int32_t> marks;
  std::string json;
};

// The bytes have a block of their own, so that a look beyond their end is seen by ASan.
Result Read(const std::vector<uint8_t>& bytes, const std::vector<uint8_t>& kinds) {
  const std::vector<uint8_t> block = bytes;
  auto window = std::make_unique<Window>();
  Result result{0, "", u"", std::vector<int32_t>(4096, 77), ""};
  result.stop = ReadTexts(block.data(), 0, block.size(), kinds.data(), kinds.size(),
                          window.get(), result.marks.data(), result.marks.size());
  result.narrow.assign(reinterpret_cast<const char*>(window->narrow), window->used.narrow);
  result.wide.assign(window->wide, window->used.wide);
  if (window->used.json_count > 0) {
    result.json.assign(reinterpret_cast<const char*>(window->json), window->used.json);
  }
  return result;
}

TEST(ascii_and_other_text_are_kept_apart) {
  std::vector<uint8_t> bytes;
  AddRow(&bytes, {"ab", "\x01\x02", "\xc5\xbc\xf0\x9f\x98\x80z"});
  AddRow(&bytes, {"", "xy", "eight by"});
  const Result result = Read(bytes, {1, 0, 1});
  CHECK_EQ(result.stop, bytes.size());
  CHECK(result.narrow == "abeight by");
  CHECK(result.wide == u"\u017c\U0001f600z");
  CHECK_EQ(result.marks[0], 0);
  CHECK_EQ(result.marks[1], ~0);
  CHECK_EQ(result.marks[2], 4);
  CHECK_EQ(result.marks[3], 2);
  CHECK_EQ(result.marks[4], 77);
}

TEST(documents_are_items_of_an_array) {
  std::vector<uint8_t> bytes;
  AddRow(&bytes, {"{}", "\x01[1]", "text"});
  AddRow(&bytes, {"", "\x02[2]", ""});
  AddRow(&bytes, {"\"\xc5\xbc\"", "\x01", "more"});
  AddRow(&bytes, {"3", std::string(1, '\x01') + std::string(kLongText, '4'), "end"});
  const Result result = Read(bytes, {2, 3, 1});
  CHECK_EQ(result.stop, bytes.size());
  CHECK(result.json == "[{},[1],3]");
  CHECK(result.narrow == "textmoreend");
  const std::vector<int32_t> wanted = {1, 1, 0, 0, 0, 0, 0, 4, 1, 0, 8, 77};
  CHECK(std::equal(wanted.begin(), wanted.end(), result.marks.begin()));
  bytes.clear();
  for (int i = 0; i < 3000; ++i) AddRow(&bytes, {"1", "2"});
  const Result small = Read(bytes, {2, 2});
  CHECK(small.json.size() == 1 + 4 * small.stop / (bytes.size() / 3000));
}

TEST(what_is_no_utf8_is_marked) {
  const char* const wrong[] = {"\x80",         "\xc1\x81",         "\xc5",     "\xe0\x80\x80",
                               "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xe2\x82", "\xf4\x90\x80\x80",
                               "\xf5\x80\x80\x80", "\xff", "abcdefgh\xc5"};
  for (const char* text : wrong) {
    std::vector<uint8_t> bytes;
    AddRow(&bytes, {text, "ok"});
    const Result result = Read(bytes, {1, 1});
    CHECK_EQ(result.stop, bytes.size());
    CHECK_EQ(result.marks[0], kInvalid);
    CHECK(result.narrow == "ok" && result.wide.empty());
  }
}

TEST(rows_that_are_cut_or_malformed_end_it) {
  std::vector<uint8_t> bytes;
  AddRow(&bytes, {"one", "\xc5\xbc"});
  const size_t first = bytes.size();
  AddRow(&bytes, {"two", "more"});
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    const Result result = Read(cut, {1, 1});
    CHECK_EQ(result.stop, size < first ? 0 : first);
    CHECK(result.narrow == (size < first ? "" : "one"));
  }
  CHECK_EQ(Read(bytes, {1}).stop, size_t{0});
  CHECK_EQ(Read(bytes, {}).stop, size_t{0});
  // Each byte of the second row's lengths, wrong.
  for (const size_t at : {size_t{4}, size_t{7}, size_t{10}, size_t{17}}) {
    for (const uint8_t value : {uint8_t{0x7f}, uint8_t{0xff}, uint8_t{0xfe}}) {
      std::vector<uint8_t> other = bytes;
      other[first + at] = value;
      CHECK_EQ(Read(other, {1, 1}).stop, first);
    }
  }
}

TEST(the_window_and_the_marks_have_an_end) {
  std::vector<uint8_t> bytes;
  const std::string longest(kLongText, 'x');
  for (int i = 0; i < 40; ++i) AddRow(&bytes, {longest, longest + 'y'});
  const Result full = Read(bytes, {1, 1});
  CHECK_EQ(full.narrow.size(), kWindowBytes);
  CHECK_EQ(full.stop, bytes.size() / 40 * 32);
  bytes.clear();
  for (int i = 0; i < 3000; ++i) AddRow(&bytes, {"\xc3\xa9", "a"});
  const Result many = Read(bytes, {1, 1});
  CHECK(many.stop < bytes.size() && many.marks.size() == 4096);
}

TEST(payloads_are_copied_as_far_as_they_fit) {
  std::vector<uint8_t> bytes;
  for (const std::string text : {"first\n", "", "second\n"}) {
    bytes.push_back('d');
    AddUint32(&bytes, static_cast<uint32_t>(text.size() + 4));
    bytes.insert(bytes.end(), text.begin(), text.end());
  }
  for (size_t size = 0; size <= bytes.size(); ++size) {
    for (size_t room = 0; room <= 13; ++room) {
      const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
      std::vector<uint8_t> target(room);
      const auto [stop, filled] = CopyPayloads(cut.data(), 0, size, target.data(), room);
      const size_t fit = room < 6 ? 0 : room < 13 ? 2 : 3;
      const size_t whole = std::min<size_t>(fit, size < 11 ? 0 : size < 16 ? 1 : size < 28 ? 2 : 3);
      const size_t stops[] = {0, 11, 16, 28};
      const size_t lengths[] = {0, 6, 6, 13};
      CHECK_EQ(stop, stops[whole]);
      const std::string copied(target.begin(), target.begin() + static_cast<ptrdiff_t>(filled));
      CHECK(copied == std::string("first\nsecond\n").substr(0, lengths[whole]));
    }
  }
  bytes[4] = 3;
  std::vector<uint8_t> target(20);
  CHECK_EQ(CopyPayloads(bytes.data(), 0, bytes.size(), target.data(), 20).stop, size_t{0});
}

}  // namespace
