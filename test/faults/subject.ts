/**
 * Programs under faults: each in a process of its own, told what to do over its standard input.
 *
 * In: a name. Out: answers, events, its end. Never: a program that outlives its test.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { foreignEnv } from '../support/foreign.ts';

export type SubjectName = 'native' | 'pure' | 'node' | 'uvloop';

export interface Failure {
  readonly code: string;
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;
}

export interface Answer<T = unknown> {
  readonly ok?: T;
  readonly error?: Failure;
}

interface Event extends Partial<Failure> {
  readonly event: string;
  readonly id?: number;
  /** With 'end': how many requests it began to answer. */
  readonly started?: number;
}

export const path = (name: string): string =>
  fileURLToPath(new URL(`programs/${name}`, import.meta.url));
export const python = '/usr/bin/python3';

/** What a program serves, on a port that it chooses. */
export type Speech = 'http' | 'lines';

function serverCommandOf(name: SubjectName, speech: Speech, options: readonly string[]): string[] {
  if (name === 'uvloop') {
    if (speech === 'http') throw new Error('no HTTP server for uvloop is here');
    return [python, path('lines_on_uvloop.py'), ...options];
  }
  const node = [process.execPath, '--expose-gc'];
  if (name === 'node') return [...node, path(`node_${speech}.mjs`), ...options];
  return [...node, path(`uvio_${speech}.mjs`), name, ...options];
}

function commandOf(name: SubjectName): string[] {
  if (name === 'uvloop') return [python, path('on_uvloop.py')];
  const node = [process.execPath, '--expose-gc'];
  return name === 'node' ? [...node, path('node.mjs')] : [...node, path('uvio.mjs'), name];
}

/** Why it cannot run here, or null. */
export function missing(name: SubjectName): string | null {
  if (name !== 'uvloop') return null;
  const { status } = spawnSync(python, ['-c', 'import uvloop'], { env: foreignEnv() });
  return status === 0 ? null : 'python3-uvloop is not installed';
}

