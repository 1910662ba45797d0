/** Servers that say what a test tells them, and sessions for them. */
import { expect } from 'vitest';
import { ClientSession, type SessionOptions } from '../../lib/http/index.ts';
import { type Connection, isCancelled, startServer } from '../../lib/index.ts';
import { failure } from '../task/support.ts';

/** Requests come here as text; what it gives is written. Null: the connection is closed. */
export type Answer = (request: string, connection: Connection) => unknown;

/** The head of the next request and its declared body; null at the end. */
export async function readRequest(connection: Connection): Promise<string | null> {
  let head: Buffer;
  try {
    head = await connection.readUntil('\r\n\r\n');
  } catch (error) {
    if (isCancelled(error)) throw error;
    return null;
  }
  const text = head.toString('latin1');
  const length = Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0);
  return text + (await connection.readExactly(length)).toString('latin1');
}

/** A server of raw bytes: each answer is one write. */
export async function withRaw(
  answer: Answer,
  test: (url: string, log: string[]) => unknown,
): Promise<void> {
  const log: string[] = [];
  const serveOne = async (connection: Connection): Promise<void> => {
    for (;;) {
      const request = await readRequest(connection);
      if (request === null) return;
      log.push(request);
      const text = await answer(request, connection);
      if (typeof text !== 'string' && !(text instanceof Uint8Array)) return;
      await connection.write(text);
    }
  };
  await using server = await startServer(serveOne, { host: '127.0.0.1', port: 0 });
  await test(`http://127.0.0.1:${server.port}`, log);
}

export async function withSession(
  options: SessionOptions,
  test: (session: ClientSession) => unknown,
): Promise<void> {
  await using session = new ClientSession(options);
  await test(session);
}

export const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

/** The pool is clean and the next request is right. */
export async function expectClean(session: ClientSession, url: string): Promise<void> {
  expect(session.connector.stats().open).toBeLessThanOrEqual(1);
  expect(await session.get(url).text()).toBe('ok');
}

/** Fails with an error of this class; its name and message. */
export async function failsWith(
  work: PromiseLike<unknown>,
  kind: abstract new (...args: never[]) => Error,
): Promise<Error & { code?: string }> {
  const error = await failure(work);
  expect(error).toBeInstanceOf(kind);
  return error;
}
