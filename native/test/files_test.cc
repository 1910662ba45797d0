// Watched descriptors, and those that the hub takes over, on a bare libuv loop.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "bare_host.h"
#include "check.h"
#include "core/hub.h"
#include "core/watch.h"

using namespace uvio;

namespace {

struct Host final : BareHost {
  struct Event {
    uint32_t id;
    int kind;
    int a, b;
  };
  std::vector<uint8_t> chunk;
  std::vector<Event> events;
  std::string data;

  Host() : chunk(512 << 10) {
    signal(SIGPIPE, SIG_IGN);  // as Node does
    OpenHub();
  }
  ~Host() { CloseHub(); }
  void Enter(int records) override {
    const int32_t* in = reinterpret_cast<const int32_t*>(shared.data() + kInOffset);
    for (int i = 0; i < records; i++, in += 4) {
      events.push_back({static_cast<uint32_t>(in[0]), in[1], in[2], in[3]});
      if (in[1] == kRecData || in[1] == kRecBulk) {
        data.append(reinterpret_cast<const char*>(chunk.data()) + in[2],
                    static_cast<size_t>(in[3]));
      }
    }
    ctl()[kCtlSmallPos] = ctl()[kCtlBulkPos] = ctl()[kCtlNeedChunk] = 0;
  }
  Chunk GetChunk(bool) override { return {chunk.data(), chunk.size()}; }
  int Count(int kind) const {
    int count = 0;
    for (const Event& event : events) count += event.kind == kind;
    return count;
  }
  void Turns(int count) {
    for (int i = 0; i < count; i++) uv_run(&loop, UV_RUN_NOWAIT);
  }
};

struct Pair {
  int fd[2];
  explicit Pair(int type = SOCK_STREAM) { CHECK_EQ(socketpair(AF_UNIX, type, 0, fd), 0); }
};

struct Pipe {
  int fd[2];
  Pipe() { CHECK_EQ(pipe(fd), 0); }
};

bool Open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

#ifdef __linux__
TEST(a_watch_is_told_in_each_turn_until_it_is_forgotten) {
  Host host;
  Pipe pipe;
  const int generation = host.hub->Watch(pipe.fd[0], kInterestIn);
  CHECK(generation > 0);
  host.Turns(3);
  CHECK_EQ(host.Count(kRecWatch), 0);
  CHECK_EQ(write(pipe.fd[1], "x", 1), 1);
  host.Turns(5);
  CHECK(host.Count(kRecWatch) >= 3);
  CHECK_EQ(host.events[0].a, generation);
  CHECK_EQ(host.events[0].b, static_cast<int>(kInterestIn));
  CHECK_EQ(host.hub->Watch(pipe.fd[0], kInterestNone), 0);
  const int before = host.Count(kRecWatch);
  host.Turns(3);
  CHECK_EQ(host.Count(kRecWatch), before);
  close(pipe.fd[0]);
  close(pipe.fd[1]);
}

TEST(a_duplicate_of_a_closed_one_neither_fires_nor_spins) {
  Host host;
  Pipe pipe;
  CHECK(host.hub->Watch(pipe.fd[0], kInterestIn) > 0);
  const int copy = dup(pipe.fd[0]);
  CHECK_EQ(write(pipe.fd[1], "x", 1), 1);
  close(pipe.fd[0]);
  CHECK_EQ(host.hub->Watch(pipe.fd[0], kInterestNone), 0);
  // Another one, whose watch has to live through the new instance.
  Pipe other;
  CHECK(host.hub->Watch(other.fd[0], kInterestIn) > 0);
  host.Turns(5);
  CHECK_EQ(host.Count(kRecWatch), 0);
  CHECK_EQ(write(other.fd[1], "y", 1), 1);
  host.Turns(3);
  CHECK(host.Count(kRecWatch) > 0);
  for (const auto& event : host.events) CHECK_EQ(static_cast<int>(event.id), other.fd[0]);
  for (const int fd : {copy, pipe.fd[1], other.fd[0], other.fd[1]}) close(fd);
}

TEST(a_number_that_is_used_again_has_another_generation) {
  Host host;
  Pipe pipe;
  const int first = host.hub->Watch(pipe.fd[0], kInterestIn);
  close(pipe.fd[0]);
  const int again = open("/dev/tty", O_RDONLY) >= 0 ? -1 : dup(pipe.fd[1]);
  if (again == pipe.fd[0]) {
    const int second = host.hub->Watch(again, kInterestOut);
    CHECK(second > 0 && second != first);
  }
  if (again >= 0) close(again);
  close(pipe.fd[1]);
}

TEST(what_cannot_be_watched) {
  Host host;
  const int file = open("/proc/self/exe", O_RDONLY);
  CHECK_EQ(host.hub->Watch(file, kInterestIn), -EPERM);
  close(file);
  CHECK_EQ(host.hub->Watch(file, kInterestIn), -EBADF);
  CHECK_EQ(host.hub->Watch(file, kInterestNone), 0);
}

TEST(a_file_is_sent_in_steps_each_when_there_is_room) {
  Host host;
  Pair pair;
  char path[] = "/tmp/uvio-files-XXXXXX";
  const int file = mkstemp(path);
  unlink(path);
  const std::string content(3 << 20, 'f');
  CHECK_EQ(write(file, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  const auto id = static_cast<uint32_t>(host.hub->AdoptSocket(pair.fd[0], false));
  int64_t sent = 0;
  size_t got = 0;
  int waits = 0;
  std::vector<char> buffer(1 << 20);
  while (got < content.size()) {
    const int64_t step = host.hub->SendFile(id, file, sent, content.size());
    if (step > 0) {
      CHECK(step <= static_cast<int64_t>(kMaxSendFile));
      sent += step;
      continue;
    }
    if (step == -EAGAIN) {
      waits++;
      CHECK_EQ(host.hub->NotifyWritable(id), 0);
      const int before = host.Count(kRecWritable);
      host.Turns(3);
      CHECK_EQ(host.Count(kRecWritable), before);
      ssize_t more;
      while ((more = recv(pair.fd[1], buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
        got += static_cast<size_t>(more);
      }
      host.Turns(3);
      CHECK_EQ(host.Count(kRecWritable), before + 1);
      continue;
    }
    CHECK_EQ(step, 0);
    const ssize_t more = recv(pair.fd[1], buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (more > 0) got += static_cast<size_t>(more);
  }
  CHECK(waits > 2);
  CHECK_EQ(sent, static_cast<int64_t>(content.size()));
  CHECK_EQ(host.hub->SendFile(id, file, sent, 10), 0);
  host.hub->Abort(id);
  host.Turns(2);
  CHECK_EQ(host.hub->SendFile(id, file, 0, 10), -EBADF);
  close(file);
  close(pair.fd[1]);
}
#endif

TEST(ends_of_a_pipe_are_read_and_written) {
  Host host;
  Pipe pipe;
  const int reads = host.hub->AdoptPipe(pipe.fd[0], false);
  const int writes = host.hub->AdoptPipe(pipe.fd[1], true);
  CHECK(reads >= 0 && writes >= 0);
  const std::string text(300000, 'p');
  host.hub->Write(static_cast<uint32_t>(writes), reinterpret_cast<const uint8_t*>(text.data()),
                  text.size());
  host.hub->Close(static_cast<uint32_t>(writes));
  host.Turns(200);
  CHECK(host.data == text);
  CHECK_EQ(host.Count(kRecEof), 1);
  CHECK(!Open(pipe.fd[1]));
  host.hub->Close(static_cast<uint32_t>(reads));
  CHECK(!Open(pipe.fd[0]));
}

TEST(a_reader_that_goes_ends_the_writing_end) {
  for (const bool left : {false, true}) {
    Host host;
    Pipe pipe;
    const auto id = static_cast<uint32_t>(host.hub->AdoptPipe(pipe.fd[1], true));
    const std::string text(300000, 'p');
    if (left) {
      host.hub->Write(id, reinterpret_cast<const uint8_t*>(text.data()), text.size());
    }
    close(pipe.fd[0]);
    host.Turns(5);
    CHECK_EQ(host.Count(kRecClosed), 1);
    CHECK_EQ(host.events.back().a, left ? EPIPE : 0);
  }
}

TEST(a_listener_of_a_duplicate_leaves_the_given_descriptor_alone) {
  Host host;
  const int given = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(listen(given, 4), 0);
  ListenOptions options;
  options.duplicate = true;
  const int one = host.hub->ListenFd(given, options);
  const int two = host.hub->ListenFd(given, options);
  CHECK(one >= 0 && two >= 0);
  CHECK_EQ(host.PortOf(static_cast<uint32_t>(one)), host.PortOf(static_cast<uint32_t>(two)));
  for (const int id : {one, two}) host.hub->Close(static_cast<uint32_t>(id));
  host.RunUntil([&] { return host.Count(kRecClosed) == 2; });
  CHECK_EQ(host.Count(kRecClosed), 2);
  CHECK(Open(given));
  close(given);
}

TEST(what_is_refused_stays_the_callers) {
  Host host;
  Pipe pipe;
  Pair datagrams(SOCK_DGRAM);
  const int lonely = socket(AF_INET, SOCK_STREAM, 0);
  const int null = open("/dev/null", O_RDWR);
  CHECK_EQ(host.hub->AdoptPipe(pipe.fd[0], true), -EBADF);
  CHECK_EQ(host.hub->AdoptPipe(pipe.fd[1], false), -EBADF);
  CHECK_EQ(host.hub->AdoptSocket(pipe.fd[0], false), -ENOTSOCK);
  CHECK_EQ(host.hub->AdoptSocket(datagrams.fd[0], false), -EPROTOTYPE);
  CHECK_EQ(host.hub->AdoptSocket(lonely, false), -ENOTCONN);
  CHECK_EQ(host.hub->AdoptSocket(lonely, true), -ENOTCONN);
  CHECK_EQ(host.hub->ListenFd(lonely, {}), -EINVAL);
  CHECK_EQ(host.hub->ListenFd(null, {}), -ENOTSOCK);
#ifdef __linux__
  CHECK_EQ(host.hub->AdoptPipe(null, false), -EPERM);
#endif
  CHECK_EQ(host.ctl()[kCtlStreams], 0);
  for (const int fd : {pipe.fd[0], pipe.fd[1], datagrams.fd[0], datagrams.fd[1], lonely, null}) {
    CHECK(Open(fd));
    close(fd);
  }
}

TEST(a_duplicate_lives_on_without_the_first) {
  Host host;
  Pair pair;
  const int id = host.hub->AdoptSocket(pair.fd[0], true);
  CHECK(id >= 0);
  close(pair.fd[0]);
  CHECK_EQ(send(pair.fd[1], "still", 5, 0), 5);
  host.Turns(3);
  CHECK(host.data == "still");
  close(pair.fd[1]);
}

}  // namespace
