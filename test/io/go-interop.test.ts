/** TCP, TLS, UNIX sockets and datagrams between uvio and Go's net and crypto/tls. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, test } from 'vitest';
import { openConnection } from '../../lib/io/connect.ts';
import type { Connection, TlsClientOptions, TlsServerOptions } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';
import { openUdpSocket } from '../../lib/io/udp-socket.ts';
import { foreignEnv } from '../support/foreign.ts';
import { goProgram, goVersion } from '../support/go.ts';
import { checkLeaks } from '../support/leaks.ts';
import { inMemory } from '../support/policy.ts';
import { inRun } from '../task/support.ts';
import { deferred, errorOf, localhost } from './support.ts';
import { clientTls, identity, pemPath, serverTls } from './tls-support.ts';

checkLeaks();

const version = inMemory ? null : goVersion();
let program = '';
beforeAll(() => {
  if (version !== null) program = goProgram('test/io/programs/peer.go', version);
}, 120_000);

/** Skipped without Go, which their names say that they need. */
function goTest(title: string, main: () => unknown): void {
  test.skipIf(version === null)(title, () => inRun(main) as Promise<void>);
}

const size = 300_000;

/** As the peer makes it. */
const data = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));

const withCa = `ca=${pemPath('ca.pem')}`;
const withCert = [`cert=${pemPath('server.pem')}`, `key=${pemPath('server-key.pem')}`];

class GoPeer {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(args: readonly string[]) {
    const stdio = ['ignore', 'pipe', 'inherit'] as const;
    this.#child = spawn(program, args, { stdio: [...stdio], env: foreignEnv() });
    const input = this.#child.stdout as NonNullable<ChildProcess['stdout']>;
    this.#lines = createInterface({ input })[Symbol.asyncIterator]();
  }

  /** The next line; null at the end. */
  async line(): Promise<string | null> {
    const { value, done } = await this.#lines.next();
    return done ? null : value;
  }

  /** All to the end of the script. */
  async rest(): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.line();
      if (line === null || line === 'over') return lines;
      lines.push(line);
    }
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill();
    await ended;
  }
}

/** Go listens and follows the script; what it says of its one connection. */
async function withGoServer(
  script: string,
  flags: readonly string[],
  tls: TlsClientOptions | undefined,
  main: (connection: Connection) => Promise<unknown>,
): Promise<string[]> {
  const go = new GoPeer(['listen', 'tcp', `${localhost}:0`, script, ...flags]);
  try {
    const port = Number(await go.line());
    const secure = tls === undefined ? {} : { tls };
    await using connection = await openConnection({ host: localhost, port, ...secure });
    await main(connection);
    return await go.rest();
  } finally {
    await go.end();
  }
}

/** Go dials and follows the script; what it says. */
async function withGoClient(
  script: string,
  flags: readonly string[],
  tls: TlsServerOptions | undefined,
  main: (connection: Connection) => Promise<unknown>,
): Promise<string[]> {
  const failed = deferred<never>();
  const options = { host: localhost, ...(tls === undefined ? {} : { tls }) };
  const handler = (connection: Connection): Promise<unknown> =>
    main(connection).catch((error) => failed.reject(error));
  await using server = await startServer(async (one) => void (await handler(one)), options);
  const go = new GoPeer(['dial', 'tcp', `${localhost}:${server.port}`, script, ...flags]);
  try {
    return await Promise.race([go.rest(), failed.promise]);
  } finally {
    await go.end();
  }
}

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
  await connection.close();
}

interface Layer {
  readonly name: string;
  readonly serve: readonly string[];
  readonly dial: readonly string[];
  readonly client?: TlsClientOptions;
  readonly server?: TlsServerOptions;
}

const secure = { client: clientTls, server: serverTls };
const layers: readonly Layer[] = [
  { name: 'TCP', serve: [], dial: [] },
  { name: 'TLS 1.3', serve: withCert, dial: [withCa], ...secure },
  { name: 'TLS 1.2', serve: [...withCert, 'tls=1.2'], dial: [withCa, 'tls=1.2'], ...secure },
];

