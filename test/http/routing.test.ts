/** Routes, middlewares, errors and life cycle of applications: without a server. */
import { describe, expect, test } from 'vitest';
import {
  Application,
  type Handler,
  HttpError,
  Key,
  type Middleware,
  normalizePath,
  Response,
} from '../../lib/http/index.ts';
import { currentTask, sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';

const name =
  (text: string): Handler =>
  (request) =>
    new Response(`${text} ${JSON.stringify(request.params)}`);

async function ask(app: Application, path: string, init?: RequestInit): Promise<string> {
  const response = await app.fetch(new Request(`http://a${path}`, init));
  return `${response.status} ${await response.text()}`;
}

// covers: aiohttp/application
describe('a route', () => {
  const app = new Application();
  app.get('/', name('root'));
  app.get('/users', name('users'));
  app.get('/users/new', name('new'));
  app.get('/users/:id', name('user'));
  app.post('/users/:id', name('change'));
  app.get('/items/:id(\\d+)', name('number'));
  app.get('/items/:slug', name('slug'));
  app.get('/page/:nr?', name('page'));
  app.get('/files/*rest', name('rest'));
  app.get('/any/*', name('any'));
  app.get('/a/:b/c/:d', name('two'));
  app.get('/@me/x.y-z', name('signs'));
  app.route('*', '/all', name('all'));
  app.put('/all', name('put'));
  app.head('/heads', () => new Response(null, { headers: { 'x-own': 'head' } }));
  app.get('/heads', name('get'));
  app.route('PURGE', '/cache', name('purge'));
  app.options('/users', () => new Response(null, { status: 204 }));
  app.patch('/p', name('patch')).delete('/p', name('delete'));

  const cases: [string, string, string][] = [
    ['GET', '/', '200 root {}'],
    ['GET', '/users', '200 users {}'],
    ['GET', '/users?x=1', '200 users {}'],
    ['GET', '/users/new', '200 new {}'],
    ['GET', '/users/7', '200 user {"id":"7"}'],
    ['GET', '/users/a%20b', '200 user {"id":"a b"}'],
    ['GET', '/users/a%2Fb', '200 user {"id":"a/b"}'],
    ['GET', '/users/%C3%A4', '200 user {"id":"ä"}'],
    ['POST', '/users/new', '200 change {"id":"new"}'],
    ['GET', '/items/12', '200 number {"id":"12"}'],
    ['GET', '/items/x12', '200 slug {"slug":"x12"}'],
    ['GET', '/page', '200 page {}'],
    ['GET', '/page/3', '200 page {"nr":"3"}'],
    ['GET', '/files/a/b/c.txt', '200 rest {"rest":"a/b/c.txt"}'],
    ['GET', '/files/', '200 rest {"rest":""}'],
    ['GET', '/any/x/y', '200 any {"0":"x/y"}'],
    ['GET', '/a/1/c/2', '200 two {"b":"1","d":"2"}'],
    ['GET', '/@me/x.y-z', '200 signs {}'],
    ['GET', '/all', '200 all {}'],
    ['PUT', '/all', '200 put {}'],
    ['POST', '/all', '200 all {}'],
    ['PURGE', '/cache', '200 purge {}'],
    ['OPTIONS', '/users', '204 '],
    ['PATCH', '/p', '200 patch {}'],
    ['DELETE', '/p', '200 delete {}'],
    ['HEAD', '/users', '200 '],
    ['GET', '/users/', '404 Not Found'],
    ['GET', '/Users', '404 Not Found'],
    ['GET', '/nothing', '404 Not Found'],
    ['GET', '/users/1/2', '404 Not Found'],
    ['DELETE', '/users', '405 Method Not Allowed'],
    ['PURGE', '/users', '405 Method Not Allowed'],
  ];
  for (const [method, path, expected] of cases) {
    runTest(`${method} ${path} is answered with ${expected}`, async () => {
      expect(await ask(app, path, { method })).toBe(expected);
    });
  }

  runTest('of its own for HEAD comes before that of GET', async () => {
    const response = await app.fetch(new Request('http://a/heads', { method: 'HEAD' }));
    expect(response.headers.get('x-own')).toBe('head');
  });

  runTest('that has no such method says which ones it has', async () => {
    const response = await app.fetch(new Request('http://a/users/7', { method: 'DELETE' }));
    expect(response.headers.get('allow')).toBe('GET, HEAD, POST');
  });

  const badPaths: [string, string][] = [
    ['users', 'no slash at the start'],
    ['/:', 'no name'],
    ['/:a/:a', 'a name twice'],
    ['/*rest/more', 'a rest in the middle'],
    ['/:a?/b', 'an optional part in the middle'],
    ['/a:b', 'a colon inside a part'],
    ['/a?b', 'a question mark'],
    ['/:a(', 'an open parenthesis'],
  ];
  test.each(badPaths)('%s is refused: %s', (path) => {
    expect(() => new Application().get(path, name('x'))).toThrow(TypeError);
  });

  test('is refused when it is there already, whatever its names', () => {
    const twice = new Application().get('/a/:b', name('x'));
    expect(() => twice.get('/a/:c', name('y'))).toThrow(/already/);
  });

  test('needs a function and a method', () => {
    expect(() => new Application().get('/', 'x' as never)).toThrow(TypeError);
    expect(() => new Application().route('A B', '/', name('x'))).toThrow(TypeError);
  });

  runTest('cannot be added once the application is used', async () => {
    const used = new Application().get('/', name('x'));
    await ask(used, '/');
    expect(() => used.get('/more', name('y'))).toThrow(/served/);
    expect(() => used.use((_request, next) => next())).toThrow(/served/);
  });
});

describe('urlFor', () => {
  const app = new Application();
  app.get('/users/:id(\\d+)/files/*path', name('x'), { name: 'file' });
  app.get('/page/:nr?', name('x'), { name: 'page' });
  const api = new Application().get('/items/:slug', name('x'), { name: 'item' });
  app.mount('/api', api);

  test.each([
    ['file', { id: 5, path: 'a b/c' }, undefined, '/users/5/files/a%20b/c'],
    ['page', {}, undefined, '/page'],
    ['page', { nr: 2 }, { q: ['a', 'b'], x: true }, '/page/2?q=a&q=b&x=true'],
    ['page', { nr: 2 }, '?a=b', '/page/2?a=b'],
  ])('%s %j %j', (route, params, query, expected) => {
    expect(app.urlFor(route, params as never, query as never)).toBe(expected);
  });

  test('of a mounted application has its prefix', () => {
    expect(api.urlFor('item', { slug: 'ä/b' })).toBe('/api/items/%C3%A4%2Fb');
  });

  test.each([
    ['an unknown name', (): string => app.urlFor('nothing')],
    ['a parameter that is missing', (): string => app.urlFor('file', { path: 'x' })],
    ['a parameter that does not fit', (): string => app.urlFor('file', { id: 'x', path: 'x' })],
  ])('refuses %s', (_what, call) => {
    expect(call).toThrow(TypeError);
  });

  test('a name can be given once', () => {
    expect(() => app.get('/other', name('x'), { name: 'page' })).toThrow(/already/);
  });
});

// covers: aiohttp/middlewares
describe('middlewares', () => {
  const mark =
    (text: string): Middleware =>
    async (_request, next) => {
      const response = await next();
      response.headers.append('x-way', text);
      return response;
    };

  runTest('run in the order of use, those of the route inside', async () => {
    const app = new Application({ middlewares: [mark('1')] }).use(mark('2'), mark('3'));
    app.get('/', name('x'), { middlewares: [mark('4')] });
    const response = await app.fetch(new Request('http://a/'));
    expect(response.headers.get('x-way')).toBe('4, 3, 2, 1');
  });

  runTest('run around what no route fits', async () => {
    const app = new Application().use(async (_request, next) => {
      try {
        return await next();
      } catch (error) {
        return new Response(`caught ${(error as HttpError).status}`);
      }
    });
    expect(await ask(app, '/x')).toBe('200 caught 404');
  });

  runTest('may answer without the handler, also at once', async () => {
    const app = new Application().use(() => new Response('closed', { status: 503 }));
    app.get('/', name('x'));
    expect(await ask(app, '/')).toBe('503 closed');
  });

  runTest('may throw an error that is a response', async () => {
    const app = new Application().use(() => {
      throw new HttpError(401, 'Who are you?', { headers: { 'www-authenticate': 'Basic' } });
    });
    const response = await app.fetch(new Request('http://a/'));
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Basic');
  });

  runTest('hand on values in the state of the request', async () => {
    const user = new Key<string>('user');
    const app = new Application().use((request, next) => {
      request.state.set(user, 'ada');
      return next();
    });
    app.get('/', (request) => new Response(request.state.get(user)));
    expect(await ask(app, '/')).toBe('200 ada');
  });

  runTest('see the parameters of the route', async () => {
    const app = new Application();
    app.use((request, next) =>
      'id' in request.params && request.params['id'] === '13' ? new Response('no') : next(),
    );
    app.get('/:id', name('x'));
    expect(await ask(app, '/13')).toBe('200 no');
  });

  test('must be functions', () => {
    expect(() => new Application().use({} as never)).toThrow(TypeError);
    expect(() => new Application().get('/', name('x'), { middlewares: [1 as never] })).toThrow(
      TypeError,
    );
  });
});

describe('normalizePath', () => {
  const cases: [Parameters<typeof normalizePath>[0], string, string][] = [
    [{}, '/users/', '308 /users'],
    [{}, '//users', '308 /users'],
    [{}, '/users///?a=b', '308 /users?a=b'],
    [{}, '/users', '200 '],
    [{}, '/nothing/', '404 '],
    [{ trailingSlash: 'add' }, '/dir', '308 /dir/'],
    [{ trailingSlash: 'add' }, '/users', '200 '],
    [{ trailingSlash: 'keep', mergeSlashes: false }, '/users/', '404 '],
    [{ mergeSlashes: false }, '/a//users', '404 '],
  ];
  for (const [options, path, expected] of cases) {
    runTest(`${JSON.stringify(options)} makes ${path} ${expected}`, async () => {
      const app = new Application().use(normalizePath(options));
      app.get('/users', name('x')).get('/dir/', name('x'));
      const response = await app.fetch(new Request(`http://a${path}`));
      expect(`${response.status} ${response.headers.get('location') ?? ''}`).toBe(expected);
    });
  }
});

// covers: aiohttp/http-exceptions
describe('errors', () => {
  const failing = (error: unknown): Application =>
    new Application().get('/', () => {
      throw error;
    });

  runTest('that are responses are sent', async () => {
    expect(await ask(failing(new HttpError(409, 'Taken')), '/')).toBe('409 Taken');
    const body = new HttpError(400, 'x', { body: '{"a":1}' });
    expect(await ask(failing(body), '/')).toBe('400 {"a":1}');
  });

  runTest('of other kinds are a 500 that says nothing, and are reported', async () => {
    const { getRunningLoop } = await import('../../lib/index.ts');
    const seen: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, { error }) => seen.push(error));
    const error = new Error('secret');
    expect(await ask(failing(error), '/')).toBe('500 Internal Server Error');
    expect(seen).toEqual([error]);
  });

  runTest('go to the handler of the nearest application around', async () => {
    const inner = failing(new Error('x'));
    const app = new Application().mount('/in', inner);
    app.onError((error) => new Response((error as Error).message, { status: 502 }));
    expect(await ask(app, '/in')).toBe('502 x');
    expect(await ask(app, '/none')).toBe('502 Not Found');
  });

  runTest('of the handler of errors count instead', async () => {
    const app = failing(new Error('x')).onError(() => {
      throw new HttpError(418);
    });
    expect(await ask(app, '/')).toBe("418 I'm a Teapot");
  });

  runTest('that a handler returns nothing is one', async () => {
    const { getRunningLoop } = await import('../../lib/index.ts');
    const seen: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, { error }) => seen.push(error));
    const app = new Application().get('/', (() => undefined) as never);
    expect(await ask(app, '/')).toBe('500 Internal Server Error');
    expect(seen[0]).toBeInstanceOf(TypeError);
  });

  test('have a status that is one of an error', () => {
    expect(() => new HttpError(200)).toThrow(RangeError);
    expect(new HttpError(404)).toMatchObject({ message: 'Not Found', code: 'ERR_UVIO_HTTP' });
    expect(new HttpError(400, 'x', { cause: 'y' }).cause).toBe('y');
  });

  runTest('notFound answers what no route fits, with any method', async () => {
    const app = new Application().get('/', name('x'));
    app.notFound((request) => new Response(`no ${request.path}`, { status: 404 }));
    expect(await ask(app, '/y')).toBe('404 no /y');
    expect(await ask(app, '/', { method: 'POST' })).toBe('404 no /');
  });
});

