// One server of bench/websocket.mjs: `server.mjs PEER`, or `bun server.mjs bun`.
//
// `/` echoes, `/feed` gets what `/control` asks for.
// Prints {"port":N}, collects garbage on SIGUSR2.
const [, , name] = process.argv;
const mebibyte = 1024 * 1024;
const maxMessageBytes = 16 * mebibyte;
/** `COUNT BYTES`: that many messages of that size to the whole feed. */
function publishAll(command, publish) {
  const [count, bytes] = String(command).split(' ').map(Number);
  const payload = 'x'.repeat(bytes);
  for (let i = 0; i < count; i++) publish(payload);
}

const ready = (port) => console.log(JSON.stringify({ port }));

process.on('SIGUSR2', () => {
  if (globalThis.Bun) Bun.gc(true);
  else for (let i = 0; i < 3; i++) globalThis.gc();
  console.log(JSON.stringify({ collected: true }));
});

/** Servers by name; each prints its port. */
const servers = {
  async ws() {
    const { WebSocketServer } = await import('ws');
    const feed = new Set();
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      perMessageDeflate: false,
      maxPayload: maxMessageBytes,
      backlog: 4096,
    });
    server.on('connection', (socket, request) => {
      socket.on('error', () => {});
      if (request.url === '/feed') {
        feed.add(socket);
        socket.on('close', () => feed.delete(socket));
      } else if (request.url === '/control') {
        socket.on('message', (data) => {
          publishAll(data, (payload) => {
            for (const one of feed) one.send(payload);
          });
          socket.send('done');
        });
      } else {
        socket.on('message', (data, binary) => socket.send(data, { binary }));
      }
    });
    server.on('listening', () => ready(server.address().port));
  },

  bun() {
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch(request, self) {
        const path = new URL(request.url).pathname;
        if (!self.upgrade(request, { data: { path } })) return new Response('', { status: 400 });
      },
      websocket: {
        perMessageDeflate: false,
        idleTimeout: 960,
        maxPayloadLength: maxMessageBytes,
        open(socket) {
          if (socket.data.path === '/feed') socket.subscribe('feed');
        },
        message(socket, data) {
          if (socket.data.path === '/control') {
            publishAll(data, (payload) => server.publish('feed', payload));
            socket.send('done');
          } else {
            socket.send(data);
          }
        },
      },
    });
    ready(server.port);
  },
};

async function echoHandler(socket) {
  for await (const message of socket) await socket.send(message);
}

const echoCallbacks = {
  messageReceived(socket, message) {
    socket.send(message);
  },
};

async function uvio(policyName, callbacks = false) {
  const { native, pure, run, sleepForever } = await import('uvio');
  const { Application, serve } = await import('uvio/http');
  const options = { maxMessageBytes };
  const app = new Application()
    .ws('/', callbacks ? echoCallbacks : echoHandler, options)
    .ws('/feed', async (socket) => {
      socket.subscribe('feed');
      for await (const _ of socket);
    })
    .ws('/control', async (socket) => {
      for await (const command of socket) {
        publishAll(command, (payload) => socket.publish('feed', payload));
        await socket.send('done');
      }
    });
  const policy = policyName === 'native' ? native({ required: true }) : pure();
  await run(
    async () => {
      const server = await serve(app, { host: '127.0.0.1', port: 0, backlog: 4096 });
      ready(server.port);
      await sleepForever();
    },
    { policy },
  );
}

if (name === 'uvio-native') await uvio('native');
else if (name === 'uvio-callbacks') await uvio('native', true);
else if (name === 'uvio-pure') await uvio('pure');
else await servers[name]();
