/** Sockets of a server that callbacks handle, and what is published in one turn. */
import { describe, expect, test, vi } from 'vitest';
import { openWebSocket } from '../../lib/http/client/open-socket.ts';
import {
  Application,
  Response,
  type WebSocketCallbacks,
  type WebSocketConnection,
} from '../../lib/http/index.ts';
import type { WebSocketStream } from '../../lib/http/websocket/socket.ts';
import { Future, getRunningLoop, sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { withServer } from './support.ts';
import { frame, rawClient } from './websocket-support.ts';

const echo: WebSocketCallbacks = {
  messageReceived(socket, message) {
    socket.send(message);
  },
};

/** A server with these callbacks at '/'. */
function withCallbacks(
  callbacks: WebSocketCallbacks,
  work: (url: string, port: number) => unknown,
): Promise<void> {
  const app = new Application().ws('/', callbacks, { maxBufferedBytes: 2 ** 20 });
  return withServer(app, (url, server) => work(url.replace('http', 'ws'), server.port));
}

describe('callbacks', () => {
  // covers: aiohttp/websocketresponse
  runTest('get the request, each message in order, and the end', () => {
    const seen: unknown[] = [];
    const gone = new Future<void>();
    const app = new Application().ws('/:name', {
      connectionMade(socket, request) {
        seen.push(request.params.name, socket.open, socket.protocol);
        socket.subscribe('all');
      },
      messageReceived(socket, message) {
        seen.push(message);
        socket.send(message);
      },
      connectionLost(socket) {
        seen.push([socket.open, socket.closeCode, socket.closeReason]);
        gone.setResult();
      },
    });
    return withServer(app, async (url) => {
      const client = await openWebSocket(`${url.replace('http', 'ws')}/ada`);
      for (const message of ['a', Buffer.from('b'), 'c'.repeat(70_000)]) {
        client.send(message);
        expect(await client.receive()).toEqual(message);
      }
      expect(app.publish('all', 'news')).toBe(1);
      expect(await client.receive()).toBe('news');
      await client.close(4001, 'enough');
      await gone;
      expect(app.publish('all', 'news')).toBe(0);
      expect(seen.slice(0, 5)).toEqual(['ada', true, '', 'a', Buffer.from('b')]);
      expect(seen.slice(6)).toEqual([[false, 4001, 'enough']]);
    });
  });

  runTest('close a socket with 1011 when they throw or reject, and are told of', async () => {
    const errors: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, { error }) => void errors.push(error));
    const bad: WebSocketCallbacks = {
      messageReceived(_socket, message) {
        if (message === 'throw') throw new Error('thrown');
        return Promise.reject(new Error('rejected')) as unknown as undefined;
      },
      connectionLost() {
        throw new Error('at the end');
      },
    };
    await withCallbacks(bad, async (url) => {
      for (const how of ['throw', 'reject']) {
        const client = await openWebSocket(url);
        await client.send(how);
        expect((await failure(client.receive())).name).toBe('ClosedResourceError');
        expect(client.closeCode).toBe(1011);
        await client.close();
      }
    });
    getRunningLoop().setExceptionHandler(null);
    const messages = errors.map((error) => (error as Error).message).sort();
    expect(messages).toEqual(['at the end', 'at the end', 'rejected', 'thrown']);
  });

  runTest('hear nothing after a close of their own', () => {
    const seen: unknown[] = [];
    const once: WebSocketCallbacks = {
      messageReceived(socket, message) {
        seen.push(message);
        socket.close(4000);
      },
    };
    return withCallbacks(once, async (_url, port) => {
      const client = await rawClient(port);
      await client.write(Buffer.concat([frame(0x81, 'a'), frame(0x81, 'b')]));
      await client.write(frame(0x88, Buffer.from([0x0f, 0xa0])));
      expect([...(await client.readAll())]).toEqual([0x88, 2, 0x0f, 0xa0]);
      expect(seen).toEqual(['a']);
    });
  });

  runTest('leave nothing to receive()', () => {
    const refused: string[] = [];
    const asks: WebSocketCallbacks = {
      async connectionMade(socket) {
        const asked = [
          () => socket.receive(),
          () => socket.receiveText(),
          () => socket.receiveBytes(),
        ];
        for (const ask of [...asked, () => socket.receiveJson()]) {
          refused.push((await failure(ask())).name);
        }
        refused.push((await failure(() => socket[Symbol.asyncIterator]())).name);
        socket.close();
      },
      messageReceived() {},
    };
    return withCallbacks(asks, async (url) => {
      const client = await openWebSocket(url);
      for await (const _ of client);
      await client.close();
      expect(refused).toEqual(Array(5).fill('InvalidStateError'));
    });
  });

  runTest('read nothing from a peer who does not read', () =>
    withCallbacks(echo, async (url, port) => {
      const slow = await rawClient(port);
      const big = frame(0x82, Buffer.alloc(2 ** 18));
      let sent = 0;
      // What the kernel and the high-water mark hold, and no more.
      const flood = (async () => {
        for (; sent < 200; sent++) await slow.write(big);
      })();
      flood.catch(() => {});
      await using good = await openWebSocket(url);
      for (let i = 0; i < 50; i++) {
        await good.send('x');
        expect(await good.receive()).toBe('x');
      }
      expect(sent).toBeLessThan(200);
      slow.abort();
      await flood.catch(() => {});
    }),
  );

  runTest('are told of the end of their server, which does not wait for them', async () => {
    let code: number | null = 0;
    const ends: WebSocketCallbacks = {
      ...echo,
      connectionLost(socket) {
        code = socket.closeCode;
      },
    };
    const clients: WebSocketConnection[] = [];
    await withCallbacks(ends, async (url) => void clients.push(await openWebSocket(url)));
    expect(code).toBe(1001);
    await clients[0]?.close();
    expect(clients[0]?.closeCode).toBe(1001);
  });

  test('are functions', () => {
    const app = new Application();
    for (const bad of [undefined, {}, { messageReceived: 1 }, new Response('')]) {
      expect(() => app.ws('/', bad as never)).toThrow(TypeError);
    }
  });
});