describe('mounting', () => {
  const sub = (): Application =>
    new Application().get('/', name('index')).get('/users/:id', name('user'));

  const cases: [string, string][] = [
    ['/api', '200 index {}'],
    ['/api/users/3', '200 user {"id":"3"}'],
    ['/api/none', '404 Not Found'],
    ['/apix', '404 Not Found'],
    ['/api/fixed', '200 fixed {}'],
  ];
  for (const [path, expected] of cases) {
    runTest(`${path} is ${expected}`, async () => {
      const app = new Application().mount('/api', sub());
      app.get('/api/fixed', name('fixed'));
      expect(await ask(app, path)).toBe(expected);
    });
  }

  runTest('keeps the path whole, and runs what is around', async () => {
    const inner = new Application().get('/x', (request) => new Response(request.path));
    const seen: string[] = [];
    const note =
      (text: string): Middleware =>
      (_request, next) => {
        seen.push(text);
        return next();
      };
    inner.use(note('inner'));
    const app = new Application().use(note('outer')).mount('/in', inner);
    expect(await ask(app, '/in/x')).toBe('200 /in/x');
    expect(seen).toEqual(['outer', 'inner']);
  });

  // covers: aiohttp/appkey
  runTest('request.app is the mounted application, with a state of its own', async () => {
    const key = new Key<string>('which');
    const inner = new Application();
    inner.state.set(key, 'inner');
    inner.get('/', (request) => new Response(request.app.state.get(key)));
    expect(await ask(new Application().mount('/in', inner), '/in')).toBe('200 inner');
    expect(() => new Application().state.get(key)).toThrow(/which/);
  });

  runTest('its own notFound answers below its prefix', async () => {
    const inner = sub().notFound(() => new Response('inner', { status: 404 }));
    const app = new Application().mount('/api', inner);
    expect(await ask(app, '/api/zzz')).toBe('404 inner');
    expect(await ask(app, '/zzz')).toBe('404 Not Found');
  });

  runTest('anything with fetch sees a URL without the prefix', async () => {
    const foreign = {
      fetch: async (request: Request): Promise<globalThis.Response> =>
        new globalThis.Response(`${request.method} ${request.url} ${await request.text()}`),
    };
    const app = new Application().mount('/old', foreign);
    expect(await ask(app, '/old/a?b=c', { method: 'POST', body: 'hi' })).toBe(
      '200 POST http://a/a?b=c hi',
    );
    expect(await ask(app, '/old')).toBe('200 GET http://a/ ');
  });

  test('on itself, twice, or of nothing is refused', () => {
    const app = new Application();
    expect(() => app.mount('/x', app)).toThrow(/itself/);
    const inner = sub();
    app.mount('/a', inner);
    expect(() => app.mount('/b', inner)).toThrow(/already/);
    expect(() => inner.mount('/c', app)).toThrow(/itself/);
    expect(() => app.mount('/d', {} as never)).toThrow(TypeError);
  });
});

