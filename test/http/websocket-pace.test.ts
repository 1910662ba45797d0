/** Sends share the loop, and what answers messages still comes before the end. */
import { describe, expect } from 'vitest';
import type { WebSocketConnection } from '../../lib/http/index.ts';
import { createTask, Event, sleep, taskGroup } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { readToEnd } from './support.ts';
import { closeCodeIn, echo, frame, rawClient, withPair, withSockets } from './websocket-support.ts';

const FIN = 0x80;

describe('a loop of sends to a peer that reads at once', () => {
  runTest('leaves others their turns', () =>
    withPair(async (client, server) => {
      const count = 20_000;
      let sent = 0;
      let most = 0;
      const watching = createTask(async () => {
        for (let before = 0; ; before = sent) {
          await sleep(0.01);
          most = Math.max(most, sent - before);
        }
      });
      const reading = createTask(async () => {
        for (let i = 0; i < count; i++) await server.receive();
      });
      for (; sent < count; sent++) await client.send('x');
      await reading;
      await watching.cancelAndWait();
      // 1 MiB, each of them being 512 bytes at least.
      expect(most).toBeLessThanOrEqual(4_200);
    }),
  );

  runTest('is cancelled, and its socket goes on', () =>
    withPair(async (client, server) => {
      let sent = 0;
      const sending = createTask(async () => {
        for (; ; sent++) await client.send('x');
      });
      while (sent < 5_000) {
        await server.receive();
        await sleep(0);
      }
      await sending.cancelAndWait();
      await client.send('last');
      while ((await server.receive()) !== 'last');
      expect(client.open).toBe(true);
    }),
  );
});

describe('messages and a close in one read', () => {
  const count = 60;
  const close = frame(FIN | 8, Buffer.from([0x03, 0xe8]));
  const texts = Array.from({ length: count }, (_, i) => frame(FIN | 1, String(100 + i)));
  const expected = Buffer.concat([
    ...Array.from({ length: count }, (_, i) => Buffer.from(`\x81\x03${100 + i}`, 'latin1')),
    Buffer.from([0x88, 2, 0x03, 0xe8]),
  ]).toString('latin1');

  runTest('are all answered first, also beyond what the loop sends in a turn', () =>
    withSockets(echo, (_url, port) =>
      taskGroup((group) => {
        for (let i = 0; i < 120; i++) {
          group.startSoon(async () => {
            await using peer = await rawClient(port);
            await peer.write(Buffer.concat([...texts, close]));
            expect(await readToEnd(peer)).toBe(expected);
          });
        }
      }),
    ),
  );

  runTest('are all answered first when the peer ends its side with them', () =>
    withSockets(echo, async (_url, port) => {
      await using peer = await rawClient(port);
      peer.write(Buffer.concat([...texts, close]));
      await peer.writeEof();
      expect(await readToEnd(peer)).toBe(expected);
    }),
  );

  runTest('are all answered first when the peer reads nothing for a while', () =>
    withSockets(echo, async (_url, port) => {
      await using peer = await rawClient(port);
      const large = Buffer.alloc(3 * 1024 * 1024, 'x');
      const head = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x30, 0, 0]);
      const writing = createTask(() =>
        peer.write(Buffer.concat([frame(FIN | 2, large), ...texts, close])),
      );
      await sleep(50);
      const answer = await readToEnd(peer);
      expect(answer.slice(0, 10)).toBe(head.toString('latin1'));
      expect(answer.slice(10 + large.length)).toBe(expected);
      await writing;
    }),
  );

  runTest('of a peer that never reads are dropped in the time for a close', () => {
    const ended = new Event();
    const handler = async (socket: WebSocketConnection): Promise<void> => {
      try {
        await echo(socket);
      } finally {
        ended.set();
      }
    };
    return withSockets(
      handler,
      async (_url, port) => {
        await using peer = await rawClient(port);
        const large = frame(FIN | 2, Buffer.alloc(4 * 1024 * 1024, 'x'));
        void peer.write(Buffer.concat([large, large, ...texts, close])).catch(() => {});
        await ended.wait();
        peer.abort();
      },
      { closeTimeoutMs: 200 },
    );
  });

  runTest('that is a bad one are all answered first, and the end is the end', () =>
    withSockets(echo, async (_url, port) => {
      await using peer = await rawClient(port);
      peer.write(Buffer.concat([...texts, frame(FIN | 3, '')]));
      await peer.writeEof();
      const answer = Buffer.from(await readToEnd(peer), 'latin1');
      expect(answer.toString('latin1').startsWith(expected.slice(0, -4))).toBe(true);
      expect(closeCodeIn(answer)).toBe(1002);
    }),
  );

  runTest('do not keep the close from who only sends', () =>
    withSockets(
      async (socket) => {
        while (socket.open) await socket.send('x');
      },
      async (_url, port) => {
        await using peer = await rawClient(port);
        await peer.write(Buffer.concat([...texts, close]));
        const answer = Buffer.from(await readToEnd(peer), 'latin1');
        expect(closeCodeIn(answer)).toBe(1000);
      },
    ),
  );
});

// A reset, for what a server that is gone does not read, would cost the peer that frame.
runTest('an answer to a close arrives at a peer who goes on sending', () =>
  withSockets(echo, async (_url, port) => {
    await using peer = await rawClient(port);
    await peer.write(Buffer.from(frame(FIN | 8, Buffer.from([0x03, 0xe8]))));
    for (let i = 0; i < 3; i++) {
      await sleep(10);
      await peer.write(frame(FIN | 1, 'more'));
    }
    expect(await readToEnd(peer)).toBe('\x88\x02\x03\xe8');
  }),
);
