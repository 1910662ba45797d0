/** WebSocket peers for tests: ours, and one that writes any bytes. */

import { type OpenWebSocketOptions, openWebSocket } from '../../lib/http/client/open-socket.ts';
import {
  Application,
  type WebSocketConnection,
  type WebSocketOptions,
} from '../../lib/http/index.ts';
import { type Connection, openConnection } from '../../lib/index.ts';
import { withServer } from './support.ts';

export type SocketHandler = (socket: WebSocketConnection) => Promise<void>;

export async function echo(socket: WebSocketConnection): Promise<void> {
  for await (const message of socket) await socket.send(message);
}

/** A server of one handler at '/'. */
export function withSockets(
  handler: SocketHandler,
  test: (url: string, port: number) => unknown,
  options: WebSocketOptions = {},
): Promise<void> {
  const app = new Application().ws('/', handler, options);
  return withServer(app, (url, server) => test(url.replace('http', 'ws'), server.port));
}

/** Both ends in one test. */
export function withPair(
  test: (client: WebSocketConnection, server: WebSocketConnection) => Promise<unknown>,
  serverOptions: WebSocketOptions = {},
  clientOptions: OpenWebSocketOptions = {},
): Promise<void> {
  let give: (socket: WebSocketConnection) => void;
  const made = new Promise<WebSocketConnection>((resolve) => {
    give = resolve;
  });
  let end: () => void;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const serve = async (socket: WebSocketConnection): Promise<void> => {
    give(socket);
    await over;
  };
  return withSockets(
    serve,
    async (url) => {
      try {
        await using client = await openWebSocket(url, clientOptions);
        await test(client, await made);
        end();
      } finally {
        end();
      }
    },
    serverOptions,
  );
}

const key = 'dGhlIHNhbXBsZSBub25jZQ==';

export const handshake: Record<string, string> = {
  host: 'localhost',
  upgrade: 'websocket',
  connection: 'Upgrade',
  'sec-websocket-key': key,
  'sec-websocket-version': '13',
};

export function requestOf(
  headers: Record<string, string | null>,
  first = 'GET / HTTP/1.1',
): string {
  const lines = Object.entries({ ...handshake, ...headers }).filter(([, value]) => value !== null);
  return `${[first, ...lines.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`;
}

/** A client that has shaken hands and sends what the test likes. */
export async function rawClient(
  port: number,
  extensions: string | null = null,
): Promise<Connection> {
  const connection = await openConnection({ host: '127.0.0.1', port });
  await connection.write(requestOf({ 'sec-websocket-extensions': extensions }));
  await connection.readUntil('\r\n\r\n');
  return connection;
}

/** A masked frame, with any first byte and any length field. */
export function frame(first: number, payload: Buffer | string = '', length?: Buffer): Buffer {
  const bytes = Buffer.from(payload as string);
  const mask = Buffer.from([0x11, 0x22, 0x33, 0x44]);
  const masked = Buffer.from(bytes.map((byte, i) => byte ^ (mask[i & 3] as number)));
  return Buffer.concat([
    Buffer.from([first]),
    length ?? lengthOf(bytes.length, 0x80),
    mask,
    masked,
  ]);
}

export function lengthOf(bytes: number, bit = 0): Buffer {
  if (bytes < 126) return Buffer.from([bit | bytes]);
  const long = bytes > 65_535;
  const field = Buffer.alloc(long ? 9 : 3);
  field[0] = bit | (long ? 127 : 126);
  if (long) field.writeBigUInt64BE(BigInt(bytes), 1);
  else field.writeUInt16BE(bytes, 1);
  return field;
}

/** The close code of the first close frame in what a server sent, frames before it skipped. */
export function closeCodeIn(bytes: Buffer): number | null {
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] as number) & 0x7f;
    const size = short === 126 ? 4 : short === 127 ? 10 : 2;
    const length =
      short === 126
        ? bytes.readUInt16BE(at + 2)
        : short === 127
          ? Number(bytes.readBigUInt64BE(at + 2))
          : short;
    if (((bytes[at] as number) & 0x0f) === 8) {
      return length >= 2 ? bytes.readUInt16BE(at + size) : 1005;
    }
    at += size + length;
  }
  return null;
}
