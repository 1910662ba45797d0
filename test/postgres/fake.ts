/** A server that says what a script tells it to, right or wrong. */
import { Buffer } from 'node:buffer';
import { createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import type { Connection } from '../../lib/io/net-types.ts';
import { startServer } from '../../lib/io/start-server.ts';

export function int16(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [i, value] of values.entries()) bytes.writeInt16BE((value << 16) >> 16, i * 2);
  return bytes;
}

export function int32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeInt32BE(value | 0, i * 4);
  return bytes;
}

type Part = string | Uint8Array;

function bytesOf(parts: readonly Part[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}

export function message(type: string, ...parts: Part[]): Buffer {
  const body = bytesOf(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

export const authOk: Buffer = message('R', int32(0));
export const keyData: Buffer = message('K', int32(42, 99));
export const version: Buffer = message('S', 'server_version\0', '15.3\0');
export const ready: Buffer = message('Z', 'I');
export const started: Buffer = Buffer.concat([authOk, version, keyData, ready]);

export function errorMessage(severity: string, code: string, text: string): Buffer {
  return message('E', `S${severity}\0V${severity}\0C${code}\0M${text}\0`, '\0');
}

/** Columns by name and oid of their types. */
export function describeRow(...columns: (readonly [string, number])[]): Buffer {
  const parts = columns.flatMap(([name, oid]) => [
    `${name}\0`,
    int32(0),
    int16(0),
    int32(oid),
    int16(-1),
    int32(-1),
    int16(1),
  ]);
  return message('T', int16(columns.length), ...parts);
}

export function dataRow(...fields: (Uint8Array | null)[]): Buffer {
  const parts = fields.flatMap((field) => {
    return field === null ? [int32(-1)] : [int32(field.length), field];
  });
  return message('D', int16(fields.length), ...parts);
}

/** Parse, Describe of one int4 column called x. */
export const described: Buffer = Buffer.concat([
  message('1'),
  message('t', int16(0)),
  describeRow(['x', 23]),
]);

/** Reads the client's messages. */
export class Client {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** The start-up message or a request in its place: its code and body. */
  async startup(): Promise<{ code: number; body: Buffer }> {
    const head = await this.connection.readExactly(8);
    const body = await this.connection.readExactly(head.readInt32BE(0) - 8);
    return { code: head.readInt32BE(4), body };
  }

  /** The start of a session, and of its first statement, whose execution follows. */
  async startStatement(): Promise<void> {
    await this.startup();
    await this.send(started);
    await this.until('H');
    await this.send(described);
  }

  async message(): Promise<{ type: string; body: Buffer }> {
    const head = await this.connection.readExactly(5);
    const body = await this.connection.readExactly(head.readInt32BE(1) - 4);
    return { type: head.toString('latin1', 0, 1), body };
  }

  /** Until a message of that type. */
  async until(type: string): Promise<Buffer> {
    for (;;) {
      const got = await this.message();
      if (got.type === type) return got.body;
    }
  }

  async send(...parts: Part[]): Promise<void> {
    await this.connection.write(bytesOf(parts));
  }

  /** Until the client has gone. */
  async ended(): Promise<void> {
    while ((await this.connection.read()) !== null);
  }
}

export type Script = (client: Client) => Promise<void>;

/** Runs `use` with the port of a server that plays the script to each client. */
export async function withFake<T>(script: Script, use: (port: number) => Promise<T>): Promise<T> {
  const server = await startServer(
    async (connection) => {
      try {
        await script(new Client(connection));
      } catch {
        // The client has gone, which is what most scripts lead to.
      }
      await connection.close().catch(() => {});
    },
    { host: '127.0.0.1', port: 0 },
  );
  try {
    return await use(server.port);
  } finally {
    server.close();
    await server[Symbol.asyncDispose]();
  }
}

/** The server's side of SCRAM, with what it may do wrong. */
export async function scramServer(
  client: Client,
  wrong: {
    iterations?: string;
    nonce?: (nonce: string) => string;
    salt?: string;
    signature?: (signature: string) => string;
    first?: (first: string) => string;
    skipFinal?: boolean;
  } = {},
): Promise<void> {
  await client.send(message('R', int32(10), 'SCRAM-SHA-256\0\0'));
  const initial = (await client.until('p')).toString('latin1');
  const bare = initial.slice(initial.indexOf('n,,') + 3);
  const clientNonce = bare.slice(bare.indexOf('r=') + 2);
  const nonce = wrong.nonce?.(clientNonce) ?? `${clientNonce}server`;
  const salt = Buffer.from('some salt');
  const iterations = wrong.iterations ?? '4096';
  const plain = `r=${nonce},s=${wrong.salt ?? salt.toString('base64')},i=${iterations}`;
  const first = wrong.first?.(plain) ?? plain;
  await client.send(message('R', int32(11), first));
  const final = (await client.until('p')).toString('latin1');
  // On another thread: what the client blocks is measured on this one.
  const salted = await promisify(pbkdf2)('secret', salt, Number(iterations), 32, 'sha256');
  const key = createHmac('sha256', salted).update('Server Key').digest();
  const all = `${bare},${first},${final.slice(0, final.indexOf(',p='))}`;
  const signature = createHmac('sha256', key).update(all).digest('base64');
  if (!wrong.skipFinal) {
    await client.send(message('R', int32(12), `v=${wrong.signature?.(signature) ?? signature}`));
  }
  await client.send(started);
}