describe('what is published in one turn', () => {
  /** With the sockets of a server that subscribed to 'a' and 'b', and their clients. */
  function withFeed(
    count: number,
    work: (
      app: Application,
      sockets: WebSocketStream[],
      clients: WebSocketConnection[],
    ) => Promise<void>,
  ): Promise<void> {
    const sockets: WebSocketStream[] = [];
    const app = new Application().ws(
      '/',
      {
        connectionMade(socket) {
          sockets.push(socket as WebSocketStream);
          socket.subscribe('a');
          socket.subscribe('b');
        },
        messageReceived() {},
      },
      { compress: { minBytes: 100 } },
    );
    return withServer(app, async (url) => {
      const clients: WebSocketConnection[] = [];
      for (let i = 0; i < count; i++) {
        const compress = i % 2 === 1;
        clients.push(await openWebSocket(url.replace('http', 'ws'), { compress }));
      }
      await work(app, sockets, clients);
      for (const client of clients) await client.close();
    });
  }

  const read = async (client: WebSocketConnection, count: number): Promise<unknown[]> => {
    const messages: unknown[] = [];
    while (messages.length < count) messages.push(await client.receive());
    return messages;
  };

  runTest('is one write for each subscriber, of the same memory for all of them', () =>
    withFeed(4, async (app, sockets, clients) => {
      const writes = sockets.map(({ transport }) =>
        vi.spyOn(transport as NonNullable<typeof transport>, 'write'),
      );
      const long = 'long '.repeat(100);
      expect([app.publish('a', '1'), app.publish('b', long), app.publish('a', '3')]).toEqual([
        4, 4, 4,
      ]);
      for (const client of clients) expect(await read(client, 3)).toEqual(['1', long, '3']);
      const written = writes.map(({ mock }) => mock.calls.map(([data]) => data));
      expect(written.map(({ length }) => length)).toEqual([1, 1, 1, 1]);
      expect(written[0]?.[0]).toBe(written[2]?.[0]);
      expect(written[1]?.[0]).toBe(written[3]?.[0]);
      expect(written[0]?.[0]).not.toBe(written[1]?.[0]);
      vi.restoreAllMocks();
    }),
  );

  runTest('keeps its place among what is sent otherwise', () =>
    withFeed(2, async (app, [first, second], clients) => {
      app.publish('a', '1');
      first?.send('2');
      app.publish('b', '3');
      second?.publish('a', '4');
      first?.send('5');
      app.publish('a', '6');
      expect(await read(clients[0] as WebSocketConnection, 6)).toEqual([
        '1',
        '2',
        '3',
        '4',
        '5',
        '6',
      ]);
      expect(await read(clients[1] as WebSocketConnection, 3)).toEqual(['1', '3', '6']);
      // Before a close, not behind it; and in later turns, too.
      app.publish('a', 'last');
      first?.close();
      expect(app.publish('a', 'more')).toBe(1);
      expect(await read(clients[0] as WebSocketConnection, 1)).toEqual(['last']);
      expect((await failure((clients[0] as WebSocketConnection).receive())).name).toBe(
        'ClosedResourceError',
      );
      expect(await read(clients[1] as WebSocketConnection, 2)).toEqual(['last', 'more']);
      await sleep(1);
      app.publish('b', 'end');
      expect(await read(clients[1] as WebSocketConnection, 1)).toEqual(['end']);
    }),
  );

  runTest('is written before its end when it is long', () =>
    withFeed(1, async (app, [socket], [client]) => {
      const write = vi.spyOn(
        (socket as WebSocketStream).transport as NonNullable<WebSocketStream['transport']>,
        'write',
      );
      const large = Buffer.alloc(30_000);
      for (let i = 0; i < 5; i++) app.publish('a', large);
      expect(write.mock.calls.length).toBe(2);
      for (let i = 0; i < 5; i++) {
        expect(await (client as WebSocketConnection).receive()).toEqual(large);
      }
      expect(write.mock.calls.length).toBe(3);
      vi.restoreAllMocks();
    }),
  );
});

// covers: seeds/C23
runTest('a feed reaches a thousand subscribers, and is left by all of them', () => {
  const app = new Application().ws('/', {
    connectionMade: (socket) => socket.subscribe('feed'),
    messageReceived: () => {},
  });
  return withServer(app, async (url, server) => {
    const clients: WebSocketConnection[] = [];
    while (clients.length < 1_000) {
      const some = Array.from({ length: 50 }, () => openWebSocket(url.replace('http', 'ws')));
      clients.push(...(await Promise.all(some)));
    }
    expect(app.publish('feed', 'news')).toBe(1_000);
    const got = await Promise.all(clients.map((client) => client.receive()));
    expect(new Set(got)).toEqual(new Set(['news']));
    await Promise.all(clients.map((client) => client.close()));
    expect(app.publish('feed', 'nobody')).toBe(0);
    for (let i = 0; i < 500 && server.connections > 0; i++) await sleep(2);
    expect(server.connections).toBe(0);
  });
});
