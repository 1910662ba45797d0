/** Libraries that were written for `net.Socket`, over connections of uvio. */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import * as http from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import * as tls from 'node:tls';
import { AbstractConnector, Redis } from 'ioredis';
import pg from 'pg';
import { Client } from 'undici';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { openConnection, openUnixConnection } from '../../lib/io/connect.ts';
import type { Connection, Server } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { localhost, pattern } from '../io/support.ts';
import { ca, identity } from '../io/tls-support.ts';
import { checkLeaks } from '../support/leaks.ts';
import { missingPostgres, type PostgresServer, sharedPostgres } from '../support/postgres.ts';

checkLeaks();

const mebibyte = 1024 * 1024;

/** A server of node:http whose sockets are connections of uvio. */
function serveHttp(nodeServer: http.Server): Promise<Server> {
  const hand = (connection: Connection): void => {
    nodeServer.emit('connection', connection.toNode({ allowHalfOpen: true }));
  };
  return startServer(hand, { host: localhost });
}

async function connect(server: Server): Promise<Duplex> {
  return (await openConnection({ host: localhost, port: server.port })).toNode();
}

const echoServer = (): http.Server =>
  http.createServer((request, response) => {
    response.setHeader('remote', String(request.socket.remotePort));
    request.pipe(response);
  });

describe('node:http', () => {
  test('serves with keep-alive, pipelined, and to a client that half-closes', async () => {
    await using server = await serveHttp(echoServer());
    await using client = await openConnection({ host: localhost, port: server.port });
    const { port } = client.localAddress;
    const post = (body: string): string =>
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    await client.write(post('one'));
    expect(String(await client.readUntil('one\r\n'))).toContain('200 OK');
    expect(String(await client.readUntil('0\r\n\r\n'))).toBe('0\r\n\r\n');
    await client.write(post('two') + post('three'));
    await client.writeEof();
    const rest = String(await client.readAll());
    expect(rest.match(/200 OK/g)).toHaveLength(2);
    expect(rest.indexOf('two')).toBeLessThan(rest.indexOf('three'));
    expect(rest).toContain(`remote: ${port}`);
  });

  test('a request that is none is answered with 400', async () => {
    await using server = await serveHttp(echoServer());
    await using client = await openConnection({ host: localhost, port: server.port });
    await client.write('what?\r\n\r\n');
    expect(String(await client.readAll())).toContain('400 Bad Request');
  });

  test('an idle keep-alive connection is ended by its timeout', async () => {
    const nodeServer = echoServer();
    nodeServer.keepAliveTimeout = 20;
    await using server = await serveHttp(nodeServer);
    await using client = await openConnection({ host: localhost, port: server.port });
    await client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String(await client.readAll())).toContain('keep-alive');
  });

  test('requests over createConnection, with a large body both ways', async () => {
    await using server = await serveHttp(echoServer());
    const data = pattern(2 * mebibyte);
    const socket = await connect(server);
    const request = http.request({ method: 'POST', createConnection: () => socket });
    request.end(data);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    socket.destroy();
  });

  test('an upgrade gives the socket away', async () => {
    const nodeServer = http.createServer();
    nodeServer.on('upgrade', (_request, socket: Duplex, head: Buffer) => {
      socket.write(`HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n${head}`);
      socket.pipe(socket);
    });
    await using server = await serveHttp(nodeServer);
    const socket = await connect(server);
    const headers = { upgrade: 'x', connection: 'upgrade' };
    const request = http.request({ headers, createConnection: () => socket });
    request.end();
    const [, upgraded] = (await once(request, 'upgrade')) as [unknown, Duplex];
    upgraded.end('hello');
    expect(await text(upgraded)).toBe('hello');
  });
});

test('ws: server and client', async () => {
  const nodeServer = http.createServer();
  const sockets = new WebSocketServer({ server: nodeServer });
  sockets.on('connection', (socket) => {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  });
  await using server = await serveHttp(nodeServer);
  const stream = await connect(server);
  const client = new WebSocket('ws://localhost', { createConnection: (() => stream) as never });
  await once(client, 'open');
  for (const message of ['text', pattern(mebibyte)]) {
    const answer = once(client, 'message');
    client.send(message);
    expect(Buffer.from(message as string).equals((await answer)[0] as Buffer)).toBe(true);
  }
  client.close(1000, 'done');
  expect((await once(client, 'close'))[0]).toBe(1000);
});

