/** What the tests of bridges share. */
import { Buffer } from 'node:buffer';
import type { ConnectionSocket } from '../../lib/io/node-socket.ts';
import { fakeConnection } from '../io/support.ts';

export const reset: Error & { code: string } = Object.assign(new Error('read ECONNRESET'), {
  code: 'ECONNRESET',
});

export type FakeSocket = ReturnType<typeof fakeConnection> & {
  socket: ConnectionSocket;
  log: string[];
};

/** A socket over a backend that is the test. */
export function fakeSocket(options?: { allowHalfOpen?: boolean }): FakeSocket {
  const fake = fakeConnection();
  const socket = fake.connection.toNode(options) as ConnectionSocket;
  const log: string[] = [];
  for (const event of ['end', 'finish', 'close', 'drain', 'timeout']) {
    socket.on(event, () => log.push(event));
  }
  socket.on('error', (error: NodeJS.ErrnoException) => log.push(`error ${error.code}`));
  const end = (error?: Error): void => fake.stream.sink?.onClosed(error);
  const { close, abort } = fake.stream;
  fake.stream.close = () => {
    close.call(fake.stream);
    setImmediate(end);
  };
  fake.stream.abort = () => {
    abort.call(fake.stream);
    setImmediate(end);
  };
  return {
    ...fake,
    send: (data) => fake.stream.sink?.onData(Buffer.from(data as string)),
    socket,
    log,
  };
}
