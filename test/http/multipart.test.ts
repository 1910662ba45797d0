/** What multipart bodies are read as, or refused for, however they come. */
import { describe, expect } from 'vitest';
import { checkHeaderValue } from '../../lib/http/headers.ts';
import { Response } from '../../lib/http/index.ts';
import { parseParameters } from '../../lib/http/parameters.ts';
import { runTest } from '../task/support.ts';
import { cuts, randomOf } from './fuzz/engine.ts';
import { appOf } from './support.ts';

const type = 'multipart/form-data; boundary=xx';
const part = (disposition: string, more = '') =>
  `--xx\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\nv\r\n`;
const good = part('name=a');

/** The status for each delivery, and what was read. */
async function verdicts(text: string, contentType = type): Promise<string[]> {
  const app = appOf(async (request) => {
    const found: unknown[] = [];
    for (const [name, value] of await request.formData()) {
      found.push(typeof value === 'string' ? [name, value] : [name, value.name]);
    }
    return new Response(JSON.stringify(found));
  });
  const seen = new Set<string>();
  const all = cuts(text, randomOf(7));
  // Single bytes, where they are not too many.
  for (const pieces of text.length < 2_000 ? all : ([all[0], all[2]] as Buffer[][])) {
    const body = new ReadableStream({
      pull(controller) {
        const piece = pieces.shift();
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
    });
    const headers = { 'content-type': contentType };
    const init = { method: 'POST', body, headers, duplex: 'half' } as RequestInit;
    const response = await app.fetch(new Request('http://a/', init));
    seen.add(`${response.status} ${response.ok ? await response.text() : ''}`.trim());
  }
  return [...seen];
}

// covers: aiohttp/formdata
// CVE-2024-30251, CVE-2025-69227, CVE-2025-69228, CVE-2026-34516, CVE-2026-34517
describe('a multipart body', () => {
  const read: [string, string, unknown][] = [
    ['has a preamble and an epilogue', `one\r\n${good}--xx--\r\ntwo --xx`, [['a', 'v']]],
    ['has padding behind boundaries', `${good.replace('\r\n', ' \t\r\n')}--xx--  `, [['a', 'v']]],
    ['has no parts', '--xx--', []],
    [
      'has a part without bytes and without a line for them',
      '--xx\r\nContent-Disposition: form-data; name=a\r\n\r\n--xx--',
      [['a', '']],
    ],
    [
      'has a folded header',
      `${part('name=a;\r\n filename="f g"', 'X: y\r\n')}--xx--`,
      [['a', 'f g']],
    ],
    ['has an escaped quote', `${part('name="q\\"x\\y"')}--xx--`, [['q"x\\y', 'v']]],
    ['has plain UTF-8', `${part('name=\xc3\xa0; filename=\xc3\xa0.b')}--xx--`, [['à', 'à.b']]],
    [
      'has control characters in a coded filename',
      `${part("name=a; filename=b; filename*=UTF-8''c%0d%0ad")}--xx--`,
      [['a', 'b']],
    ],
    [
      'nearly has a boundary',
      `${part('name=a').replace('v', '\r\r\n--x\r\n-')}--xx--`,
      [['a', '\r\r\n--x\r\n-']],
    ],
  ];
  for (const [title, text, wanted] of read) {
    runTest(`that ${title} is read`, async () => {
      expect(await verdicts(text)).toEqual([`200 ${JSON.stringify(wanted)}`]);
    });
  }

  const refused: [string, string, number?][] = [
    ['has a backslash before a closing quote', `${part('name="q\\"')}--xx--`],
    ['has two filenames', `${part('name=a; filename=b; filename=c')}--xx--`],
    ['has two names', `${part('name=a; NAME=b')}--xx--`],
    ['lacks a semicolon', `${part('name="a" filename="b"')}--xx--`],
    ['has an empty plain value', `${part('name=')}--xx--`],
    ['has two dispositions', `${part('name=a', 'content-disposition: form-data\r\n')}--xx--`],
    ['has one dash behind a boundary', `${good}--xx-\r\n--xx\r\n;:--xx--`],
    ['has something behind a boundary', `${good}--xxy\r\n${good}--xx--`],
    ['has something behind the last boundary', `${good}--xx--y`],
    ['has a long line at a boundary', `${good}--xx--${' '.repeat(200)}\r\n`],
    ['has a boundary in a head', `--xx\r\nContent-Disposition: form-data\r\n${good}--xx--`],
    ['has a header without a colon', `${part('name=a', 'none\r\n')}--xx--`],
    ['has a header without a name', `${part('name=a', ': x\r\n')}--xx--`],
    ['has a blank before a colon', `${part('name=a', 'x : y\r\n')}--xx--`],
    ['has a bare line end in a head', `${part('name=a', 'x: y\nz: y\r\n')}--xx--`],
    ['begins a head with a fold', `--xx\r\n ${good.slice(6)}--xx--`],
    ['has no end', good],
    ['has half an end', `${good}--xx-`],
    ['is empty', ''],
    ['has a large head', `${part('name=a', `x: ${'y'.repeat(17_000)}\r\n`)}--xx--`, 413],
    ['has a head without an end', `--xx\r\nx: ${'y'.repeat(17_000)}`, 413],
    ['has many headers in a part', `${part('name=a', 'x: y\r\n'.repeat(40))}--xx--`, 413],
  ];
  for (const [title, text, status = 400] of refused) {
    runTest(`that ${title} is refused`, async () => {
      expect(await verdicts(text)).toEqual([String(status)]);
    });
  }

  for (const end of ['boundary=xx; boundary=yy', 'boundary="xx', 'boundary="xx "']) {
    runTest(`of a type with ${end} is refused`, async () => {
      expect(await verdicts(`${good}--xx--`, `multipart/form-data; ${end}`)).toEqual(['400']);
    });
  }

  runTest('with long runs of blanks costs no more than its bytes', () => {
    const blanks = ' '.repeat(1_000_000);
    const before = process.cpuUsage().user;
    expect(parseParameters(`form-data;${blanks}x`)).toBe(null);
    expect(parseParameters(`form-data;${blanks}x=y${blanks};${blanks}z`)).toBe(null);
    expect(checkHeaderValue('x', ` a${blanks}b `)).toBe(`a${blanks}b`);
    // With backtracking: minutes.
    expect(process.cpuUsage().user - before).toBeLessThan(2_000_000);
  });
});
