/** TLS between uvio and Python, OpenSSL, curl and Node. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import {
  connect,
  createSecureContext,
  createServer as createTlsServer,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { describe, expect, test } from 'vitest';
import { BrokenResourceError } from '../../lib/base/errors.ts';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection, Server } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { foreignEnv } from '../support/foreign.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { inRun } from '../task/support.ts';
import { errorOf, localhost, pattern, until } from './support.ts';
import { ca, clientTls, pemPath, serverTls } from './tls-support.ts';

checkLeaks();

function has(program: string): boolean {
  try {
    const words = program === 'openssl' ? ['version'] : ['--version'];
    execFileSync(program, words, { stdio: 'ignore', env: foreignEnv() });
    return true;
  } catch {
    return false;
  }
}

const programs = { python3: has('python3'), openssl: has('openssl'), curl: has('curl') };

/** Skipped, by its name, where the program is missing; a simulation has no processes. */
function interopTest(program: keyof typeof programs | 'node', title: string, main: () => unknown) {
  const absent = program !== 'node' && !programs[program];
  test.skipIf(inMemory || absent)(title, () => inRun(main) as Promise<void>);
}

const size = 300_000;

/** Echoes until the peer ends, then ends, too. */
async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
  await connection.close();
}

function echoServer(): Promise<Server> {
  return startServer(echo, { host: localhost, tls: serverTls });
}

interface Program {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
  line(): Promise<string>;
}

function run(command: string, args: readonly string[], input?: string): Program {
  const child = spawn(command, args, { stdio: 'pipe', env: foreignEnv() });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  let problems = '';
  child.stderr.on('data', (chunk) => {
    problems += chunk;
  });
  if (input !== undefined) child.stdin.write(input);
  const ended = once(child, 'close').then(([code]) => {
    if (code !== 0 && code !== null) console.error(problems);
    return code as number | null;
  });
  return {
    child,
    ended,
    output: () => output,
    async line() {
      while (!output.includes('\n')) await once(child.stdout, 'data');
      return output.slice(0, output.indexOf('\n'));
    },
  };
}

async function talk(client: Connection): Promise<void> {
  const data = pattern(size);
  const writing = client.write(data);
  expect((await client.readExactly(size)).equals(data)).toBe(true);
  await writing;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, localhost);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const pythonServer = `
import asyncio, ssl, sys
async def handler(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = await asyncio.start_server(handler, '127.0.0.1', 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()
asyncio.run(main())
`;

const pythonClient = `
import asyncio, ssl, sys
async def main():
    context = ssl.create_default_context(cafile=sys.argv[1])
    reader, writer = await asyncio.open_connection(
        '127.0.0.1', int(sys.argv[2]), ssl=context, server_hostname='server.test')
    data = bytes(i % 251 for i in range(300000))
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    writer.close()
    await writer.wait_closed()
    print('good')
asyncio.run(main())
`;

/** ssl on a blocking socket, which insists on close_notify. */
const pythonBlocking = `
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as plain:
    with context.wrap_socket(plain, server_hostname='server.test', suppress_ragged_eofs=False) as s:
        s.sendall(b'hello')
        assert s.recv(5) == b'hello'
        s.unwrap()
        print('good')
`;

// covers: asyncio/tls
describe('Python', () => {
  interopTest('python3', 'a client of uvio and an asyncio server', async () => {
    const args = ['-c', pythonServer, pemPath('server.pem'), pemPath('server-key.pem')];
    const server = run('python3', args);
    const port = Number(await server.line());
    await using client = await openConnection({ host: localhost, port, tls: clientTls });
    await talk(client);
    await client.close();
    server.child.kill();
    await server.ended;
  });

  interopTest('python3', 'an asyncio client and a server of uvio', async () => {
    await using server = await echoServer();
    const client = run('python3', ['-c', pythonClient, pemPath('ca.pem'), `${server.port}`]);
    expect(await client.ended).toBe(0);
    expect(client.output()).toBe('good\n');
  });

  interopTest('python3', 'a blocking client that insists on close_notify', async () => {
    await using server = await echoServer();
    const client = run('python3', ['-c', pythonBlocking, pemPath('ca.pem'), `${server.port}`]);
    expect(await client.ended).toBe(0);
    expect(client.output()).toBe('good\n');
  });
});

