/**
 * Credentials that the environment names: the file of NETRC, or `.netrc` in the home folder.
 *
 * In: the environment. Out: users of machines. Never: an error: a file that cannot be read, or is
 * malformed, is told in a warning and counts as none.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

interface Entry {
  /** Null: `default`, of all machines that come before. */
  readonly machine: string | null;
  login: string;
  password: string;
}

const word = /"((?:[^"\\]|\\.)*)"|\S+/g;

type Wanted = 'machine' | 'login' | 'password' | 'account';

const keywords: ReadonlyMap<string, Wanted> = new Map([
  ['machine', 'machine'],
  ['login', 'login'],
  ['user', 'login'],
  ['password', 'password'],
  ['account', 'account'],
]);

/** As curl and Python read it. @throws SyntaxError, with the number of the line */
export function parseNetrc(text: string): readonly Entry[] {
  const entries: Entry[] = [];
  let wanted: Wanted | null = null;
  let inMacro = false;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const bad = (): SyntaxError => new SyntaxError(`Line ${index + 1} of it is malformed`);
    if (inMacro) {
      inMacro = line.trim() !== '';
      continue;
    }
    for (const [raw, inQuotes] of line.matchAll(word)) {
      const value = inQuotes === undefined ? raw : inQuotes.replace(/\\(.)/g, '$1');
      if (wanted !== null) {
        const entry = entries.at(-1);
        if (wanted === 'machine') {
          entries.push({ machine: value.toLowerCase(), login: '', password: '' });
        } else if (entry === undefined) throw bad();
        else if (wanted !== 'account') entry[wanted] = value;
        wanted = null;
      } else if (raw.startsWith('#')) break;
      else if (value === 'default') entries.push({ machine: null, login: '', password: '' });
      else if (value === 'macdef') {
        inMacro = true;
        break;
      } else {
        wanted = keywords.get(value) ?? null;
        if (wanted === null) throw bad();
      }
    }
  }
  if (wanted !== null) throw new SyntaxError('It ends in the middle of an entry');
  return entries;
}

function warn(path: string, error: unknown): readonly Entry[] {
  const { message } = error as Error;
  process.emitWarning(`${path} is not used: ${message}`, {
    type: 'UvioWarning',
    code: 'UVIO_NETRC',
  });
  return [];
}

function readEntries(): readonly Entry[] {
  const named = process.env['NETRC'];
  const path = named || join(homedir(), process.platform === 'win32' ? '_netrc' : '.netrc');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    // That there is none is usual.
    const usual = !named && (error as { code?: unknown }).code === 'ENOENT';
    return usual ? [] : warn(path, error);
  }
  try {
    return parseNetrc(text);
  } catch (error) {
    return warn(path, error);
  }
}

/** Read once, when it is made. */
export class Netrc {
  readonly #entries: readonly Entry[] = readEntries();

  /** Null: nobody. The first entry of a machine counts. */
  find(hostname: string): { username: string; password: string } | null {
    const name = hostname.toLowerCase().replace(/^\[|\]$/g, '');
    const entry =
      this.#entries.find(({ machine }) => machine === name) ??
      this.#entries.find(({ machine }) => machine === null);
    if (entry === undefined || entry.login === '') return null;
    return { username: entry.login, password: entry.password };
  }
}
