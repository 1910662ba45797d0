/** Requests and responses as handlers and clients see them. */
import { describe, expect, test } from 'vitest';
import { type Handler, HttpError, type HttpRequest, Response } from '../../lib/http/index.ts';
import { sleep } from '../../lib/index.ts';
import { failure, runTest } from '../task/support.ts';
import { appOf, fetchOf } from './support.ts';

async function seenBy<T>(
  look: (request: HttpRequest) => T | Promise<T>,
  init?: RequestInit,
): Promise<T> {
  let seen: T | undefined;
  const response = await fetchOf(async (request) => {
    seen = await look(request);
    return new Response('x');
  }, init);
  expect(response.status).toBe(200);
  return seen as T;
}

const body = (text: string | Uint8Array, type = 'text/plain'): RequestInit => ({
  method: 'POST',
  body: text as never,
  headers: { 'content-type': type },
});

// covers: aiohttp/request
describe('a request', () => {
  const cases: [string, (request: HttpRequest) => unknown, RequestInit | undefined, unknown][] = [
    ['url', (r) => r.url, undefined, 'http://host:81/p?a=1&a=2&b='],
    ['path', (r) => r.path, undefined, '/p'],
    ['method', (r) => r.method, { method: 'PUT' }, 'PUT'],
    [
      'query',
      (r) => [...r.query],
      undefined,
      [
        ['a', '1'],
        ['a', '2'],
        ['b', ''],
      ],
    ],
    [
      'a header, whatever its case',
      (r) => r.headers.get('X-One'),
      { headers: { 'x-one': '1' } },
      '1',
    ],
    ['no header', (r) => r.headers.get('x-none'), undefined, null],
    [
      'cookies',
      (r) => [...r.cookies],
      { headers: { cookie: 'a=1; b="2"; c=%20; a=9; d' } },
      [
        ['a', '1'],
        ['b', '2'],
        ['c', ' '],
      ],
    ],
    ['no cookies', (r) => r.cookies.size, undefined, 0],
    ['httpVersion', (r) => r.httpVersion, undefined, '1.1'],
    ['secure', (r) => r.secure, undefined, false],
    ['text', (r) => r.text(), body('häl'), 'häl'],
    ['text without a mark at its start', (r) => r.text(), body('\ufeffx'), 'x'],
    ['json', (r) => r.json(), body('{"a":[1]}'), { a: [1] }],
    ['bytes', async (r) => [...(await r.bytes())], body(new Uint8Array([0, 255])), [0, 255]],
    ['arrayBuffer', async (r) => (await r.arrayBuffer()).byteLength, body('abc'), 3],
    [
      'blob',
      async (r) => {
        const blob = await r.blob();
        return [blob.size, blob.type];
      },
      body('abc', 'a/b'),
      [3, 'a/b'],
    ],
    [
      'a form',
      async (r) => [...(await r.formData())],
      body('a=1&b=%C3%A4&a=2', 'application/x-www-form-urlencoded'),
      [
        ['a', '1'],
        ['b', 'ä'],
        ['a', '2'],
      ],
    ],
    ['no body', async (r) => [r.body, await r.text()], { method: 'POST' }, [null, '']],
    [
      'lines of the reader',
      async (r) => {
        const lines: string[] = [];
        for await (const line of r.reader.lines()) lines.push(line);
        return lines;
      },
      body('a\nb\r\nc'),
      ['a', 'b', 'c'],
    ],
    [
      'parts of the reader',
      async (r) => [
        String(await r.reader.readExactly(2)),
        String(await r.reader.readUntil(';')),
        r.reader.atEof,
      ],
      body('abc;'),
      ['ab', 'c;', true],
    ],
    [
      'the Web stream of its body',
      async (r) => {
        let text = '';
        for await (const chunk of r.body as never as AsyncIterable<Uint8Array>)
          text += Buffer.from(chunk).toString();
        return text;
      },
      body('stream'),
      'stream',
    ],
    [
      'toWeb',
      async (r) => {
        const web = r.toWeb();
        return [web instanceof Request, web.url, web.headers.get('content-type'), await web.text()];
      },
      body('web'),
      [true, 'http://host:81/p?a=1&a=2&b=', 'text/plain', 'web'],
    ],
    [
      'bodyUsed',
      async (r) => {
        const before = r.bodyUsed;
        await r.text();
        return [before, r.bodyUsed];
      },
      body('x'),
      [false, true],
    ],
    [
      'what a Web Request has',
      (r) => [r.cache, r.mode, r.redirect, r.keepalive, Object.prototype.toString.call(r)],
      undefined,
      ['default', 'cors', 'follow', false, '[object Request]'],
    ],
  ];
  for (const [title, look, init, expected] of cases) {
    runTest(`has ${title}`, async () => {
      expect(await seenBy(look, init)).toEqual(expected);
    });
  }

  runTest('gives its body once', async () => {
    const error = await seenBy(async (request) => {
      await request.text();
      return await failure(request.json());
    }, body('x'));
    expect(error).toBeInstanceOf(TypeError);
  });

  runTest('cannot be cloned', async () => {
    expect(await seenBy((request) => failure(() => request.clone()))).toMatchObject({
      code: 'ENOTSUP',
    });
  });

  const refused: [string, Handler, RequestInit, number][] = [
    ['JSON that is none', async (r) => Response.json(await r.json()), body('{'), 400],
    [
      'a form of another type',
      async (r) => new Response(String(await r.formData())),
      body('x'),
      415,
    ],
    [
      'a multipart body without a boundary',
      async (r) => new Response(String(await r.formData())),
      body('x', 'multipart/form-data'),
      400,
    ],
    [
      'a multipart body that ends early',
      async (r) => new Response(String(await r.formData())),
      body(
        '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nv',
        'multipart/form-data; boundary=x',
      ),
      400,
    ],
  ];
  for (const [title, handler, init, status] of refused) {
    runTest(`${title} is a ${status}`, async () => {
      expect((await fetchOf(handler, init)).status).toBe(status);
    });
  }

  runTest('larger than the limit is a 413, however it is read', async () => {
    for (const read of [
      (r: HttpRequest) => r.text(),
      (r: HttpRequest) => r.reader.readAll(),
      (r: HttpRequest) => r.reader.readExactly(60),
      async (r: HttpRequest) => {
        for await (const _ of r.reader) await sleep(0);
      },
    ]) {
      const app = appOf(async (request) => {
        await read(request);
        return new Response('read');
      }, 50);
      const response = await app.fetch(new Request('http://a/', body('x'.repeat(100))));
      expect(response.status).toBe(413);
    }
  });

  runTest('of the exact size of the limit is taken', async () => {
    const app = appOf(async (request) => new Response(await request.text()), 50);
    const response = await app.fetch(new Request('http://a/', body('x'.repeat(50))));
    expect(response.status).toBe(200);
  });
});

