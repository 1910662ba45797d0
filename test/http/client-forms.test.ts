import { describe, expect, test } from 'vitest';
import { formBlob } from '../../lib/http/form-body.ts';
import { Application, Response } from '../../lib/http/index.ts';
import { getRunningLoop, sleep } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
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
});
