/* What the kernel alone asks for the plaintext cases of bench/http.mjs: constant bytes for each head
 * that ends in a read, on epoll, and no more of HTTP than that. All that is ready is received, then
 * all is sent (`floor each`: one after the other, which made no difference). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kEvents = 1024, kBytes = 64 * 1024, kMostAnswers = 64 };

static const char answer[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain;charset=UTF-8\r\n"
    "date: Fri, 27 Nov 2026 12:00:00 GMT\r\ncontent-length: 13\r\n\r\nHello, World!";
enum { kSize = sizeof answer - 1 };

static char in[kBytes];
static char out[kMostAnswers * kSize];

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static int listening(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof at;
  const int one = 1;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  /* Accepted sockets inherit it. */
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (bind(fd, (struct sockaddr*)&at, len) != 0 || listen(fd, 511) != 0) fail("listen");
  getsockname(fd, (struct sockaddr*)&at, &len);
  printf("{\"port\":%d}\n", ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

static void watch(int poll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
}

static void answer_all(int fd, int count) {
  if (send(fd, out, (size_t)count * kSize, MSG_NOSIGNAL) < 0) close(fd);
}

/* How many heads have ended; 0 when there is nothing to answer. */
static int take(int fd) {
  const ssize_t len = recv(fd, in, sizeof in, 0);
  if (len == 0 || (len < 0 && errno != EAGAIN)) close(fd);
  int count = 0;
  for (char* at = in; len > 0 && count < kMostAnswers; at += 4, count++) {
    at = memmem(at, (size_t)(in + len - at), "\r\n\r\n", 4);
    if (at == NULL) break;
  }
  return count;
}

int main(int argc, char** argv) {
  const int each = argc > 1 && strcmp(argv[1], "each") == 0;
  static struct epoll_event events[kEvents];
  static int fds[kEvents], counts[kEvents];
  for (int i = 0; i < kMostAnswers; i++) memcpy(out + i * kSize, answer, kSize);
  const int poll = epoll_create1(0);
  const int server = listening();
  watch(poll, server);
  for (;;) {
    const int ready = epoll_wait(poll, events, kEvents, -1);
    int due = 0;
    for (int i = 0; i < ready; i++) {
      const int fd = events[i].data.fd;
      if (fd == server) {
        int peer;
        while ((peer = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0) watch(poll, peer);
        continue;
      }
      const int count = take(fd);
      if (count == 0) continue;
      if (each) {
        answer_all(fd, count);
      } else {
        fds[due] = fd;
        counts[due++] = count;
      }
    }
    for (int i = 0; i < due; i++) answer_all(fds[i], counts[i]);
  }
}