// covers: aiohttp/formdata
describe('multipart', () => {
  const form = (): RequestInit => {
    const data = new FormData();
    data.append('title', 'Ä "b"');
    data.append('file', new Blob(['content\r\n--'], { type: 'text/x' }), 'ä b.txt');
    data.append('empty', '');
    return { method: 'POST', body: data };
  };

  runTest('as a form has fields and files', async () => {
    const entries = await seenBy(async (request) => {
      const found: unknown[] = [];
      for (const [key, value] of await request.formData()) {
        found.push([
          key,
          typeof value === 'string' ? value : [value.name, value.type, await value.text()],
        ]);
      }
      return found;
    }, form());
    expect(entries).toEqual([
      ['title', 'Ä "b"'],
      ['file', ['ä b.txt', 'text/x', 'content\r\n--']],
      ['empty', ''],
    ]);
  });

  runTest('gives part after part; one that is not read is skipped', async () => {
    const names = await seenBy(async (request) => {
      const found: unknown[] = [];
      for await (const part of request.multipart()) {
        found.push([part.name, part.filename, part.headers.get('content-type')]);
      }
      return found;
    }, form());
    expect(names).toEqual([
      ['title', null, null],
      ['file', 'ä b.txt', 'text/x'],
      ['empty', null, null],
    ]);
  });

  runTest('a large part comes in pieces', async () => {
    const data = new FormData();
    data.append('big', new Blob([new Uint8Array(300_000)]), '../../etc/passwd');
    const seen: unknown[] = [];
    const app = appOf(async (request) => {
      for await (const part of request.multipart()) {
        let bytes = 0;
        let chunks = 0;
        for await (const chunk of part) {
          bytes += chunk.length;
          chunks++;
        }
        seen.push(bytes, chunks >= 1, part.filename);
      }
      return new Response('x');
    });
    await app.fetch(new Request('http://a/', { method: 'POST', body: data }));
    expect(seen).toEqual([300_000, true, 'passwd']);
  });

  runTest('with a bad header before a good part in one chunk is refused', async () => {
    // What stood behind the failure was given to a reader that waited for ever.
    const parts =
      '--x\r\nn:\x1e\r\n\r\n\r\n--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb';
    const handler: Handler = async (request) => new Response(String(await request.formData()));
    const response = await fetchOf(
      handler,
      body(`${parts}\r\n--x--`, 'multipart/form-data; boundary=x'),
    );
    expect(response.status).toBe(400);
  });

  runTest('has a limit of parts', async () => {
    const parts = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n'.repeat(1_100);
    const handler: Handler = async (request) => new Response(String(await request.formData()));
    const response = await fetchOf(
      handler,
      body(`${parts}--x--`, 'multipart/form-data; boundary=x'),
    );
    expect(response.status).toBe(413);
  });
});

