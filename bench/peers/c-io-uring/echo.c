/* Echo on io_uring in C: multishot accept and receive, provided buffers, sends in batches. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kBuffers = 256, kBufferBytes = 16 * 1024, kEntries = 4096, kBacklog = 511, kGroup = 0 };
enum { kAccept = 0, kReceive = 1, kSend = 2 }; /* in the low bits of user_data */

/* A buffer that waits to be sent, by its number. */
typedef struct {
  unsigned begin, end;
  int next;
} piece_t;

/* At most one send is in flight for each connection, or their order would be lost. */
typedef struct {
  int fd;
  int first, last; /* pieces; -1 for none */
  int receiving, sending, gone;
} conn_t;

static struct io_uring ring;
static struct io_uring_buf_ring* buffers;
static char* memory;
static piece_t pieces[kBuffers];

static void on_collect(int signum) {
  static const char answer[] = "{\"collected\":true}\n";
  (void)signum;
  (void)!write(STDOUT_FILENO, answer, sizeof answer - 1);
}

static char* address_of(int buffer) { return memory + (size_t)buffer * kBufferBytes; }

static void give_back(int buffer) {
  io_uring_buf_ring_add(buffers, address_of(buffer), kBufferBytes, (unsigned short)buffer,
                        io_uring_buf_ring_mask(kBuffers), 0);
  io_uring_buf_ring_advance(buffers, 1);
}

static struct io_uring_sqe* next_sqe(void) {
  struct io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  if (sqe == NULL) {
    io_uring_submit(&ring);
    sqe = io_uring_get_sqe(&ring);
  }
  return sqe;
}

static void receive(conn_t* conn) {
  struct io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kGroup;
  io_uring_sqe_set_data64(sqe, (unsigned long long)(size_t)conn | kReceive);
  conn->receiving = 1;
}

static void send_first(conn_t* conn) {
  struct io_uring_sqe* sqe = next_sqe();
  piece_t* piece = &pieces[conn->first];
  io_uring_prep_send(sqe, conn->fd, address_of(conn->first) + piece->begin,
                     piece->end - piece->begin, MSG_NOSIGNAL);
  io_uring_sqe_set_data64(sqe, (unsigned long long)(size_t)conn | kSend);
  conn->sending = 1;
}

static void drop_when_idle(conn_t* conn) {
  if (!conn->gone || conn->sending || conn->receiving) return;
  for (; conn->first >= 0; conn->first = pieces[conn->first].next) give_back(conn->first);
  close(conn->fd);
  free(conn);
}

static void on_accept(int listener, struct io_uring_cqe* cqe) {
  if (!(cqe->flags & IORING_CQE_F_MORE)) {
    struct io_uring_sqe* sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, kAccept);
  }
  if (cqe->res < 0) return;
  int on = 1;
  setsockopt(cqe->res, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  conn_t* conn = calloc(1, sizeof *conn);
  if (conn == NULL) abort();
  conn->fd = cqe->res;
  conn->first = conn->last = -1;
  receive(conn);
}

static void on_receive(conn_t* conn, struct io_uring_cqe* cqe) {
  if (!(cqe->flags & IORING_CQE_F_MORE)) conn->receiving = 0;
  if (cqe->res > 0) {
    int buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    pieces[buffer] = (piece_t){0, (unsigned)cqe->res, -1};
    if (conn->first < 0) conn->first = buffer;
    else pieces[conn->last].next = buffer;
    conn->last = buffer;
    if (!conn->sending) send_first(conn);
  } else if (cqe->res != -ENOBUFS) {
    conn->gone = 1;
  }
  /* Out of buffers: the end of a send, which gives some back, asks again. */
  if (!conn->receiving && !conn->gone && !conn->sending) receive(conn);
  drop_when_idle(conn);
}

static void on_send(conn_t* conn, struct io_uring_cqe* cqe) {
  conn->sending = 0;
  if (cqe->res < 0) {
    conn->gone = 1;
    shutdown(conn->fd, SHUT_RDWR);
  } else {
    piece_t* piece = &pieces[conn->first];
    piece->begin += (unsigned)cqe->res;
    if (piece->begin == piece->end) {
      int done = conn->first;
      conn->first = piece->next;
      give_back(done);
    }
    if (conn->first >= 0) send_first(conn);
    if (!conn->receiving && !conn->gone) receive(conn);
  }
  drop_when_idle(conn);
}

static int listen_anywhere(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr*)&address, len) != 0 || listen(fd, kBacklog) != 0 ||
      getsockname(fd, (struct sockaddr*)&address, &len) != 0) {
    perror("listen");
    exit(1);
  }
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

static void set_up(void) {
  int error = io_uring_queue_init(kEntries, &ring,
                                  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
  memory = aligned_alloc(4096, (size_t)kBuffers * kBufferBytes);
  buffers = aligned_alloc(4096, kBuffers * sizeof(struct io_uring_buf));
  if (error != 0 || memory == NULL || buffers == NULL) {
    fprintf(stderr, "io_uring: %s\n", strerror(-error));
    exit(1);
  }
  struct io_uring_buf_reg registration = {
      .ring_addr = (unsigned long long)(size_t)buffers, .ring_entries = kBuffers, .bgid = kGroup};
  io_uring_buf_ring_init(buffers);
  error = io_uring_register_buf_ring(&ring, &registration, 0);
  if (error != 0) {
    fprintf(stderr, "buffer ring: %s\n", strerror(-error));
    exit(1);
  }
  for (int i = 0; i < kBuffers; ++i) give_back(i);
}

int main(void) {
  signal(SIGUSR2, on_collect);
  set_up();
  int listener = listen_anywhere();
  struct io_uring_cqe first = {.res = -1};
  on_accept(listener, &first);
  for (;;) {
    struct io_uring_cqe* cqe;
    io_uring_submit_and_wait(&ring, 1);
    unsigned head, count = 0;
    io_uring_for_each_cqe(&ring, head, cqe) {
      unsigned long long data = cqe->user_data;
      conn_t* conn = (conn_t*)(size_t)(data & ~3ull);
      count++;
      if ((data & 3) == kAccept) on_accept(listener, cqe);
      else if ((data & 3) == kReceive) on_receive(conn, cqe);
      else on_send(conn, cqe);
    }
    io_uring_cq_advance(&ring, count);
  }
}
