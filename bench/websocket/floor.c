/* What the kernel alone asks for the cases of bench/websocket.mjs: raw frames on epoll, one send()
 * for each frame, no check of anything. It knows its load only: small frames, one in a read. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kMaxFd = 65536, kEvents = 512, kBytes = 64 * 1024 };
enum { kFresh, kEcho, kFeed, kControl };

static char kinds[kMaxFd];
static int feed[kMaxFd];
static int subscribers;
static unsigned char buffer[kBytes];
static unsigned char out[kBytes];

static void on_collect(int signum) {
  static const char answer[] = "{\"collected\":true}\n";
  (void)signum;
  (void)!write(STDOUT_FILENO, answer, sizeof answer - 1);
}

static void put(int fd, const void* bytes, size_t len) {
  if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) exit(1);
}

static void greet(int fd) {
  static const char head[] =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  if (memcmp(buffer, "GET /feed", 9) == 0) {
    kinds[fd] = kFeed;
    feed[subscribers++] = fd;
  } else {
    kinds[fd] = memcmp(buffer, "GET /control", 12) == 0 ? kControl : kEcho;
  }
  put(fd, head, sizeof head - 1);
}

/* Head of an unmasked frame: its length. */
static size_t frame_head(int opcode, size_t len) {
  out[0] = (unsigned char)(0x80 | opcode);
  if (len < 126) {
    out[1] = (unsigned char)len;
    return 2;
  }
  out[1] = 126;
  out[2] = (unsigned char)(len >> 8);
  out[3] = (unsigned char)len;
  return 4;
}

static void publish(int count, size_t len) {
  const size_t head = frame_head(1, len);
  memset(out + head, 'x', len);
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < subscribers; k++) put(feed[k], out, head + len);
  }
}

/* One masked frame of less than 64 KiB. */
static void answer(int fd) {
  const int wide = (buffer[1] & 0x7f) == 126;
  const size_t len = wide ? (size_t)(buffer[2] << 8 | buffer[3]) : (size_t)(buffer[1] & 0x7f);
  const unsigned char* key = buffer + (wide ? 4 : 2);
  if (kinds[fd] == kControl) {
    char text[64] = {0};
    for (size_t i = 0; i < len && i < sizeof text - 1; i++) {
      text[i] = (char)(key[4 + i] ^ key[i & 3]);
    }
    int count = 0;
    int bytes = 0;
    if (sscanf(text, "%d %d", &count, &bytes) == 2) publish(count, (size_t)bytes);
    put(fd, "\x81\x04" "done", 6);
    return;
  }
  const size_t head = frame_head(buffer[0] & 0xf, len);
  for (size_t i = 0; i < len; i++) out[head + i] = key[4 + i] ^ key[i & 3];
  put(fd, out, head + len);
}

static void accept_all(int listener, int epoll_fd) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    kinds[fd] = kFresh;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
  }
}

int main(void) {
  signal(SIGUSR2, on_collect);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr*)&address, size) != 0) return 1;
  if (listen(listener, 4096) != 0) return 1;
  getsockname(listener, (struct sockaddr*)&address, &size);
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event events[kEvents] = {{.events = EPOLLIN, .data.fd = listener}};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, events);
  for (;;) {
    const int count = epoll_wait(epoll_fd, events, kEvents, -1);
    for (int i = 0; i < count; i++) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        accept_all(listener, epoll_fd);
        continue;
      }
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) close(fd);
      else if (kinds[fd] == kFresh) greet(fd);
      else answer(fd);
    }
  }
}
