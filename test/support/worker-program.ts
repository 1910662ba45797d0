/** Programs with workers: their output, their commands, their end. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import type { WorkerMetrics } from '../../lib/index.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { policyName } from './policy.ts';
import { nodeHasReusePort } from './reuse-port.ts';
import { root } from './source-tree.ts';

/** Null, or why this policy has none on this Node. */
export const missingWorkers: string | null =
  policyName === 'native' || nodeHasReusePort ? null : 'node:net has no reusePort here';

/**
 * One file, since each thread of each program loads it: that is most of the time of a start.
 * @param source of the program, whose only argument is JSON
 * @returns the file, as deep as the package's own: the addon is found from where they lie
 */
export async function buildProgram(source: URL, name: string): Promise<string> {
  const built = await rolldown({
    input: fileURLToPath(source),
    platform: 'node',
    external: [/^node:/, 'node-gyp-build'],
  });
  const file = join(root, 'build/programs', name, `${policyName}.mjs`);
  await built.write({ file, codeSplitting: false });
  return file;
}

export class WorkerProgram implements AsyncDisposable {
  readonly lines: string[] = [];
  errors = '';
  readonly child: ChildProcess;
  readonly #ended: Promise<unknown[]>;
  #changed: () => void = () => {};

  /** @param inherited becomes its descriptor 3 */
  constructor(file: string, options: object, inherited?: number) {
    const given = JSON.stringify({ policy: policyName, workers: 2, ...options });
    const stdio = ['pipe', 'pipe', 'pipe', ...(inherited === undefined ? [] : [inherited])];
    this.child = spawn(process.execPath, [file, given], { stdio: stdio as StdioOptions });
    this.#ended = once(this.child, 'close');
    void this.#ended.then(() => this.#changed());
    createInterface({ input: this.child.stdout as never }).on('line', (line) => {
      this.lines.push(line);
      this.#changed();
    });
    this.child.stderr?.on('data', (chunk) => {
      this.errors += chunk;
      this.#changed();
    });
  }

  /** Waits until `condition` holds, looking at each line that comes. */
  async until<T>(condition: () => T | undefined): Promise<T> {
    for (;;) {
      const found = condition();
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`The program has ended: ${this.lines.join('\n')}\n${this.errors}`);
      }
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  line(pattern: RegExp): Promise<string> {
    return this.until(() => this.lines.find((line) => pattern.test(line)));
  }

  error(pattern: RegExp): Promise<true> {
    return this.until(() => (pattern.test(this.errors) ? true : undefined));
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Exit code and signal. */
  async end(signal?: NodeJS.Signals): Promise<unknown[]> {
    if (signal !== undefined) this.child.kill(signal);
    return await this.#ended;
  }

  /** As its main thread sees it. */
  async metrics(): Promise<WorkerMetrics[]> {
    const lists = (): string[] => this.lines.filter((line) => line.startsWith('['));
    const before = lists().length;
    this.say('metrics');
    return JSON.parse(await this.until(() => lists()[before])) as WorkerMetrics[];
  }

  async allServe(): Promise<boolean> {
    return (await this.metrics()).every((one) => one.load !== null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Asks again and again: how long it takes does not matter. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}