/** As much of a Redis server as the test asks for. */
async function serveRedis(connection: Connection): Promise<void> {
  const values = new Map<string, Buffer>();
  for (let line = await connection.readLine(); line !== null; line = await connection.readLine()) {
    const parts: Buffer[] = [];
    for (let left = Number(line.slice(1)); left > 0; left--) {
      const length = Number((await connection.readLine())?.slice(1));
      parts.push((await connection.readExactly(length + 2)).subarray(0, length));
    }
    const [name, key = '', value] = parts.map(String);
    if (name?.toLowerCase() === 'set') {
      values.set(key, parts[2] as Buffer);
      void connection.write('+OK\r\n');
    } else if (name?.toLowerCase() === 'get') {
      const found = values.get(key) ?? Buffer.alloc(0);
      void connection.writeLines([`$${found.length}\r\n`, found, '\r\n']);
    } else if (name?.toLowerCase() === 'info') {
      void connection.write('$9\r\nloading:0\r\n');
    } else {
      void connection.write(`+OK${value === undefined ? '' : ' '}\r\n`);
    }
  }
}

test('ioredis: over a connector, and connects again when the connection is lost', async () => {
  await using server = await startServer(serveRedis, { host: localhost });
  class Connector extends AbstractConnector {
    constructor() {
      super(1_000);
    }
    override async connect(): Promise<never> {
      this.connecting = true;
      const stream = await connect(server);
      this.stream = stream as never;
      return stream as never;
    }
  }
  const redis = new Redis({ Connector: Connector as never, retryStrategy: () => 1 });
  const data = pattern(200_000);
  await redis.set('key', data);
  expect((await redis.getBuffer('key'))?.equals(data)).toBe(true);
  server.abortClients();
  await once(redis, 'ready');
  expect(await redis.set('key', 'again')).toBe('OK');
  expect(await redis.get('key')).toBe('again');
  const ended = once(redis, 'end');
  redis.disconnect();
  await ended;
});

/** To the server of this run, over its UNIX socket. */
async function postgresStream({ socketDir, port }: PostgresServer): Promise<Duplex> {
  return (await openUnixConnection(join(socketDir, `.s.PGSQL.${port}`))).toNode();
}

describe.skipIf(missingPostgres() !== null)('pg', () => {
  test('queries, parameters, errors and large rows', async () => {
    const server = await sharedPostgres();
    const stream = await postgresStream(server);
    const { user, database } = server;
    const client = new pg.Client({ user, database, stream: () => stream });
    await client.connect();
    const ask = (text: string, values?: unknown[]): Promise<pg.QueryResult> =>
      client.query(text, values);
    expect((await ask('SELECT $1::int + 1 AS sum', [41])).rows).toEqual([{ sum: 42 }]);
    await expect(ask('SELECT 1 / 0')).rejects.toMatchObject({ code: '22012' });
    const { rows } = await ask("SELECT repeat('x', 1000) AS text FROM generate_series(1, 2000)");
    expect(rows.length * rows[0].text.length).toBe(2_000_000);
    await client.end();
    expect(stream.destroyed).toBe(true);
  });

  test('a lost connection ends the query that waits, and tells the client', async () => {
    const server = await sharedPostgres();
    const { user, database } = server;
    const connection = await openUnixConnection(join(server.socketDir, `.s.PGSQL.${server.port}`));
    const client = new pg.Client({ user, database, stream: () => connection.toNode() });
    await client.connect();
    // pg tells of it twice: of the error, and of the close that came unasked.
    const told: string[] = [];
    client.on('error', (error) => told.push(error.message));
    const query = client.query('SELECT pg_sleep(60)');
    connection.abort(new Error('cut'));
    await expect(query).rejects.toThrow();
    await client.end();
    expect(told[0]).toBe('cut');
  });
});

test('undici: over a custom connect, several requests on one connection', async () => {
  await using server = await serveHttp(echoServer());
  let connects = 0;
  const client = new Client('http://localhost', {
    connect: (_options, done) => {
      connects++;
      connect(server).then(
        (socket) => done(null, socket as never),
        (error: Error) => done(error, null),
      );
    },
  });
  const data = pattern(mebibyte);
  for (let i = 0; i < 2; i++) {
    const { body } = await client.request({ path: '/', method: 'POST', body: data });
    expect(Buffer.from(await body.arrayBuffer()).equals(data)).toBe(true);
  }
  expect(connects).toBe(1);
  await client.close();
});

test("a TLSSocket of Node's, on both sides", async () => {
  const { key, cert } = identity('server');
  const secureContext = tls.createSecureContext({ key, cert });
  await using server = await startServer(
    (connection) => {
      const socket = new tls.TLSSocket(connection.toNode() as never, {
        isServer: true,
        secureContext,
      });
      socket.pipe(socket);
    },
    { host: localhost },
  );
  const options = { socket: await connect(server), ca, servername: 'localhost' };
  const client = tls.connect(options);
  await once(client, 'secureConnect');
  expect(client.authorized).toBe(true);
  const data = pattern(mebibyte);
  client.write(data);
  const chunks: Buffer[] = [];
  for await (const chunk of client) {
    chunks.push(chunk as Buffer);
    if (Buffer.concat(chunks).length >= data.length) break;
  }
  expect(Buffer.concat(chunks).equals(data)).toBe(true);
});