// covers: asyncio/tls
describe('OpenSSL', () => {
  for (const version of ['-tls1_2', '-tls1_3']) {
    interopTest('openssl', `s_client and a server of uvio (${version})`, async () => {
      const seen: string[] = [];
      await using server = await startServer(
        async (connection) => {
          seen.push((await connection.readLine()) as string);
          await connection.write('answer\n');
          await connection.close();
        },
        { host: localhost, tls: serverTls },
      );
      const args = ['s_client', '-connect', `127.0.0.1:${server.port}`, '-CAfile'];
      const options = [pemPath('ca.pem'), '-verify_return_error', '-quiet', version];
      const client = run('openssl', [...args, ...options], 'question\n');
      await client.ended;
      expect(seen).toEqual(['question']);
      expect(client.output()).toBe('answer\n');
    });
  }

  interopTest('openssl', 'a client of uvio and s_server', async () => {
    const port = await freePort();
    const files = ['-cert', pemPath('server.pem'), '-key', pemPath('server-key.pem')];
    const server = run('openssl', ['s_server', '-accept', `${port}`, '-rev', ...files]);
    await server.line();
    while (!server.output().includes('ACCEPT')) await once(server.child.stdout as never, 'data');
    await using client = await openConnection({ host: localhost, port, tls: clientTls });
    await client.write('abc\n');
    expect(await client.readLine()).toBe('cba');
    client.abort();
    server.child.kill();
    await server.ended;
  });
});

describe('nobody renegotiates TLS 1.2:', () => {
  const renegotiate = (socket: TLSSocket): Promise<Error> =>
    new Promise((resolve) => {
      socket.on('error', resolve);
      socket.on('close', () => resolve(new Error('it was closed')));
      socket.renegotiate({}, (error) => resolve(error ?? new Error('it did')));
    });

  for (const given of [false, true]) {
    interopTest('node', `not a client${given ? ', on a context that was given' : ''}`, async () => {
      const tls = given ? { secureContext: createSecureContext(serverTls) } : serverTls;
      let error: unknown;
      await using server = await startServer(
        async (connection) => {
          error = await errorOf(connection.readAll());
        },
        { host: localhost, tls },
      );
      const names = { host: localhost, ca, servername: 'server.test' };
      const socket = connect({ ...names, port: server.port, maxVersion: 'TLSv1.2' });
      await once(socket, 'secureConnect');
      expect((await renegotiate(socket)).message).not.toBe('it did');
      socket.destroy();
      await until(() => error !== undefined);
      expect(error).toBeInstanceOf(BrokenResourceError);
    });
  }

  interopTest('node', 'not a server', async () => {
    const options: TlsOptions = { ...serverTls, maxVersion: 'TLSv1.2' };
    let told: Promise<Error> | undefined;
    const server = createTlsServer(options, (socket) => {
      told = renegotiate(socket);
    }).listen(0, localhost);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    await using client = await openConnection({ host: localhost, port, tls: clientTls });
    await errorOf(client.readExactly(1));
    expect((await told)?.message).not.toBe('it did');
    server.close();
    await once(server, 'close');
  });
});

// covers: asyncio/tls
describe('others', () => {
  interopTest('curl', 'curl and a server of uvio', async () => {
    await using server = await startServer(
      async (connection) => {
        await connection.readUntil('\r\n\r\n');
        await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
        await connection.readAll();
      },
      { host: localhost, tls: serverTls },
    );
    const url = `https://localhost:${server.port}/`;
    const resolve = ['--resolve', `localhost:${server.port}:127.0.0.1`, '--noproxy', '*'];
    const curl = run('curl', ['-sS', '--cacert', pemPath('ca.pem'), ...resolve, url]);
    expect(await curl.ended).toBe(0);
    expect(curl.output()).toBe('hello');
  });

  interopTest('node', 'a client of node:tls and a server of uvio', async () => {
    await using server = await echoServer();
    const socket = connect({ port: server.port, host: localhost, ca, servername: 'server.test' });
    const data = pattern(size);
    socket.end(data);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
  });

  interopTest('node', 'a client of uvio and a server of node:tls', async () => {
    const sockets: TLSSocket[] = [];
    const server = createTlsServer({ ...serverTls }, (socket) => {
      sockets.push(socket);
      socket.pipe(socket);
    }).listen(0, localhost);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    await using client = await openConnection({ host: localhost, port, tls: clientTls });
    await talk(client);
    await client.writeEof();
    expect(await client.read()).toBe(null);
    await client.close();
    server.close();
    await once(server, 'close');
  });
});