// covers: aiohttp/on-startup
describe('life cycle', () => {
  runTest('start-up runs once, in order, before the first request', async () => {
    const seen: string[] = [];
    const inner = new Application().onStartup(() => void seen.push('inner'));
    const app = new Application().get('/', name('x')).mount('/in', inner);
    app.onStartup(async () => {
      await sleep(1);
      seen.push('start');
    });
    app.cleanupContext(async function* () {
      seen.push('context');
      yield;
    });
    await Promise.all([ask(app, '/'), ask(app, '/')]);
    expect(seen).toEqual(['context', 'start', 'inner']);
  });

  runTest('an error of start-up is that of fetch, and undoes what was begun', async () => {
    const seen: string[] = [];
    const app = new Application().onStartup(() => {
      throw new Error('no database');
    });
    app.cleanupContext(async function* () {
      yield;
      seen.push('undone');
    });
    expect((await failure(ask(app, '/'))).message).toBe('no database');
    expect(seen).toEqual(['undone']);
  });

  runTest('onResponse sees each response before it is sent', async () => {
    const app = new Application().get('/', name('x'));
    app.onResponse(async (request, response) => {
      await sleep(1);
      response.headers.set('x-seen', `${request.method} ${response.status}`);
    });
    const found = await app.fetch(new Request('http://a/'));
    expect(found.headers.get('x-seen')).toBe('GET 200');
    const missing = await app.fetch(new Request('http://a/none'));
    expect(missing.headers.get('x-seen')).toBe('GET 404');
  });

  runTest('a handler runs in a task of its own', async () => {
    const own = currentTask();
    let seen: unknown = null;
    const app = new Application().get('/', () => {
      seen = currentTask();
      return new Response('x');
    });
    await ask(app, '/');
    expect(seen).not.toBeNull();
    expect(seen).not.toBe(own);
  });

  runTest('fetch takes Requests only, and a failed body is its error', async () => {
    const app = new Application().get(
      '/',
      () =>
        new Response(() => {
          throw new Error('half');
        }),
    );
    expect(await failure(app.fetch('http://a/' as never))).toBeInstanceOf(TypeError);
    const { getRunningLoop } = await import('../../lib/index.ts');
    getRunningLoop().setExceptionHandler(() => {});
    const response = await app.fetch(new Request('http://a/'));
    expect(await failure(response.text())).toBeInstanceOf(Error);
  });
});
