/** The TLS engine of the addon by itself, and that it is the one at work. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { createSecureContext, TLSSocket, connect as tlsConnect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { NativeBackend } from '../../lib/loop/native/backend.ts';
import { createTlsEngine } from '../../lib/loop/native/tls.ts';
import { loadTlsBinding, tlsAddonPath } from '../../lib/loop/native/tls-binding.ts';
import type { TlsEngine, TlsSink, TlsStart } from '../../lib/loop/tls.ts';
import { ca, identity, tlsPair } from '../io/tls-support.ts';
import { policyName } from '../support/policy.ts';
import { runTest } from '../task/support.ts';

const serverContext = createSecureContext(identity('server'));
const clientContext = createSecureContext({ ca });

function start(options: Partial<TlsStart>): TlsStart {
  const isServer = options.isServer ?? false;
  return {
    isServer,
    secureContext: isServer ? serverContext : clientContext,
    alpnProtocols: undefined,
    servername: undefined,
    session: undefined,
    requestCert: false,
    rejectUnauthorized: false,
    rare: undefined,
    ...options,
  };
}

/** An engine with a sink that keeps all it hears. */
class Side implements TlsSink {
  readonly engine: TlsEngine;
  readonly events: string[] = [];
  readonly sessions: Buffer[] = [];
  sent: Buffer[] = [];
  plain: Buffer[] = [];
  error: (Error & { code?: string; library?: string; reason?: string }) | undefined;
  whenSecure: (() => void) | undefined;

  constructor(options: Partial<TlsStart>) {
    const engine = createTlsEngine(start(options), this);
    if (engine === null) throw new Error(`no engine: ${loadTlsBinding().reason}`);
    this.engine = engine;
  }
  onCiphertext(bytes: Uint8Array): void {
    this.sent.push(Buffer.from(bytes));
  }
  onSecure(): void {
    this.events.push('secure');
    this.whenSecure?.();
  }
  onPlaintext(chunk: Buffer): void {
    this.plain.push(chunk);
  }
  onEnd(clean: boolean): void {
    this.events.push(clean ? 'end' : 'truncated');
  }
  onFinished(): void {
    this.events.push('finished');
  }
  onProgress(): void {}
  onSession(session: Buffer): void {
    this.sessions.push(session);
  }
  onTlsError(error: Error): void {
    this.events.push('error');
    this.error = error;
  }
  get text(): string {
    return Buffer.concat(this.plain).toString('latin1');
  }
  take(): Buffer {
    const all = Buffer.concat(this.sent);
    this.sent = [];
    return all;
  }
  /** Each part in memory of its own: it becomes the engine's. */
  feed(bytes: Buffer, cutBytes = 1 << 20): void {
    for (let at = 0; at < bytes.length; at += cutBytes) {
      this.engine.feed(Uint8Array.from(bytes.subarray(at, at + cutBytes)));
    }
  }
}

function pump(a: Side, b: Side, cutBytes?: number): void {
  while (a.sent.length + b.sent.length > 0) {
    b.feed(a.take(), cutBytes);
    a.feed(b.take(), cutBytes);
  }
}

function securePair(
  client: Partial<TlsStart> = {},
  server: Partial<TlsStart> = {},
): { client: Side; server: Side } {
  const pair = { client: new Side(client), server: new Side({ isServer: true, ...server }) };
  pair.client.engine.start();
  pair.server.engine.start();
  pump(pair.client, pair.server);
  return pair;
}

function destroy(...sides: Side[]): void {
  for (const side of sides) side.engine.destroy();
}

