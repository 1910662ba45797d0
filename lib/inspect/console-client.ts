/**
 * `npx uvio`: asks the consoles of running programs.
 *
 * In: the words of a command line. Out: text, and the exit code. Never: a wait without a limit.
 */
import { openUnixConnection } from '../io/connect.ts';
import { run } from '../task/run.ts';
import { timeout } from '../task/scope.ts';
import { sleep } from '../task/sleep.ts';
import { findConsoles } from './console-paths.ts';

const usage = `usage: uvio <command> [--pid N | --socket PATH]

  ps               programs of this user that serve a console (see serveConsole)
  tree             tasks and groups of a program, and what each waits for
  top [--once]     figures of its loop every second, and what tasks wait for
  where <task>     one task, by number or name: its waits, and where it was created
  cancel <task>    cancels it
`;

const answerMs = 5000;
const refreshMs = 1000;
const maxAnswerBytes = 64 * 1024 * 1024;
/** Clears a terminal. */
const clear = '\u001B[H\u001B[2J';

/** What the user did wrong, or what is not there: the message is all there is to say. */
class CliError extends Error {}

interface Call {
  readonly command: string;
  readonly argument: string | undefined;
  readonly pid: string | undefined;
  readonly socket: string | undefined;
  readonly once: boolean;
}

/** Writes text out. */
export interface Output {
  write(text: string): unknown;
}

function parse(words: readonly string[]): Call {
  const plain: string[] = [];
  const options = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (word === '--once') options.set(word, '');
    else if (word === '--pid' || word === '--socket') options.set(word, words[++i] ?? '');
    else if (word.startsWith('--')) throw new CliError(`Unknown option ${word}\n\n${usage}`);
    else plain.push(word);
  }
  const [command = '', argument] = plain;
  const most = command === 'where' || command === 'cancel' ? 2 : 1;
  if (!/^(ps|tree|top|where|cancel)$/.test(command) || plain.length > most) {
    throw new CliError(usage);
  }
  const pid = options.get('--pid');
  const socket = options.get('--socket');
  return { command, argument, pid, socket, once: options.has('--once') };
}

/** One question on a connection of its own. */
async function ask(path: string, command: string, argument: string | undefined): Promise<string> {
  return await timeout(answerMs, async () => {
    await using connection = await openUnixConnection(path);
    await connection.write(`${JSON.stringify({ command, argument })}\n`);
    await connection.writeEof();
    const line = await connection.readAll(maxAnswerBytes);
    const { text, error } = JSON.parse(line.toString()) as { text?: string; error?: string };
    if (text === undefined) throw new CliError(error ?? 'The console gave no answer');
    return text;
  });
}

function choose({ pid, socket }: Call): string {
  if (socket !== undefined) return socket;
  const consoles = findConsoles();
  if (pid !== undefined) {
    const found = consoles.find(({ name }) => name === pid);
    if (found === undefined) throw new CliError(`Process ${pid} serves no console`);
    return found.path;
  }
  const [only, ...others] = consoles;
  if (only === undefined) throw new CliError('No program serves a console (see serveConsole)');
  if (others.length === 0) return only.path;
  const names = consoles.map(({ name }) => name).join(', ');
  throw new CliError(`Several programs serve a console; give one by --pid: ${names}`);
}

async function list(output: Output): Promise<void> {
  for (const { name, path } of findConsoles()) {
    try {
      output.write(`${name.padEnd(10)} ${await ask(path, 'ps', undefined)}\n`);
    } catch (error) {
      // A program that was killed leaves its file behind.
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') continue;
      output.write(`${name.padEnd(10)} no answer: ${(error as Error).message}\n`);
    }
  }
}

async function execute(call: Call, output: Output): Promise<void> {
  const { command, argument, once } = call;
  if (command === 'ps') {
    await list(output);
    return;
  }
  const path = choose(call);
  if (command !== 'top' || once) {
    output.write(`${await ask(path, command, argument)}\n`);
    return;
  }
  for (;;) {
    output.write(`${clear}${await ask(path, command, argument)}\n`);
    await sleep(refreshMs);
  }
}

function explain(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'The program is gone';
  if (code === 'ETIMEDOUT') return 'The program does not answer: its loop may be blocked';
  return message;
}

/** @returns the exit code: 0, or 1 with a message on `errors`. */
export async function runCli(
  words: readonly string[],
  output: Output,
  errors: Output,
): Promise<number> {
  if (words.length === 0 || words.includes('--help') || words.includes('-h')) {
    output.write(usage);
    return words.length === 0 ? 1 : 0;
  }
  try {
    const call = parse(words);
    await run(() => execute(call, output));
    return 0;
  } catch (error) {
    errors.write(`${error instanceof CliError ? error.message.trimEnd() : explain(error)}\n`);
    return 1;
  }
}
