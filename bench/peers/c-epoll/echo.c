/* Echo straight on epoll in C: what the kernel alone costs. Edge-triggered, read then write. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kReadBytes = 64 * 1024, kEvents = 512, kBacklog = 511 };

/* `rest` is what the socket did not take; while there is some, nothing is read. */
typedef struct {
  int fd;
  size_t begin, end;
  char* rest;
} conn_t;

static char buffer[kReadBytes];

static void on_collect(int signum) {
  static const char answer[] = "{\"collected\":true}\n";
  (void)signum;
  (void)!write(STDOUT_FILENO, answer, sizeof answer - 1);
}

static void drop(conn_t* conn) {
  close(conn->fd);
  free(conn->rest);
  free(conn);
}

static int keep_rest(conn_t* conn, const char* bytes, size_t len) {
  conn->rest = malloc(len);
  if (conn->rest == NULL) return -1;
  memcpy(conn->rest, bytes, len);
  conn->begin = 0;
  conn->end = len;
  return 0;
}

/* 1: all is written, 0: the socket is full, -1: the connection is gone. */
static int flush_rest(conn_t* conn) {
  while (conn->begin < conn->end) {
    ssize_t n = send(conn->fd, conn->rest + conn->begin, conn->end - conn->begin, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN ? 0 : -1;
    conn->begin += (size_t)n;
  }
  free(conn->rest);
  conn->rest = NULL;
  conn->begin = conn->end = 0;
  return 1;
}

/* Echoes what is there; -1 when the connection is gone. */
static int echo(conn_t* conn) {
  int flushed = flush_rest(conn);
  while (flushed == 1) {
    ssize_t n = recv(conn->fd, buffer, kReadBytes, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) return -1;
    ssize_t sent = send(conn->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return -1;
    if (sent < 0) sent = 0;
    if (sent < n) return keep_rest(conn, buffer + sent, (size_t)(n - sent));
  }
  return flushed;
}

static void accept_all(int listener, int epoll_fd) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    conn_t* conn = calloc(1, sizeof *conn);
    if (conn == NULL) abort();
    conn->fd = fd;
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = conn}};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
  }
}

static int listen_anywhere(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr*)&address, len) != 0 || listen(fd, kBacklog) != 0 ||
      getsockname(fd, (struct sockaddr*)&address, &len) != 0) {
    perror("listen");
    exit(1);
  }
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

int main(void) {
  struct epoll_event events[kEvents];
  signal(SIGUSR2, on_collect);
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  int listener = listen_anywhere();
  struct epoll_event event = {EPOLLIN, {.ptr = NULL}};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(epoll_fd, events, kEvents, -1);
    for (int i = 0; i < count; ++i) {
      conn_t* conn = events[i].data.ptr;
      if (conn == NULL) accept_all(listener, epoll_fd);
      else if (echo(conn) < 0) drop(conn);
    }
  }
}
