/** A page with a chat and a feed of prices: two kinds of WebSockets. */
import { fileURLToPath } from 'node:url';
import { createTask, sleep, type Task } from 'uvio';
import { Application, fileResponse, runApp } from 'uvio/http';
import { startedAs } from './seeds/started-as.ts';

const page = fileURLToPath(new URL('live.html', import.meta.url));

interface Said {
  readonly name: string;
  readonly text: string;
}

/** Whoever is in a room hears what the others, and they themselves, say. */
function addChat(app: Application): void {
  app.ws(
    '/chat/:room',
    async (socket, request) => {
      const { room } = request.params;
      socket.subscribe(room);
      for await (const message of socket) {
        const { name, text } = JSON.parse(String(message)) as Said;
        app.publish(room, JSON.stringify({ name, text }));
      }
    },
    // A phone that lost its network is noticed; a name and a line are short.
    { heartbeatMs: 30_000, maxMessageBytes: 4_096, compress: true },
  );
}

/** Everybody gets each price; who cannot keep up gets the next one. */
function addFeed(app: Application, everyMs: number): void {
  let price = 100;
  const tick = async (): Promise<void> => {
    for (;;) {
      await sleep(everyMs);
      price += Math.round(Math.random() * 20 - 10) / 10;
      app.publish('prices', JSON.stringify({ price: price.toFixed(1) }));
    }
  };
  let task: Task | null = null;
  app.onStartup(() => {
    task = createTask(tick);
  });
  app.onCleanup(() => void task?.cancel());
  app.ws(
    '/prices',
    async (socket) => {
      socket.subscribe('prices');
      for await (const _ of socket);
    },
    { whenSlow: 'drop' },
  );
}

export function makeApp(everyMs: number = 500): Application {
  const app = new Application();
  app.get('/', () => fileResponse(page));
  addChat(app);
  addFeed(app, everyMs);
  return app;
}

if (startedAs(import.meta.url)) await runApp(makeApp(), { port: 8080 });
