// A tour of the package on pure(), for runtimes that have Node's modules: Bun, Deno and Node.
// Prints a line for each stop and a closing count.
//
//   npm run build && bun test/runtimes/tour.mjs
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFile } from '../../dist/fs/index.js';
import { Application, ClientSession, Response, serve } from '../../dist/http/index.js';
import {
  CancelledError,
  ContextVar,
  createTask,
  Event,
  Lock,
  moveOnAfter,
  openConnection,
  openUdpSocket,
  openUnixConnection,
  pure,
  Queue,
  run,
  runProcess,
  sleep,
  startServer,
  startUnixServer,
  taskGroup,
  timeout,
  toThread,
} from '../../dist/index.js';

const folder = mkdtempSync(join(tmpdir(), 'uvio-tour-'));
const host = '127.0.0.1';

function check(condition, what) {
  if (!condition) throw new Error(`wrong: ${what}`);
}

/** `await using`, which Node 20 cannot read. */
async function using(opening, body) {
  const resource = await opening;
  try {
    return await body(resource);
  } finally {
    await resource[Symbol.asyncDispose]();
  }
}

async function echo(connection) {
  for await (const chunk of connection) await connection.write(chunk);
}

async function roundTrips(open) {
  const sizes = [1, 100, 5000, 70_000, 1_000_000];
  const client = (i) => async (connection) => {
    for (const size of sizes) {
      const message = Buffer.alloc(size, `${i}abcdefg`);
      const sending = createTask(() => connection.write(message));
      const got = await connection.readExactly(size);
      await sending;
      check(message.equals(got), `${size} bytes`);
    }
  };
  await taskGroup((group) => {
    for (let i = 0; i < 10; i++) group.startSoon(() => using(open(), client(i)));
  });
}

