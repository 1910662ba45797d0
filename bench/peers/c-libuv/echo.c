/* Echo on libuv in C: one static read buffer, uv_try_write at once, uv_write for the rest. */
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { kReadBytes = 64 * 1024, kBacklog = 511, kHighWaterBytes = 64 * 1024 };

typedef struct {
  uv_write_t req;
  char bytes[];
} rest_t;

static char read_buffer[kReadBytes];

static void on_read(uv_stream_t* stream, ssize_t nread, const uv_buf_t* buf);

static void on_alloc(uv_handle_t* handle, size_t hint, uv_buf_t* buf) {
  (void)handle;
  (void)hint;
  *buf = uv_buf_init(read_buffer, kReadBytes);
}

static void on_close(uv_handle_t* handle) { free(handle); }

static void close_stream(uv_stream_t* stream) {
  if (!uv_is_closing((uv_handle_t*)stream)) uv_close((uv_handle_t*)stream, on_close);
}

static void on_written(uv_write_t* req, int status) {
  uv_stream_t* stream = req->handle;
  free(req);
  if (status < 0) close_stream(stream);
  else if (stream->write_queue_size == 0) uv_read_start(stream, on_alloc, on_read);
}

static void write_rest(uv_stream_t* stream, const char* bytes, size_t len) {
  rest_t* rest = malloc(sizeof *rest + len);
  if (rest == NULL) abort();
  memcpy(rest->bytes, bytes, len);
  uv_buf_t buf = uv_buf_init(rest->bytes, (unsigned)len);
  if (uv_write(&rest->req, stream, &buf, 1, on_written) < 0) {
    free(rest);
    close_stream(stream);
    return;
  }
  if (stream->write_queue_size > kHighWaterBytes) uv_read_stop(stream);
}

static void on_read(uv_stream_t* stream, ssize_t nread, const uv_buf_t* buf) {
  if (nread < 0) {
    close_stream(stream);
    return;
  }
  if (nread == 0) return;
  uv_buf_t out = uv_buf_init(buf->base, (unsigned)nread);
  int written = uv_try_write(stream, &out, 1);
  if (written == UV_EAGAIN) written = 0;
  if (written < 0) close_stream(stream);
  else if (written < nread) write_rest(stream, buf->base + written, (size_t)(nread - written));
}

static void on_connection(uv_stream_t* server, int status) {
  if (status < 0) return;
  uv_tcp_t* client = malloc(sizeof *client);
  if (client == NULL) abort();
  uv_tcp_init(server->loop, client);
  if (uv_accept(server, (uv_stream_t*)client) < 0) {
    close_stream((uv_stream_t*)client);
    return;
  }
  uv_tcp_nodelay(client, 1);
  uv_read_start((uv_stream_t*)client, on_alloc, on_read);
}

static void on_collect(uv_signal_t* handle, int signum) {
  (void)handle;
  (void)signum;
  malloc_trim(0);
  printf("{\"collected\":true}\n");
  fflush(stdout);
}

int main(void) {
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t server;
  uv_signal_t collect;
  struct sockaddr_in address;
  int len = sizeof address;
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_init(loop, &server);
  uv_signal_init(loop, &collect);
  uv_signal_start(&collect, on_collect, SIGUSR2);
  int error = uv_tcp_bind(&server, (const struct sockaddr*)&address, 0);
  if (error == 0) error = uv_listen((uv_stream_t*)&server, kBacklog, on_connection);
  if (error == 0) error = uv_tcp_getsockname(&server, (struct sockaddr*)&address, &len);
  if (error != 0) {
    fprintf(stderr, "%s\n", uv_strerror(error));
    return 1;
  }
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
