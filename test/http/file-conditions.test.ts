/** Files as responses: conditions, forms and links. Run on every policy. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { Application, fileResponse } from '../../lib/http/index.ts';
import { runTest } from '../task/support.ts';
import { withHandler, withServer } from './support.ts';

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