describe.runIf(policyName === 'native')('the engine', () => {
  const long = Buffer.from(Array.from({ length: 150_000 }, (_, i) => i * 31)).toString('latin1');

  test.each([1, 2, 5, 7, 100, 4096, 70_000])('in chunks of %i bytes', (cutBytes) => {
    const client = new Side({});
    const server = new Side({ isServer: true });
    client.engine.start();
    pump(client, server, cutBytes);
    expect(client.events).toEqual(['secure']);
    client.engine.write(Buffer.from(long, 'latin1'));
    server.engine.write('grüße');
    server.engine.write('x'.repeat(20_000));
    pump(client, server, cutBytes);
    expect(server.text === long).toBe(true);
    expect(Buffer.concat(client.plain).toString()).toBe(`grüße${'x'.repeat(20_000)}`);
    client.engine.shutdown();
    pump(client, server, cutBytes);
    expect(server.events).toEqual(['secure', 'end']);
    server.engine.feedEnd();
    client.engine.feedEnd();
    expect(client.events).toEqual(['secure', 'finished', 'truncated']);
    expect(server.events).toEqual(['secure', 'end']);
    destroy(client, server);
  });

  test('plaintext stays what it was, whatever comes later', () => {
    const { client, server } = securePair();
    for (let i = 0; i < 300; i++) {
      client.engine.write(`${i},`.repeat(100));
      const bytes = client.take();
      server.feed(bytes.subarray(0, i % 40));
      server.feed(bytes.subarray(i % 40));
    }
    const expected = Array.from({ length: 300 }, (_, i) => `${i},`.repeat(100)).join('');
    expect(server.text === expected).toBe(true);
    destroy(client, server);
  });

  test('plaintext behind the end of the handshake is told after onSecure returned', () => {
    const client = new Side({});
    const server = new Side({ isServer: true });
    client.engine.start();
    server.feed(client.take());
    client.whenSecure = () => client.engine.write('early');
    client.feed(server.take());
    server.whenSecure = () => expect(server.plain).toEqual([]);
    server.feed(client.take());
    expect(server.text).toBe('early');
    destroy(client, server);
  });

  test('what is fed inside a callback comes after the rest of the chunk', () => {
    const { client, server } = securePair();
    const flights = ['1', '2', '3'].map((text) => {
      client.engine.write(text);
      return client.take();
    });
    const told: string[] = [];
    server.onPlaintext = (chunk) => {
      told.push(chunk.toString());
      if (told.length === 1) server.feed(flights[2] as Buffer);
    };
    server.feed(Buffer.concat(flights.slice(0, 2)));
    // Records of one chunk are one piece of plaintext.
    expect(told).toEqual(['12', '3']);
    destroy(client, server);
  });

  test('destroyed inside a callback, it tells no more', () => {
    const { client, server } = securePair();
    client.engine.write('1');
    server.onPlaintext = (chunk) => {
      server.plain.push(chunk);
      server.engine.destroy();
    };
    client.engine.shutdown();
    server.feed(client.take());
    expect(server.events).toEqual(['secure']);
    expect(server.text).toBe('1');
    server.engine.write('no');
    server.engine.shutdown();
    server.engine.feedEnd();
    expect(server.sent).toEqual([]);
    expect(() => server.engine.state()).toThrow('destroyed');
    destroy(client);
  });

  test('TLS inside TLS, each written from inside the other', () => {
    const outer = securePair();
    const inner = { client: new Side({}), server: new Side({ isServer: true }) };
    const carry = (from: Side, by: Side): void => {
      from.onCiphertext = (bytes) => by.engine.write(bytes);
    };
    carry(inner.client, outer.client);
    carry(inner.server, outer.server);
    outer.client.onPlaintext = (chunk) => inner.client.engine.feed(chunk);
    outer.server.onPlaintext = (chunk) => inner.server.engine.feed(chunk);
    inner.client.engine.start();
    pump(outer.client, outer.server);
    inner.client.engine.write(long);
    inner.server.engine.write(long);
    pump(outer.client, outer.server);
    expect(Buffer.concat(inner.server.plain).toString() === long).toBe(true);
    expect(Buffer.concat(inner.client.plain).toString() === long).toBe(true);
    destroy(outer.client, outer.server, inner.client, inner.server);
  });

  test('garbage is an error of the shape that node:tls gives it, after the alert', () => {
    const server = new Side({ isServer: true });
    server.feed(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    expect(server.events).toEqual(['error']);
    expect(server.error).toMatchObject({ code: 'ERR_SSL_HTTP_REQUEST', reason: 'http request' });
    expect(server.error?.library).toBe('SSL routines');
    server.feed(Buffer.alloc(100));
    expect(server.events).toEqual(['error']);
    destroy(server);
  });

  test('state, certificates, the verdict and keying material', () => {
    const alpn = Buffer.from('\x08http/1.1', 'latin1');
    const { client, server } = securePair(
      { servername: 'server.test', alpnProtocols: alpn },
      { alpnProtocols: Buffer.from('\x02h2\x08http/1.1', 'latin1') },
    );
    const state = { protocol: 'TLSv1.3', alpn: 'http/1.1', servername: 'server.test' };
    expect(client.engine.state()).toMatchObject(state);
    expect(server.engine.state()).toMatchObject({ ...state, sessionReused: false });
    expect(client.engine.state().cipher).toMatch(/^TLS_/);
    expect(client.engine.verifyError()).toBe(null);
    expect(server.engine.peerCertificate(false)).toBe(null);
    expect(client.engine.peerCertificate(false)).not.toHaveProperty('issuerCertificate');
    const detailed = client.engine.peerCertificate(true) as { issuerCertificate?: unknown };
    const issuer = detailed.issuerCertificate as { issuerCertificate?: unknown };
    expect(issuer.issuerCertificate).toBe(issuer);
    const key = client.engine.exportKeyingMaterial(32, 'label', Buffer.from('context'));
    expect(server.engine.exportKeyingMaterial(32, 'label', Buffer.from('context'))).toEqual(key);
    expect(server.engine.exportKeyingMaterial(32, 'label', undefined)).not.toEqual(key);
    const resumed = securePair({ session: client.sessions.at(-1) });
    expect(resumed.client.engine.state().sessionReused).toBe(true);
    expect(resumed.client.engine.verifyError()).toBe(null);
    const stranger = securePair({ secureContext: createSecureContext() });
    expect(stranger.client.engine.verifyError()).toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    });
    for (const pair of [{ client, server }, resumed, stranger]) destroy(pair.client, pair.server);
  });

  test('is not made for what it cannot do', () => {
    const sink = {} as TlsSink;
    expect(createTlsEngine(start({ rare: { requestOCSP: true } }), sink)).toBe(null);
    const strange = { context: { _external: {} } } as unknown as TlsStart['secureContext'];
    expect(createTlsEngine(start({ secureContext: strange }), sink)).toBe(null);
    const none = {} as unknown as TlsStart['secureContext'];
    expect(createTlsEngine(start({ secureContext: none }), sink)).toBe(null);
  });

  test('leaves a context to node:tls that a TLSSocket has, too', async () => {
    const secureContext = createSecureContext(identity('server'));
    const before = new Side({ isServer: true, secureContext });
    const listener = createServer((raw) => {
      const socket = new TLSSocket(raw, { isServer: true, secureContext });
      socket.on('error', () => {});
      socket.end('by node');
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    const socket = tlsConnect({ socket: connect(port, '127.0.0.1'), rejectUnauthorized: false });
    const [data] = (await once(socket, 'data')) as [Buffer];
    expect(data.toString()).toBe('by node');
    expect(createTlsEngine(start({ isServer: true, secureContext }), before)).toBe(null);
    // Begun before: it must not run into callbacks that expect a TLSSocket.
    const client = new Side({});
    client.engine.start();
    pump(client, before);
    expect(before.events).toEqual(['error']);
    destroy(client, before);
    socket.destroy();
    listener.close();
    await once(listener, 'close');
  });
});

describe.runIf(policyName === 'native')('which engine is at work', () => {
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    vi.resetModules();
  });

  runTest('both ends of a connection are on the engine of the addon', async () => {
    const made = vi.spyOn(NativeBackend.prototype, 'tlsEngine');
    await using pair = await tlsPair();
    await pair.client.write('hello');
    expect((await pair.served.readExactly(5)).toString()).toBe('hello');
    expect(made.mock.results.map(({ value }) => value !== null)).toEqual([true, true]);
  });

  runTest('without it node:tls does the same', async () => {
    vi.spyOn(NativeBackend.prototype, 'tlsEngine').mockReturnValue(null);
    await using pair = await tlsPair();
    await pair.client.write('hello');
    expect((await pair.served.readExactly(5)).toString()).toBe('hello');
  });

  test('an addon that does not load gives no engine, and says why', async () => {
    vi.stubEnv('UVIO_TLS_PATH', fileURLToPath(import.meta.url));
    vi.resetModules();
    const binding = await import('../../lib/loop/native/tls-binding.ts');
    const fresh = await import('../../lib/loop/native/tls.ts');
    expect(fresh.createTlsEngine(start({}), {} as TlsSink)).toBe(null);
    expect(binding.loadTlsBinding().reason).toContain('could not be loaded');
  });

  test('its file lies beside the first one, where node-gyp-build cannot take it for that', () => {
    expect(tlsAddonPath('/p/build/Release/uvio_native.node')).toBe(
      '/p/build/Release/uvio_tls.node',
    );
    expect(tlsAddonPath('/p/prebuilds/linux-x64/native.glibc.node')).toBe(
      '/p/prebuilds/linux-x64/tls/native.glibc.node',
    );
    expect(loadTlsBinding().openssl).toBe(process.versions.openssl);
  });

  test.each(['terminate', 'exit'])(
    '8 workers end with TLS under way: %s',
    async (how) => {
      const file = fileURLToPath(new URL('programs/workers.mjs', import.meta.url));
      const args = [file, policyName, '8', how, 'tls-worker.mjs'];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      child.stdout.on('data', (chunk) => (output += chunk));
      child.stderr.on('data', (chunk) => (output += chunk));
      const [code] = await once(child, 'close');
      expect({ code, output }).toEqual({ code: 0, output: 'ended 8\n' });
    },
    60_000,
  );
});