// covers: asyncio/tls, asyncio/open-connection
describe.each(layers)('Go over $name', ({ serve, dial, client, server }) => {
  goTest('is an echo server, and hears of the end', async () => {
    const said = await withGoServer('echo', serve, client, async (connection) => {
      const writing = connection.write(data);
      expect((await connection.readExactly(size)).equals(data)).toBe(true);
      await writing;
      await connection.writeEof();
      expect(await connection.read()).toBe(null);
    });
    expect(said).toEqual([`echoed ${size}`]);
  });

  goTest('is a client of an echo server, and hears of the end', async () => {
    const script = `send:${size} recv:${size} shut all`;
    const said = await withGoClient(script, dial, server, echo);
    expect(said).toEqual([`sent ${size}`, `received ${size} good`, 'shut', 'all 0 good']);
  });

  goTest('ends its half first as a server, and gets what comes after that', async () => {
    const said = await withGoServer('send:5 shut all', serve, client, async (connection) => {
      expect(await connection.readAll()).toEqual(data.subarray(0, 5));
      await connection.write(data);
      await connection.writeEof();
    });
    expect(said).toEqual(['sent 5', 'shut', `all ${size} good`]);
  });

  goTest('ends its half first as a client, and gets what comes after that', async () => {
    const said = await withGoClient('send:5 shut all', dial, server, async (connection) => {
      expect(await connection.readAll()).toEqual(data.subarray(0, 5));
      await connection.write(data);
      await connection.close();
    });
    expect(said).toEqual(['sent 5', 'shut', `all ${size} good`]);
  });

  goTest('goes on as a server when the other half has ended', async () => {
    const script = `all send:${size}`;
    const said = await withGoServer(script, serve, client, async (connection) => {
      await connection.write(data);
      await connection.writeEof();
      expect((await connection.readAll()).equals(data)).toBe(true);
    });
    expect(said).toEqual([`all ${size} good`, `sent ${size}`]);
  });

  goTest('goes on as a client when the other half has ended', async () => {
    const said = await withGoClient(`all send:${size}`, dial, server, async (connection) => {
      await connection.write(data);
      await connection.writeEof();
      expect((await connection.readAll()).equals(data)).toBe(true);
    });
    expect(said).toEqual([`all ${size} good`, `sent ${size}`]);
  });

  goTest('resets as a server: ECONNRESET', async () => {
    await withGoServer('recv:5 reset', serve, client, async (connection) => {
      await connection.write(data.subarray(0, 5));
      const error = await errorOf(connection.readAll());
      expect((error.cause as { code?: string }).code).toBe('ECONNRESET');
    });
  });
});

