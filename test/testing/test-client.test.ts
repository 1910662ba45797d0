/** An application behind a client of its own. Run on every policy. */
import { describe, expect } from 'vitest';
import { Application, Response } from '../../lib/http/index.ts';
import { Event, taskGroup } from '../../lib/index.ts';
import { testClient } from '../../lib/testing/index.ts';
import { failure, runTest } from '../task/support.ts';

function greeter(): Application {
  const app = new Application();
  app.get('/hello/:name', ({ params }) => new Response(`hello ${params.name}`));
  app.get('/login', () => new Response('in').setCookie('user', 'ada'));
  app.get('/who', ({ cookies }) => new Response(cookies.get('user') ?? 'nobody'));
  app.ws('/echo', async (socket) => {
    for await (const message of socket) await socket.send(message);
  });
  return app;
}

// covers: aiohttp/test-utils
describe('testClient', () => {
  runTest('asks by relative URLs, keeps cookies, opens WebSockets', async () => {
    await using client = await testClient(greeter(), { headers: { 'x-test': '1' } });
    expect(await client.get('/hello/ada').text()).toBe('hello ada');
    expect(client.server.port).toBeGreaterThan(0);
    await client.get('/login').text();
    expect(await client.get('/who').text()).toBe('ada');
    await using socket = await client.wsConnect('/echo');
    await socket.send('ping');
    expect(await socket.receive()).toBe('ping');
    await socket.close();
  });

  runTest('closing it runs the hooks of the application, and waits for handlers', async () => {
    const seen: string[] = [];
    const entered = new Event();
    const goOn = new Event();
    const app = new Application().get('/', async () => {
      entered.set();
      await goOn.wait();
      seen.push('handled');
      return new Response('late');
    });
    app.onStartup(() => void seen.push('startup'));
    app.onCleanup(() => void seen.push('cleanup'));
    const client = await testClient(app);
    await taskGroup(async (group) => {
      const asking = group.createTask(() => failure(client.get('/').text()));
      await entered.wait();
      const closing = group.createTask(() => client.close());
      goOn.set();
      await closing;
      expect(await asking).toMatchObject({ name: 'ClosedResourceError' });
    });
    expect(seen).toEqual(['startup', 'handled', 'cleanup']);
    expect(client.server.connections).toBe(0);
    await client.close();
    expect(await failure(client.get('/'))).toMatchObject({ name: 'ClosedResourceError' });
  });

  runTest('takes a fetch handler, and a baseUrl as a prefix', async () => {
    const app = { fetch: (request: Request) => new Response(new URL(request.url).pathname) };
    await using client = await testClient(app, { baseUrl: '/api/v1/' });
    expect(await client.get('users').text()).toBe('/api/v1/users');
    expect(await client.get('/users').text()).toBe('/users');
  });

  runTest('leaves nothing open when it cannot be made', async () => {
    const seen: string[] = [];
    const good = new Application();
    good.onCleanup(() => void seen.push('cleanup'));
    expect(await failure(testClient(good, { baseUrl: 'http://' }))).toBeInstanceOf(TypeError);
    expect(seen).toEqual(['cleanup']);
    const app = new Application();
    app.onStartup(() => {
      throw new Error('no database');
    });
    expect((await failure(testClient(app))).message).toBe('no database');
    for (const bad of [null, {}, { fetch: 1 }]) {
      expect(await failure(testClient(bad as never))).toBeInstanceOf(TypeError);
    }
  });
});