export function within<T>(promise: PromiseLike<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * Milliseconds after which an answer is called a hang. What hangs does so for ever: it costs
 * nothing to give a busy machine time.
 */
export const patienceMs = 20_000;

export class Subject {
  readonly name: SubjectName;
  readonly child: ChildProcess;
  readonly events: Event[] = [];
  readonly ended: Promise<string>;
  /** How it ended, once it has. */
  end: string | null = null;
  #errors = '';
  #next = 0;
  #waiting = new Map<number, (answer: Answer) => void>();
  #watchers = new Set<() => void>();

  private constructor(name: SubjectName, [command, ...args]: readonly string[]) {
    this.name = name;
    const env = name === 'uvloop' ? foreignEnv() : process.env;
    this.child = spawn(command as string, args, { stdio: 'pipe', env });
    this.child.stderr?.on('data', (text) => (this.#errors = `${this.#errors}${text}`.slice(-2000)));
    this.child.stdin?.on('error', () => {});
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
      this.#take(JSON.parse(line)),
    );
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code, signal) => {
        this.end = `ended with ${signal ?? code}`;
        for (const answered of this.#waiting.values()) answered({ error: { code: this.end } });
        this.#waiting.clear();
        for (const look of this.#watchers) look();
        resolve(this.end);
      });
    });
  }

  /** Started, and waiting for commands. */
  static start(name: SubjectName, prefix: readonly string[] = []): Promise<Subject> {
    return Subject.#ready(new Subject(name, [...prefix, ...commandOf(name)]));
  }

  /** One that serves on `servedPort`, and takes no commands. */
  static serve(name: SubjectName, speech: Speech, ...options: string[]): Promise<Subject> {
    return Subject.serveIn([], name, speech, ...options);
  }

  static serveIn(
    prefix: readonly string[],
    name: SubjectName,
    speech: Speech,
    ...options: string[]
  ): Promise<Subject> {
    return Subject.#ready(
      new Subject(name, [...prefix, ...serverCommandOf(name, speech, options)]),
    );
  }

  static async #ready(subject: Subject): Promise<Subject> {
    await subject.event((event) => event.event === 'ready', 20_000);
    return subject;
  }

  get servedPort(): number {
    return this.events.find(({ event }) => event === 'ready')?.port as number;
  }

  /** How many requests it began to answer, once it has ended. */
  get started(): number {
    return this.events.find(({ event }) => event === 'end')?.started ?? Number.NaN;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  #take(message: Event & Answer & { n?: number }): void {
    if (message.n === undefined) {
      this.events.push(message);
      for (const look of this.#watchers) look();
      return;
    }
    this.#waiting.get(message.n)?.(message);
    this.#waiting.delete(message.n);
  }

  /** What it answers, whenever that is; see `ask` for the usual patience. */
  begin<T = unknown>(op: string, options: object = {}): Promise<Answer<T>> {
    if (this.end !== null) return Promise.resolve({ error: { code: this.end } });
    this.#next += 1;
    const n = this.#next;
    this.child.stdin?.write(`${JSON.stringify({ n, op, ...options })}\n`);
    return new Promise((resolve) => this.#waiting.set(n, resolve as (answer: Answer) => void));
  }

  /** The same; a failure throws, and so does an answer that takes too long. */
  async ask<T = unknown>(op: string, options: object = {}, ms: number = patienceMs): Promise<T> {
    const { ok, error } = await within(this.begin<T>(op, options), ms, op);
    if (error !== undefined) throw new Error(`${op}: ${error.code} ${error.syscall ?? ''}`);
    return ok as T;
  }

  /** The first event, come or yet to come, that fits. */
  event(fits: (event: Event) => boolean, ms: number = patienceMs): Promise<Event> {
    let look = (): void => {};
    const found = new Promise<Event>((resolve, reject) => {
      look = (): void => {
        const event = this.events.find(fits);
        if (event !== undefined) resolve(event);
        else if (this.end !== null) reject(new Error(`${this.end}: ${this.#errors}`));
      };
      this.#watchers.add(look);
      look();
    });
    return within(found, ms, 'an event').finally(() => this.#watchers.delete(look));
  }

  /** The id of its side of a connection. Ports are used again: an event is taken once. */
  async accepted(port: number | undefined, ms: number = patienceMs): Promise<number> {
    const taken = await this.event(
      (event) => event.event === 'accepted' && event.port === port,
      ms,
    );
    this.events.splice(this.events.indexOf(taken), 1);
    return taken.id as number;
  }

  /** Codes that its loop or server has told since the last call. */
  takeLoopErrors(): string[] {
    const told = this.events.filter(({ event }) => event === 'loop error');
    for (const event of told) this.events.splice(this.events.indexOf(event), 1);
    return told.map(({ code }) => code ?? 'unknown');
  }

  openFiles(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Private memory in bytes, without garbage. */
  async memory(): Promise<number> {
    await this.ask('collect');
    await this.ask('collect');
    return this.privateBytes();
  }

  /** With garbage. */
  privateBytes(): number {
    const text = readFileSync(`/proc/${this.pid}/smaps_rollup`, 'utf8');
    const kilobytes = (field: string): number =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
    return 1024 * (kilobytes('Private_Clean') + kilobytes('Private_Dirty'));
  }

  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Programs that cases share, each until one of them ends it. */
export class Shared<T> {
  readonly #open: (name: SubjectName) => Promise<T>;
  readonly #subjectOf: (value: T) => Subject;
  readonly #opened = new Map<SubjectName, Promise<T>>();

  constructor(open: (name: SubjectName) => Promise<T>, subjectOf: (value: T) => Subject) {
    this.#open = open;
    this.#subjectOf = subjectOf;
  }

  async get(name: SubjectName): Promise<T> {
    const known = this.#opened.get(name);
    if (known !== undefined) {
      const value = await known;
      if (this.#subjectOf(value).end === null) return value;
      // Unless another case has begun a new one meanwhile.
      if (this.#opened.get(name) === known) this.#opened.delete(name);
      return await this.get(name);
    }
    const value = this.#open(name);
    this.#opened.set(name, value);
    return await value;
  }

  async stop(): Promise<void> {
    const values = [...this.#opened.values()];
    this.#opened.clear();
    for (const value of values) await this.#subjectOf(await value).stop();
  }
}

/** One of each, for cases that leave it as it was. */
export const sharedSubjects: Shared<Subject> = new Shared(
  (name) => Subject.start(name),
  (subject) => subject,
);
