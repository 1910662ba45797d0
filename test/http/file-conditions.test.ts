/** Files as responses: conditions, forms and links. Run on every policy. */
import fs, {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { Application, fileResponse } from '../../lib/http/index.ts';
import { getRunningLoop } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { exchangeRaw, statusesOf, withHandler, withServer } from './support.ts';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'uvio-files-'));
  mkdirSync(join(folder, 'root'));
  writeFileSync(join(folder, 'root', 'a.js'), '0123456789');
  writeFileSync(join(folder, 'root', 'b.js'), 'plain');
  writeFileSync(join(folder, 'root', 'c.js'), 'plain');
  writeFileSync(join(folder, 'root', 'packed'), 'packed');
  writeFileSync(join(folder, 'outside'), 'secret');
  symlinkSync(join(folder, 'outside'), join(folder, 'root', 'b.js.gz'));
  symlinkSync(join(folder, 'root', 'packed'), join(folder, 'root', 'c.js.gz'));
});

afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string): string => join(folder, 'root', name);

runTest('what is no success is given whatever the conditions', () =>
  withHandler(
    () => fileResponse(file('a.js'), { status: 404 }),
    async (url) => {
      const headers = { 'if-none-match': '*', 'if-modified-since': new Date().toUTCString() };
      const response = await fetch(url, { headers });
      expect([response.status, await response.text()]).toEqual([404, '0123456789']);
    },
  ),
);

runTest('a comma in a tag belongs to it', () =>
  withHandler(
    () => fileResponse(file('a.js'), { headers: { etag: '"a,b"' } }),
    async (url) => {
      const statusFor = async (tags: string): Promise<number> =>
        (await fetch(url, { headers: { 'if-none-match': tags } })).status;
      expect(await statusFor('"x", W/"a,b"')).toBe(304);
      expect(await statusFor('"a", "b"')).toBe(200);
    },
  ),
);

runTest('parts have a boundary of at most 70 characters', () =>
  withHandler(
    () => fileResponse(file('a.js'), { headers: { etag: `"${'f'.repeat(64)}"` } }),
    async (url) => {
      const response = await fetch(url, { headers: { range: 'bytes=0-1,3-4' } });
      const [, boundary = ''] = response.headers.get('content-type')?.split('boundary=') ?? [];
      expect(boundary.length).toBeLessThanOrEqual(70);
      expect((await response.text()).split(`--${boundary}`)).toHaveLength(4);
    },
  ),
);

runTest('HEAD says of a small file what GET says', () =>
  withHandler(
    () => fileResponse(file('a.js'), { compress: true }),
    async (url) => {
      const said: unknown[] = [];
      for (const method of ['GET', 'HEAD']) {
        const { headers } = await fetch(url, { method, headers: { 'accept-encoding': 'gzip' } });
        const names = ['content-length', 'content-encoding', 'etag', 'vary'];
        said.push(names.map((name) => headers.get(name)));
      }
      expect(said[1]).toEqual(said[0]);
    },
  ),
);

// CVE-2024-23334
runTest('an encoded form that is a link out of the directory is not there', () =>
  withServer(new Application().static('/', join(folder, 'root')), async (url) => {
    const packed = async (path: string): Promise<string | null> => {
      const response = await fetch(`${url}${path}`, {
        headers: { 'accept-encoding': 'gzip' },
      }).then(async (one) => {
        await one.body?.cancel().catch(() => {});
        return one;
      });
      return response.headers.get('content-encoding');
    };
    expect([await packed('/b.js'), await packed('/c.js')]).toEqual([null, 'gzip']);
  }),
);

/** While `test` runs, `hook` runs behind each look at a file of that name. */
async function withStat(
  name: string,
  hook: (path: string) => void,
  test: () => Promise<void>,
): Promise<void> {
  const { stat } = fs.promises;
  const hooked = async (path: string): Promise<unknown> => {
    const stats = await stat(path);
    if (path.endsWith(name)) hook(path);
    return stats;
  };
  fs.promises.stat = hooked as never;
  syncBuiltinESMExports();
  try {
    await test();
  } finally {
    fs.promises.stat = stat;
    syncBuiltinESMExports();
  }
}

for (const size of [1_000, 200_000]) {
  runTest(
    `a file of ${size} bytes that is replaced just then is never cut to the other's length`,
    () => {
      const path = file(`swapped-${size}`);
      const put = (letter: string, bytes: number): void => {
        writeFileSync(`${path}.new`, letter.repeat(bytes));
        renameSync(`${path}.new`, path);
      };
      put('a', size);
      // Clocks of file systems are coarse.
      utimesSync(path, 1, 1);
      let swaps = 1;
      const swap = (): void => {
        if (swaps-- > 0) put('b', 2 * size + swaps);
      };
      getRunningLoop().setExceptionHandler(() => {});
      return withStat(`swapped-${size}`, swap, () =>
        withHandler(
          () => fileResponse(path),
          async (_url, server) => {
            const ask = (): Promise<string> =>
              exchangeRaw(server.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
            const answer = await ask();
            if (size === 1_000) {
              expect(answer.split('\r\n\r\n')[1]).toBe('b'.repeat(2_000));
              expect(answer).toMatch(/etag: "7d0-/);
            } else {
              // Its head may have gone out: nothing follows it.
              expect(answer).not.toContain('bb');
            }
            expect((await ask()).split('\r\n\r\n')[1]).toBe('b'.repeat(2 * size));
            // Under one name a new one each time.
            swaps = size === 1_000 ? 100 : 0;
            expect(statusesOf(await ask())).toEqual([size === 1_000 ? 503 : 200]);
          },
        ),
      );
    },
  );
}

runTest(
  'a file that cannot be looked at for want of descriptors is not called missing',
  async () => {
    const reports: unknown[] = [];
    getRunningLoop().setExceptionHandler((_loop, { error }) => reports.push(error));
    const fault = Object.assign(new Error('EMFILE: too many open files'), {
      code: 'EMFILE',
      syscall: 'stat',
    });
    const app = new Application().static('/files', join(folder, 'root'));
    app.get('/one', () => fileResponse(file('a.js')));
    const fail = (): never => {
      throw fault;
    };
    await withStat('a.js', fail, () =>
      withServer(app, async (url) => {
        expect((await fetch(`${url}/one`)).status).toBe(500);
        expect((await fetch(`${url}/files/a.js`)).status).toBe(500);
        expect((await fetch(`${url}/files/none.js`)).status).toBe(404);
      }),
    );
    expect(reports).toEqual([fault, fault]);
  },
);

runTest('ranges with numbers of any length', () =>
  withHandler(
    () => fileResponse(file('a.js')),
    async (url) => {
      const cases = [
        ['bytes=5-99999999999999999999', 206, '56789'],
        ['bytes=-99999999999999999999', 206, '0123456789'],
        ['bytes=99999999999999999999-', 416, ''],
      ] as const;
      for (const [range, status, body] of cases) {
        const response = await fetch(url, { headers: { range } });
        expect([range, response.status, await response.text()]).toEqual([range, status, body]);
      }
    },
  ),
);
