/**
 * Multipart bodies: what undici and we both take has the same entries, and neither that nor a
 * refusal depends on how the bytes were cut.
 */
import { Response } from 'undici';
import { readForm } from '../../../lib/http/forms.ts';
import { HttpError } from '../../../lib/http/http-error.ts';
import { MultipartLoop } from '../../../lib/http/multipart.ts';
import type { ByteReader } from '../../../lib/io/net-types.ts';
import { cuts, type Outcome, type Random, type Target } from './engine.ts';

const type = 'multipart/form-data; boundary=xx';

function part(disposition: string, body: string, more = ''): string {
  return `--xx\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\n${body}\r\n`;
}

const seeds: readonly string[] = [
  `${part('name="a"', '1')}--xx--\r\n`,
  part('name="a"', 'x\r\n--xy') +
    part('name="f"; filename="\xc3\xb6.txt"', '\0\xff', 'Content-Type: a/b\r\n') +
    '--xx--',
  `preamble\r\n${part("name=b; filename*=UTF-8''%C3%A4", '')}--xx--\r\nepilogue`,
  `${part('name="q\\"%22"', '--', 'X-Own: 1\r\n')}--xx--\r\n`,
  '--xx--\r\n',
];

const words: readonly string[] = [
  ...[
    '--xx',
    '--xx--',
    '\r\n--xx\r\n',
    '\r\n',
    '\r',
    '\n',
    '--',
    '"',
    '\\',
    ';',
    ':',
    '=',
    ' ',
    '\t',
  ],
  ...['Content-Disposition: form-data; name="z"\r\n\r\n', 'filename="/a/b"', 'filename="..\\c"'],
  ...["filename*=UTF-8''%ff", 'Content-Type: text/plain\r\n', '\0', '\xff', '%0d%0a', '__proto__'],
];

type Entry = readonly [name: string, value: string, filename?: string];

interface Seen {
  readonly entries: readonly Entry[];
  readonly refusal: string;
}

/** What a request's body is, as far as forms need it. */
function readerOf(pieces: readonly Buffer[]): ByteReader {
  const left = [...pieces];
  return { read: async () => left.shift() ?? null } as unknown as ByteReader;
}

async function entriesOf(form: Iterable<[string, unknown]>): Promise<Entry[]> {
  const found: Entry[] = [];
  for (const [name, value] of form) {
    if (typeof value === 'string') found.push([name, value]);
    else {
      const file = value as File;
      found.push([name, Buffer.from(await file.arrayBuffer()).toString('latin1'), file.name]);
    }
  }
  return found;
}

async function ours(pieces: readonly Buffer[]): Promise<Seen> {
  const source = {
    headers: new Headers({ 'content-type': type }),
    text: () => Promise.reject(new Error('no text is asked for')),
    multipart: () => new MultipartLoop(readerOf(pieces), type),
  };
  try {
    return { entries: await entriesOf(await readForm(source)), refusal: '' };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return { entries: [], refusal: String(error.status) };
  }
}

async function theirs(text: string): Promise<Entry[] | null> {
  const body = Buffer.from(text, 'latin1');
  const response = new Response(body, { headers: { 'content-type': type } });
  try {
    return await entriesOf(await response.formData());
  } catch {
    return null;
  }
}

function dispositions(text: string): number {
  return text.match(/content-disposition/gi)?.length ?? 0;
}

/**
 * Browsers write line ends and quotes of names so; undici takes that back, which we do not. A
 * filename is without its path for us.
 */
function unescaped([name, value, filename]: Entry): unknown[] {
  const plain = (text = ''): string =>
    text.replace(/%(0a|0d|22)/gi, (code) => decodeURIComponent(code));
  return [plain(name), value, plain(filename).split(/[/\\]/).pop()];
}

async function run(text: string, random: Random): Promise<Outcome> {
  const [whole, single, pieces] = cuts(text, random) as [Buffer[], Buffer[], Buffer[]];
  const one = await ours(whole);
  const other = await theirs(text);
  const signature = `${one.entries.map((entry) => entry.length)} ${one.refusal} ${other?.length}`;
  // Each piece takes a turn of the loop: single bytes where there are few.
  for (const cut of text.length < 120 ? [single, pieces] : [pieces]) {
    const again = await ours(cut);
    if (JSON.stringify(again) === JSON.stringify(one)) continue;
    const complaint = `${JSON.stringify(one)} whole, ${JSON.stringify(again)} cut`;
    return { signature, complaint };
  }
  // With a preamble undici looks for another beginning; of two dispositions it takes the last.
  const plain = text.startsWith('--xx') && one.entries.length === dispositions(text);
  if (other === null || one.refusal !== '' || !plain) return { signature, complaint: null };
  const same = JSON.stringify(one.entries.map(unescaped)) === JSON.stringify(other.map(unescaped));
  const complaint = `we read ${JSON.stringify(one.entries)}, undici ${JSON.stringify(other)}`;
  return { signature, complaint: same ? null : complaint };
}

export const multipartTarget: Target = {
  name: 'multipart',
  seeds,
  words,
  shortRounds: 100,
  maxKept: 150,
  run,
};