const stops = {
  async 'TCP: ten clients, messages up to 1 MB'() {
    await using(startServer(echo, { host, port: 0 }), ({ port }) =>
      roundTrips(() => openConnection({ host, port })),
    );
  },

  async 'UNIX sockets'() {
    const path = join(folder, 'echo.sock');
    await using(startUnixServer(echo, path), () => roundTrips(() => openUnixConnection(path)));
  },

  async 'a refused connection is an error with its code'() {
    const port = await using(startServer(echo, { host, port: 0 }), (server) => server.port);
    const error = await openConnection({ host, port }).catch((reason) => reason);
    check(error.code === 'ECONNREFUSED', error.code ?? error);
  },

  async 'a read is cancelled, and its connection goes on'() {
    await using(startServer(echo, { host, port: 0 }), ({ port }) =>
      using(openConnection({ host, port }), async (connection) => {
        const got = await moveOnAfter(20, () => connection.read(1));
        check(got === undefined, 'not cancelled');
        await connection.write('x');
        check(String(await connection.read(1)) === 'x', 'the connection is lost');
      }),
    );
  },

  async 'an end is seen on both sides'() {
    let ended = false;
    const count = async (connection) => {
      let bytes = 0;
      for await (const chunk of connection) bytes += chunk.length;
      ended = true;
      await connection.write(String(bytes));
    };
    await using(startServer(count, { host, port: 0 }), ({ port }) =>
      using(openConnection({ host, port }), async (connection) => {
        await connection.write(Buffer.alloc(200_000));
        await connection.writeEof();
        check(String(await connection.read()) === '200000' && ended, 'the count');
      }),
    );
  },

  async 'a timeout is an error'() {
    const error = await timeout(10, () => sleep(10_000)).catch((reason) => reason);
    check(error.name === 'TimeoutError', error.name);
  },

  async 'a failed child ends its group'() {
    let ended = 0;
    const error = await taskGroup((group) => {
      group.startSoon(async () => {
        try {
          await sleep(10_000);
        } catch (reason) {
          if (reason instanceof CancelledError) ended++;
          throw reason;
        }
      });
      group.startSoon(async () => {
        await sleep(1);
        throw new Error('boom');
      });
    }).catch((reason) => reason);
    check(ended === 1, 'the sibling was not cancelled');
    check(String(error.errors?.[0] ?? error).includes('boom'), String(error));
  },

  async 'context variables follow their tasks'() {
    const name = new ContextVar('name', { defaultValue: 'nobody' });
    const seen = [];
    const work = async (mine) => {
      name.set(mine);
      for (let i = 0; i < 5; i++) {
        await sleep(1);
        await Promise.resolve();
        await new Promise((done) => setTimeout(done, 1));
        seen.push(name.get() === mine);
      }
    };
    await taskGroup((group) => {
      for (const mine of ['a', 'b', 'c']) group.startSoon(() => work(mine));
    });
    check(seen.length === 15 && seen.every(Boolean), 'a variable of another task');
    check(name.get() === 'nobody', 'a variable that leaked');
  },

  async 'locks, events and queues'() {
    const lock = new Lock();
    const queue = new Queue(2);
    const event = new Event();
    const got = [];
    await taskGroup((group) => {
      group.startSoon(async () => {
        for (let i = 0; i < 100; i++) {
          await lock.acquire();
          await queue.put(i);
          lock.release();
        }
        event.set();
      });
      group.startSoon(async () => {
        while (got.length < 100) got.push(await queue.get());
      });
    });
    await event.wait();
    check(
      got.every((value, i) => value === i),
      'the order',
    );
  },

  async UDP() {
    await using(openUdpSocket({ localHost: host }), (one) =>
      using(openUdpSocket({ localHost: host }), async (two) => {
        await one.send('hello', { host, port: two.localAddress.port });
        const { data } = await two.receive();
        check(String(data) === 'hello', String(data));
      }),
    );
  },

  async 'HTTP: a server and a client'() {
    const app = new Application()
      .get('/hello/:name', (request) => new Response(`hello ${request.params.name}`))
      .post('/echo', async (request) => new Response(await request.bytes()));
    await using(serve(app, { host, port: 0 }), ({ port }) =>
      using(new ClientSession({ baseUrl: `http://${host}:${port}` }), async (session) => {
        for (let i = 0; i < 3; i++) {
          const response = await session.get('/hello/ann');
          check((await response.text()) === 'hello ann', 'the text');
        }
        const body = Buffer.alloc(300_000, 'b');
        const response = await session.post('/echo', { body });
        check(body.equals(Buffer.from(await response.bytes())), 'the body');
      }),
    );
  },

  async WebSockets() {
    const app = new Application().ws('/ws', async (socket) => {
      for await (const message of socket) await socket.send(message);
    });
    await using(serve(app, { host, port: 0 }), ({ port }) =>
      using(new ClientSession(), (session) =>
        using(session.wsConnect(`ws://${host}:${port}/ws`), async (socket) => {
          await socket.send('hello');
          check((await socket.receive()) === 'hello', 'the echo');
        }),
      ),
    );
  },

  async files() {
    const path = join(folder, 'file.txt');
    await using(openFile(path, 'w'), (file) => file.write('one\ntwo\n'));
    await using(openFile(path), async (file) => {
      const lines = [];
      for await (const line of file) lines.push(line);
      check(lines.join() === 'one,two', lines.join());
    });
  },

  async 'a child process'() {
    const { stdout } = await runProcess(['cat'], { input: 'through cat' });
    check(String(stdout) === 'through cat', String(stdout));
  },

  async 'a thread'() {
    const sum = await toThread((a, b) => a + b, 20, 22);
    check(sum === 42, String(sum));
  },
};

let passed = 0;
let failed = 0;
for (const [name, stop] of Object.entries(stops)) {
  try {
    await run(() => timeout(10_000, stop), { policy: pure(), handleSignals: false });
    passed++;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error?.stack ?? error}`);
  }
}
rmSync(folder, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
