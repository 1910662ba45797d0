import { openAsBlob } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formBlob } from '../../lib/http/form-body.ts';
import { Application, Response } from '../../lib/http/index.ts';
import { getRunningLoop, sleep } from '../../lib/index.ts';
import { openFiles } from '../fs/support.ts';
import { realTimeTest, runTest } from '../task/support.ts';
import { withSession } from './client-support.ts';
import { withHandler, withServer } from './support.ts';

describe('a form that is sent', () => {
  // CVE-2026-34514, CVE-2026-50269: line ends in the headers of parts.
  test('is read by the Web as it was made', async () => {
    const form = new FormData();
    form.append('a "b"\r\nc', 'one\ntwo\rthree\r\n');
    form.append('file', new Blob(['\0\r\n--'], { type: 'text/x' }), 'ä "q".txt');
    form.append('file', new Blob([]));
    const blob = formBlob(form);
    const text = await blob.text();
    expect(text).toContain('name="a %22b%22%0D%0Ac"\r\n\r\none\r\ntwo\r\nthree\r\n\r\n--');
    const read = await new globalThis.Response(blob).formData();
    const [file, empty] = read.getAll('file') as File[];
    expect([file?.name, file?.type, await file?.text()]).toEqual([
      'ä "q".txt',
      'text/x',
      '\0\r\n--',
    ]);
    expect([empty?.name, empty?.type, empty?.size]).toEqual([
      'blob',
      'application/octet-stream',
      0,
    ]);
  });

  runTest('has its length, and is sent again where it may be', async () => {
    const form = new FormData();
    form.append('file', new Blob(['x'.repeat(100_000)]), 'x');
    let calls = 0;
    const app = new Application()
      .post('/', () => Response.redirect('/to', 307))
      .post('/to', async (request) => {
        calls++;
        const bytes = await request.bytes();
        return Response.json([request.headers.get('content-length'), bytes.length]);
      });
    await withServer(app, (url) =>
      withSession({}, async (session) => {
        const [declared, got] = await session.post(url, { body: form }).json();
        expect(got).toBeGreaterThan(100_000);
        expect(declared).toBe(String(got));
        expect(calls).toBe(1);
      }),
    );
    // The first request was answered early: its task ends with the read of the form that it is in.
    for (let i = 0; i < 1_000 && getRunningLoop().metrics().tasks > 1; i++) await sleep(1);
  });

  // On Node 22 to 26 undici's stream of a form ends the process when it is left in a read.
  runTest('may be left in the middle', () => {
    const form = new FormData();
    form.append('file', new Blob([new Uint8Array(8_000_000)]), 'x');
    return withHandler(
      () => new Response('enough', { status: 413 }),
      (url) =>
        withSession({}, async (session) => {
          for (let i = 0; i < 5; i++) {
            expect(await session.post(url, { body: form }).text()).toBe('enough');
          }
        }),
    );
  });

  // Until the garbage was collected, a Blob of Node that is left in the middle kept its file open.
  realTimeTest('of a file, given up in the middle, leaves it closed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'uvio-form-'));
    const path = join(folder, 'large');
    await writeFile(path, Buffer.alloc(8_000_000));
    const file = await openAsBlob(path);
    const form = new FormData();
    form.append('file', file, 'large');
    const app = new Application({ maxBodyBytes: 20_000_000 })
      .post('/', () => new Response('enough', { status: 413 }))
      .post('/all', async (request) => new Response(String((await request.bytes()).length)))
      .get('/', () => new Response(file));
    await withServer(app, (url) =>
      withSession({}, async (session) => {
        for (const body of [form, file]) {
          expect(await session.post(url, { body }).text()).toBe('enough');
          expect(Number(await session.post(`${url}/all`, { body }).text())).toBeGreaterThan(7e6);
        }
        await using response = await session.get(url);
        await response.reader.readExactly(10);
      }),
    );
    for (let i = 0; i < 1_000 && openFiles(folder).length > 0; i++) await sleep(1);
    expect(openFiles(folder)).toEqual([]);
    for (let i = 0; i < 1_000 && getRunningLoop().metrics().tasks > 1; i++) await sleep(1);
    await rm(folder, { recursive: true });
  });
});