// covers: aiohttp/response
describe('a response', () => {
  const of = async (make: () => Response): Promise<unknown[]> => {
    const response = await fetchOf(make);
    return [response.status, response.headers.get('content-type'), await response.text()];
  };
  const cases: [string, () => Response, unknown[]][] = [
    ['a string', () => new Response('hä'), [200, 'text/plain;charset=UTF-8', 'hä']],
    ['bytes', () => new Response(new Uint8Array([65])), [200, null, 'A']],
    ['nothing', () => new Response(), [200, null, '']],
    ['null and a status', () => new Response(null, { status: 204 }), [204, null, '']],
    ['a blob', () => new Response(new Blob(['b'], { type: 'x/y' })), [200, 'x/y', 'b']],
    [
      'search parameters',
      () => new Response(new URLSearchParams({ a: 'ä' })),
      [200, 'application/x-www-form-urlencoded;charset=UTF-8', 'a=%C3%A4'],
    ],
    ['a Web stream', () => new Response(new Blob(['st']).stream() as never), [200, null, 'st']],
    ['an iterable', () => new Response(['a', Buffer.from('b')]), [200, null, 'ab']],
    [
      'an async iterable',
      () =>
        new Response(
          (async function* () {
            yield 'a';
            await sleep(1);
            yield 'b';
          })(),
        ),
      [200, null, 'ab'],
    ],
    [
      'a function',
      () =>
        new Response(async (writer) => {
          await writer.write('a');
          await writer.writeLines(['b', 'c']);
        }),
      [200, null, 'abc'],
    ],
    ['JSON', () => Response.json({ a: 1 }), [200, 'application/json', '{"a":1}']],
    [
      'JSON with an init',
      () => Response.json([], { status: 201, headers: { 'content-type': 'x/json' } }),
      [201, 'x/json', '[]'],
    ],
    [
      'a type of its own',
      () => new Response('<p>', { headers: { 'Content-Type': 'text/html' } }),
      [200, 'text/html', '<p>'],
    ],
    ['a redirect', () => Response.redirect('/x', 303), [303, null, '']],
  ];
  for (const [title, make, expected] of cases) {
    runTest(`of ${title}`, async () => {
      expect(await of(make)).toEqual(expected);
    });
  }

  runTest('of a form can be read as one', async () => {
    const data = new FormData();
    data.append('a', 'b');
    const response = await fetchOf(() => new Response(data));
    expect([...(await response.formData())]).toEqual([['a', 'b']]);
  });

  runTest('of the Web is taken, too', async () => {
    const response = await fetchOf(
      () =>
        new globalThis.Response('web', {
          status: 202,
          headers: [
            ['set-cookie', 'a=1'],
            ['set-cookie', 'b=2'],
          ],
        }),
    );
    expect([response.status, await response.text()]).toEqual([202, 'web']);
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  });

  // CVE-2018-12116, CVE-2016-2216, CVE-2026-34519: line ends in what is sent.
  test('redirects to what cannot leave its header', () => {
    const location = (url: string): string | null => Response.redirect(url).headers.get('location');
    expect(location('/ä b?x=%20')).toBe('/%C3%A4%20b?x=%20');
    expect(() => location('/a\r\nx: y')).toThrow(TypeError);
    expect(Response.redirect(new URL('http://a/')).status).toBe(302);
    expect(() => Response.redirect('/', 200)).toThrow(RangeError);
  });

  test('sets and deletes cookies', () => {
    const response = new Response('x');
    response.setCookie('a', 'b c;', {
      httpOnly: true,
      secure: true,
      sameSite: 'Lax',
      maxAgeSeconds: 5,
      path: '/',
    });
    response.deleteCookie('b', { path: '/x' });
    expect(response.headers.getSetCookie()).toEqual([
      'a=b%20c%3B; Max-Age=5; Path=/; HttpOnly; Secure; SameSite=Lax',
      'b=; Max-Age=0; Path=/x; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
    ]);
    expect(response.headers.get('content-type')).toBe('text/plain;charset=UTF-8');
    expect(() => response.setCookie('a b', 'x')).toThrow(TypeError);
    expect(() => response.setCookie('a', 'x', { path: '/\r\nx' })).toThrow(TypeError);
  });

  test.each([
    ['a status that is none', (): unknown => new Response('x', { status: 99 }), RangeError],
    ['a status of its own', (): unknown => new Response('x', { status: 700 }), RangeError],
    ['a body where none may be', (): unknown => new Response('x', { status: 204 }), TypeError],
    [
      'a line end in a header',
      (): unknown => new Response('x', { headers: { a: 'b\r\nc: d' } }),
      TypeError,
    ],
    [
      'a name that is no token',
      (): unknown => new Response('x', { headers: { 'a b': 'c' } }),
      TypeError,
    ],
    [
      'a character beyond Latin-1',
      (): unknown => new Response('x', { headers: { a: '€' } }),
      TypeError,
    ],
    [
      'a line end in the reason',
      (): unknown => new Response('x', { statusText: 'a\r\nb' }),
      TypeError,
    ],
    ['a body of no kind', (): unknown => new Response(5 as never), TypeError],
    ['JSON of nothing', (): unknown => Response.json(undefined), TypeError],
  ] as const)('%s is refused', (_what, make, kind) => {
    expect(make).toThrow(kind);
  });

  runTest('has the readers of the Web', async () => {
    expect(await new Response('a').text()).toBe('a');
    expect(await Response.json({ a: 1 }).json()).toEqual({ a: 1 });
    expect((await new Response('abc').arrayBuffer()).byteLength).toBe(3);
    const used = new Response('a');
    await used.text();
    expect(used.bodyUsed).toBe(true);
    expect(await failure(used.text())).toBeInstanceOf(TypeError);
    const stream = new Response(async (writer) => await writer.write('fn')).body;
    expect(await new globalThis.Response(stream as never).text()).toBe('fn');
    expect(new Response().body).toBeNull();
    expect(new Response('x').ok).toBe(true);
  });
});

test('an HttpError makes a response', async () => {
  const response = new HttpError(404, 'Gone?', { headers: { 'x-a': 'b' } }).toResponse();
  expect([response.status, response.headers.get('x-a'), await response.text()]).toEqual([
    404,
    'b',
    'Gone?',
  ]);
});
