/** HTTP/2 for tests on any policy: Node's client over our streams, and frames by hand. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Application, Handler, HttpServer, ServeOptions } from '../../lib/http/index.ts';
import { type Connection, openConnection, sleep, timeout } from '../../lib/index.ts';
import { serverTls } from '../io/tls-support.ts';
import { tls } from './client-support.ts';
import { withHandler, withServer } from './support.ts';

const h2 = { ...tls, ALPNProtocols: ['h2'] };

/** A connection on which TLS agreed on HTTP/2. */
export async function openH2(port: number): Promise<Connection> {
  return await openConnection({ host: '127.0.0.1', port, tls: h2 });
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly code: number;
}

/** All of an answer; rejects when its stream breaks. */
export function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let headers: IncomingHttpHeaders = {};
    let body = '';
    stream.setEncoding('latin1');
    stream.on('response', (given) => {
      headers = given;
    });
    stream.on('data', (chunk: string) => {
      body += chunk;
    });
    stream.on('error', reject);
    stream.on('close', () => {
      const status = Number(headers[':status'] ?? 0);
      resolve({ status, headers, body, code: stream.rstCode });
    });
  });
}

export class Client implements AsyncDisposable {
  readonly session: ClientHttp2Session;
  readonly duplex: Duplex;

  constructor(session: ClientHttp2Session, duplex: Duplex) {
    this.session = session;
    this.duplex = duplex;
  }

  static async open(port: number, scheme: 'http' | 'https' = 'https'): Promise<Client> {
    const clear = { host: '127.0.0.1', port };
    const connection = scheme === 'http' ? await openConnection(clear) : await openH2(port);
    const duplex = connection.toNode();
    const session = connect(`${scheme}://server.test`, { createConnection: () => duplex as never });
    session.on('error', () => {});
    return new Client(session, duplex);
  }

  ask(headers: OutgoingHttpHeaders, body?: string | Buffer): Promise<Answer> {
    const stream = this.session.request(headers, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    return answerOf(stream);
  }

  get(path: string): Promise<Answer> {
    return this.ask({ ':path': path });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { duplex, session } = this;
    const closed = new Promise<void>((resolve) => {
      if (duplex.closed) resolve();
      else duplex.once('close', () => resolve());
    });
    session.destroy();
    await closed;
  }
}

const options: ServeOptions = { tls: serverTls, http2: true };

export function withH2(
  handler: Handler | Application,
  test: (client: Client, server: HttpServer) => unknown,
  more: ServeOptions = {},
): Promise<void> {
  const run = async (_url: string, server: HttpServer): Promise<void> => {
    await using client = await Client.open(server.port);
    await test(client, server);
  };
  if (typeof handler === 'function') return withHandler(handler, run, { ...options, ...more });
  return withServer(handler, run, { ...options, ...more });
}

/** Until it is so, with a limit. */
export async function settled(check: () => boolean): Promise<void> {
  await timeout(5_000, async () => {
    while (!check()) await sleep(1);
  });
}

// ---- frames by hand ----

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;

type FrameType = keyof typeof frameTypes;

export function frame(type: FrameType, flags: number, id: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = frameTypes[type];
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

/** A literal header without indexing. (RFC 7541 6.2.2) */
export function literal(name: string, value: string): Buffer {
  const part = (text: string): Buffer => {
    const bytes = Buffer.from(text, 'latin1');
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const length = [127];
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    return Buffer.concat([Buffer.from([...length, rest]), bytes]);
  };
  return Buffer.concat([Buffer.from([0]), part(name), part(value)]);
}

export function head(path = '/', more: readonly (readonly [string, string])[] = []): Buffer {
  const own: (readonly [string, string])[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', path],
    [':authority', 'server.test'],
  ];
  return Buffer.concat([...own, ...more].map(([name, value]) => literal(name, value)));
}

export const preface: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: FrameType;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

const names: Map<number, FrameType> = new Map(
  Object.entries(frameTypes).map(([name, type]) => [type, name as FrameType]),
);

/** Frames until the end of the connection, or until `last` says so. */
export async function readFrames(
  connection: Connection,
  last: (frame: Frame) => boolean = () => false,
): Promise<Frame[]> {
  const frames: Frame[] = [];
  for (;;) {
    let payload: Buffer;
    let start: Buffer;
    try {
      start = await connection.readExactly(9);
      payload = await connection.readExactly(start.readUIntBE(0, 3));
    } catch {
      return frames;
    }
    const type = names.get(start[3] as number) as FrameType;
    const one = { type, flags: start[4] as number, id: start.readUInt32BE(5), payload };
    frames.push(one);
    if (last(one)) return frames;
  }
}

/** The code of GOAWAY among them; null without one. */
export function goawayOf(frames: readonly Frame[]): number | null {
  const found = frames.find(({ type }) => type === 'goaway');
  return found === undefined ? null : found.payload.readUInt32BE(4);
}
