/*
 * libpq, measured: libpq <case> <seconds> <port> <cases file> prints JSON. Parameters and results
 * are binary; each field is looked at, and no object is made of it: a floor for what makes rows.
 *
 * Queries are sent on all connections and read as they become readable, as the others do. `one` is
 * measured with PQexecPrepared on one connection after the other, too; the lower figure counts.
 * `pipelined` is libpq's pipeline mode with one Sync for all, so that an error is everyone's.
 */
#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { connections = 10, batch = 100 };

static PGconn *clients[connections];
static uint64_t touched;

static void die(const char *what, PGconn *client) {
  fprintf(stderr, "%s: %s\n", what, client ? PQerrorMessage(client) : strerror(errno));
  exit(1);
}

static double seconds_of(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu(void) { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }
static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

/* Integers are converted, of others the first byte and the length are read. */
static void use(PGresult *result) {
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_PIPELINE_SYNC) {
    fprintf(stderr, "%s\n", PQresultErrorMessage(result));
    exit(1);
  }
  int rows = PQntuples(result);
  int columns = PQnfields(result);
  for (int row = 0; row < rows; row++) {
    for (int column = 0; column < columns; column++) {
      if (PQgetisnull(result, row, column)) continue;
      const char *value = PQgetvalue(result, row, column);
      int length = PQgetlength(result, row, column);
      uint32_t number;
      if (length == 4) {
        memcpy(&number, value, 4);
        touched += be32toh(number);
      } else if (length > 0) {
        touched += (uint64_t)(unsigned char)value[0] + (uint64_t)length;
      }
    }
  }
  PQclear(result);
}

struct arguments {
  int count;
  const char *values[2];
  int lengths[2];
  int formats[2];
  char bytes[2][8];
};

static void int4(struct arguments *of, int i, int32_t value) {
  uint32_t big = htobe32((uint32_t)value);
  memcpy(of->bytes[i], &big, 4);
  of->values[i] = of->bytes[i];
  of->lengths[i] = 4;
  of->formats[i] = 1;
}

static struct arguments arguments_of(const char *name) {
  struct arguments of = {0};
  if (strcmp(name, "one") == 0 || strcmp(name, "pipelined") == 0) {
    of.count = 2;
    int4(&of, 0, 1);
    of.values[1] = "hello";
    of.lengths[1] = 5;
    of.formats[1] = 1;
  } else if (strcmp(name, "pgType") == 0) {
    of.count = 2;
    int4(&of, 0, -1);
    of.bytes[1][0] = 1;
    of.values[1] = of.bytes[1];
    of.lengths[1] = 1;
    of.formats[1] = 1;
  }
  return of;
}

static void send_query(PGconn *client, const struct arguments *a) {
  if (!PQsendQueryPrepared(client, "s", a->count, a->values, a->lengths, a->formats, 1)) {
    die("send", client);
  }
}

/* One after the other. */
static long run_one(double until, struct arguments *a) {
  long count = 0;
  while (now() < until) {
    for (int i = 0; i < connections; i++, count++) {
      use(PQexecPrepared(clients[i], "s", a->count, a->values, a->lengths, a->formats, 1));
    }
  }
  return count;
}

/* All at once: the next query of a connection follows when its result is there. */
static long run_all(double until, struct arguments *a) {
  struct pollfd polls[connections];
  long count = 0;
  int busy = connections;
  for (int i = 0; i < connections; i++) {
    send_query(clients[i], a);
    polls[i] = (struct pollfd){.fd = PQsocket(clients[i]), .events = POLLIN};
  }
  while (busy > 0) {
    if (poll(polls, connections, 5000) <= 0) die("poll", NULL);
    for (int i = 0; i < connections; i++) {
      PGconn *client = clients[i];
      if (polls[i].fd < 0 || polls[i].revents == 0) continue;
      if (!PQconsumeInput(client)) die("read", client);
      PGresult *result = NULL;
      while (!PQisBusy(client) && (result = PQgetResult(client)) != NULL) use(result);
      if (result != NULL || PQisBusy(client)) continue;
      count++;
      if (now() < until) {
        send_query(client, a);
      } else {
        polls[i].fd = -1;
        busy--;
      }
    }
  }
  return count;
}

static long run_pipelined(double until, struct arguments *a) {
  PGconn *client = clients[0];
  long count = 0;
  if (!PQenterPipelineMode(client)) die("pipeline", client);
  for (; now() < until; count++) {
    for (int i = 0; i < batch; i++) {
      int4(a, 0, i);
      send_query(client, a);
    }
    if (!PQpipelineSync(client)) die("sync", client);
    for (int i = 0; i < batch; i++) {
      use(PQgetResult(client));
      if (PQgetResult(client) != NULL) die("two results", client);
    }
    use(PQgetResult(client));
  }
  if (!PQexitPipelineMode(client)) die("pipeline", client);
  return count;
}

typedef long (*runner)(double, struct arguments *);

/* CPU per query, in microseconds. */
static double measure(runner run, double seconds, struct arguments *a) {
  run(now() + 0.3, a);
  double before = cpu();
  long count = run(now() + seconds, a);
  return (cpu() - before) * 1e6 / (double)count;
}

/* The text of the query, from a file of lines `name<TAB>sql`. */
static char *sql_of(const char *path, const char *name) {
  FILE *file = fopen(path, "r");
  if (file == NULL) die(path, NULL);
  static char line[4096];
  size_t length = strlen(name);
  while (fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, name, length) == 0 && line[length] == '\t') {
      fclose(file);
      return line + length + 1;
    }
  }
  fprintf(stderr, "libpq has no %s\n", name);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const char *name = argv[1];
  double seconds = atof(argv[2]);
  const char *sql = sql_of(argv[4], strcmp(name, "pipelined") == 0 ? "one" : name);
  char where[100];
  snprintf(where, sizeof where, "host=127.0.0.1 port=%s user=postgres sslmode=disable", argv[3]);
  for (int i = 0; i < connections; i++) {
    clients[i] = PQconnectdb(where);
    if (PQstatus(clients[i]) != CONNECTION_OK) die("connect", clients[i]);
    PGresult *result = PQprepare(clients[i], "s", sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) die("prepare", clients[i]);
    PQclear(result);
  }
  struct arguments a = arguments_of(name);
  double micros = measure(strcmp(name, "pipelined") == 0 ? run_pipelined : run_all, seconds, &a);
  if (strcmp(name, "one") == 0) {
    double other = measure(run_one, seconds, &a);
    if (other < micros) micros = other;
  }
  printf("{\"cpuMicros\":%f}\n", micros);
  for (int i = 0; i < connections; i++) PQfinish(clients[i]);
  return touched == 0;
}
