/** A small API: typed routes, a limit of time, errors that are responses, events. */
import { sleep, timeout } from 'uvio';
import {
  Application,
  eventStream,
  HttpError,
  Key,
  type Middleware,
  Response,
  runApp,
} from 'uvio/http';
import { startedAs } from './seeds/started-as.ts';

interface User {
  readonly id: number;
  readonly name: string;
}

const users: Key<Map<number, User>> = new Key('users');

const timed: Middleware = async (_request, next) => {
  const response = await timeout(5_000, () => next());
  response.headers.set('x-served-by', 'uvio');
  return response;
};

// covers: seeds/C41
export function makeApp(): Application {
  const app = new Application({ maxBodyBytes: 10_000 });
  app.use(timed);
  app.onStartup(() => app.state.set(users, new Map()));
  app.post('/users', async (request) => {
    const { name } = await request.json<{ name?: unknown }>();
    if (typeof name !== 'string') throw new HttpError(422, 'A user has a name');
    const all = app.state.get(users);
    const user: User = { id: all.size + 1, name };
    all.set(user.id, user);
    const location = app.urlFor('user', { id: user.id });
    return Response.json(user, { status: 201, headers: { location } });
  });
  app.get(
    '/users/:id(\\d+)',
    (request) => {
      // `id` is known to be a string: it is in the path.
      const user = app.state.get(users).get(Number(request.params.id));
      if (user === undefined) throw new HttpError(404, 'No such user');
      return Response.json(user);
    },
    { name: 'user' },
  );
  app.get('/ticks/:count', (request) =>
    eventStream(async (sink) => {
      for (let i = 1; i <= Number(request.params.count); i++) {
        await sink.send({ data: `tick ${i}`, id: String(i) });
        await sleep(10);
      }
    }),
  );
  return app;
}

if (startedAs(import.meta.url)) await runApp(makeApp(), { port: 8080 });
