// A test framework of one screen: TEST(name) { CHECK(…); CHECK_EQ(a, b); }, one program a file.
//
// Owner: the test program.
// Lifetime: static; tests register themselves before main.
// Thread: one.
// Re-entrancy: a test must not call another.
#pragma once

#include <cstdio>

namespace uvio_test {

struct Test {
  const char* name;
  void (*body)();
  Test* next;
};

inline Test* first_test = nullptr;
inline int failures = 0;

struct Registration {
  Test test;
  Registration(const char* name, void (*body)()) : test{name, body, first_test} {
    first_test = &test;
  }
};

inline void Fail(const char* file, int line, const char* what) {
  failures += 1;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

inline int RunAll() {
  int count = 0;
  for (Test* test = first_test; test != nullptr; test = test->next) {
    const int before = failures;
    test->body();
    count += 1;
    std::printf("%s %s\n", failures == before ? "ok  " : "FAIL", test->name);
  }
  std::printf("%d tests, %d failed checks\n", count, failures);
  return failures == 0 && count > 0 ? 0 : 1;
}

}  // namespace uvio_test

#define TEST(name)                                                             \
  static void name();                                                          \
  static uvio_test::Registration registration_##name(#name, &name);            \
  static void name()

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) uvio_test::Fail(__FILE__, __LINE__, "CHECK: " #condition); \
  } while (0)

#define CHECK_EQ(a, b)                                                         \
  do {                                                                         \
    if (!((a) == (b))) uvio_test::Fail(__FILE__, __LINE__, "CHECK_EQ: " #a " == " #b); \
  } while (0)

int main() { return uvio_test::RunAll(); }