// covers: asyncio/tls
describe('TLS with Go', () => {
  const both = { ALPNProtocols: ['h2', 'http/1.1'] };

  goTest('a server of Go chooses the protocol', async () => {
    const flags = [...withCert, 'alpn=http/1.1,h2'];
    const said = await withGoServer(
      'state',
      flags,
      { ...clientTls, ...both },
      async (connection) => {
        expect(connection.tls).toMatchObject({ alpn: 'http/1.1', protocol: 'TLSv1.3' });
        expect(await connection.read()).toBe(null);
      },
    );
    expect(said).toEqual(['tls 304 alpn=http/1.1 resumed=false certificates=0']);
  });

  goTest('a server of uvio chooses the protocol', async () => {
    const tls = { ...serverTls, ...both };
    const said = await withGoClient(
      'state',
      [withCa, 'alpn=http/1.1,h2'],
      tls,
      async (connection) => {
        expect(connection.tls?.alpn).toBe('h2');
        await connection.readAll().catch(() => null);
      },
    );
    expect(said).toEqual(['tls 304 alpn=h2 resumed=false certificates=1']);
  });

  goTest('no common protocol is an error on both sides', async () => {
    // Go lets clients of http/1.1 in where only h2 is spoken: these are names of neither.
    const go = new GoPeer(['listen', 'tcp', `${localhost}:0`, '', ...withCert, 'alpn=one']);
    const port = Number(await go.line());
    const tls = { ...clientTls, ALPNProtocols: ['two'] };
    const error = await errorOf(openConnection({ host: localhost, port, tls }));
    expect(String(error)).toMatch(/no application protocol/i);
    expect((await go.rest())[0]).toMatch(/unsupported application protocols/);
    await go.end();
    const server = { ...serverTls, ALPNProtocols: ['one'] };
    const said = await withGoClient('state', [withCa, 'alpn=two'], server, echo);
    expect(said.join()).toMatch(/no application protocol/);
  });

  goTest('a connection cut below TLS is no end', async () => {
    await withGoServer('send:5 cut', withCert, clientTls, async (connection) => {
      const error = await errorOf(connection.readAll());
      expect((error.cause as { code?: string }).code).toBe('ERR_UVIO_TLS_TRUNCATED');
    });
  });

  goTest('certificates of clients are asked for and shown, both ways', async () => {
    const flags = [...withCert, withCa, 'verify=1'];
    const mine = { ...clientTls, ...identity('client') };
    const said = await withGoServer('state', flags, mine, (connection) => connection.readAll());
    // Node sends what it knows of the chain, too.
    expect(said.join()).toMatch(/^tls 304 alpn= resumed=false certificates=[1-9]$/);

    const tls = { ...serverTls, ca: clientTls.ca, requestCert: true };
    const theirs = [`cert=${pemPath('client.pem')}`, `key=${pemPath('client-key.pem')}`];
    const seen: unknown[] = [];
    await withGoClient('send:1 shut all', [withCa, ...theirs], tls, async (connection) => {
      seen.push(connection.tls?.authorized, connection.tls?.peerCertificate?.subject.CN);
      await echo(connection);
    });
    expect(seen).toEqual([true, 'client']);
  });

  goTest('a client of Go resumes its session', async () => {
    const script = 'state send:5 shut all';
    const said = await withGoClient(script, [withCa, 'times=2'], serverTls, echo);
    expect(said.filter((line) => line.startsWith('tls'))).toEqual([
      'tls 304 alpn= resumed=false certificates=1',
      'tls 304 alpn= resumed=true certificates=1',
    ]);
  });

  goTest('a client that trusts nobody is turned away, and others are served', async () => {
    const untrusted = [`ca=${pemPath('other-ca.pem')}`];
    await using server = await startServer(echo, { host: localhost, tls: serverTls });
    const dial = async (flags: readonly string[]): Promise<string[]> => {
      const address = `${localhost}:${server.port}`;
      const go = new GoPeer(['dial', 'tcp', address, 'send:5 recv:5', ...flags]);
      const lines = await go.rest();
      await go.end();
      return lines;
    };
    expect((await dial(untrusted))[0]).toMatch(/error x509/);
    expect(await dial([withCa])).toEqual(['sent 5', 'received 5 good']);
  });
});

// covers: asyncio/create-datagram-endpoint, uvloop/udp
describe('datagrams with Go', () => {
  const lengths = [1, 64, 1472, 65_507];

  goTest('a server of Go answers', async () => {
    const go = new GoPeer(['listen', 'udp', `${localhost}:0`, '']);
    const remotePort = Number(await go.line());
    try {
      await using client = await openUdpSocket({ remoteHost: localhost, remotePort });
      for (const length of [0, ...lengths]) {
        const sent = data.subarray(0, length);
        await client.send(sent);
        const got = await client.receive();
        expect(got.data.equals(Buffer.from(sent).reverse())).toBe(true);
      }
    } finally {
      await go.end();
    }
  });

  goTest('a client of Go is answered', async () => {
    await using socket = await openUdpSocket({ localHost: localhost });
    const script = lengths.map((length) => `send:${length} recv:${length}`).join(' ');
    const address = `${localhost}:${socket.localAddress.port}`;
    const go = new GoPeer(['dial', 'udp', address, script]);
    for (const _ of lengths) {
      const { data: received, address: from } = await socket.receive();
      await socket.send(received, { host: from.address, port: from.port });
    }
    const expected = lengths.flatMap((length) => [`sent ${length}`, `received ${length} good`]);
    expect(await go.rest()).toEqual(expected);
    await go.end();
  });
});
