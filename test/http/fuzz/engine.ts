/**
 * Fuzzing of parsers: mutations of a kept corpus, until the time is over.
 *
 * In: a target, which says what an input did, and what is wrong with that. Out: complaints; inputs
 * that did something new, kept for the next run. Never: a run that cannot be repeated: the seed is
 * told.
 *
 * A plain test run replays the corpus and a few mutations of it. For longer:
 *   UVIO_FUZZ_MINUTES=20 npx vitest run --project native test/http/fuzz
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Outcome {
  /** Equal for inputs that went the same way. */
  readonly signature: string;
  readonly complaint: string | null;
}

export interface Target {
  readonly name: string;
  /** Valid inputs and known bad ones, as Latin-1. */
  readonly seeds: readonly string[];
  /** Pieces that are put in. */
  readonly words: readonly string[];
  run(text: string, random: Random): Outcome | Promise<Outcome>;
  /** How many mutations a plain test run tries; default 1,500. */
  readonly shortRounds?: number;
  /** How many inputs are kept at most; default 900. */
  readonly maxKept?: number;
}

/** Whole numbers below a bound, the same for a seed. */
export type Random = (below: number) => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(((state >>> 8) / 0x1000000) * below);
  };
}

const usualKept = 900;
const maxBytes = 4_096;
const usualRounds = 1_500;
/** CPU time of one input of at most 4 KiB. */
const maxCpuMs = 2_000;
/** For one input, on a machine that does other work beside. */
const hangMs = 20_000;

function mutateOnce(text: string, pick: () => string, words: readonly string[], random: Random) {
  const at = random(text.length + 1);
  const end = Math.min(text.length, at + 1 + random(random(4) === 0 ? 64 : 4));
  switch (random(9)) {
    case 0:
      return text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1);
    case 1:
      return text.slice(0, at) + text.slice(end);
    case 2:
      return text.slice(0, end) + text.slice(at);
    case 3:
      return text.slice(0, at) + (words[random(words.length)] as string) + text.slice(at);
    case 4:
      return text.slice(0, at) + (words[random(words.length)] as string) + text.slice(end);
    case 5: {
      const other = pick();
      return text.slice(0, at) + other.slice(random(other.length + 1));
    }
    case 6:
      return text + pick();
    case 7:
      return text.replace(/\d+/, () => String(random(random(2) === 0 ? 40 : 0x7fffffff)));
    default:
      return text.slice(0, at);
  }
}

export interface Report {
  readonly rounds: number;
  readonly complaints: readonly string[];
}

export class Fuzzer {
  readonly target: Target;
  readonly #file: string;
  readonly #kept: string[] = [];
  readonly #seen: Set<string> = new Set();

  constructor(target: Target) {
    this.target = target;
    this.#file = join(import.meta.dirname, 'corpus', `${target.name}.json`);
    const kept = existsSync(this.#file) ? JSON.parse(readFileSync(this.#file, 'utf8')) : [];
    this.#kept.push(...target.seeds, ...kept);
  }

  get size(): number {
    return this.#kept.length;
  }

  /** Each kept input once. */
  async replay(): Promise<Report> {
    const complaints: string[] = [];
    for (const text of [...this.#kept]) await this.#try(text, randomOf(1), complaints);
    return { rounds: this.#kept.length, complaints };
  }

  /** @param minutes 0: a fixed number of rounds, and nothing is kept */
  async fuzz(minutes: number, seed: number): Promise<Report> {
    const random = randomOf(seed);
    const complaints: string[] = [];
    const endMs = performance.now() + minutes * 60_000;
    const pick = (): string => this.#kept[random(this.#kept.length)] as string;
    const { shortRounds = usualRounds, maxKept = usualKept } = this.target;
    let rounds = 0;
    while (complaints.length < 20) {
      if (minutes === 0 ? rounds >= shortRounds : performance.now() > endMs) break;
      let text = pick();
      for (let i = 1 + random(4); i > 0; i--) {
        text = mutateOnce(text, pick, this.target.words, random).slice(0, maxBytes);
      }
      rounds++;
      const fresh = await this.#try(text, random, complaints);
      if (fresh && minutes > 0 && this.#kept.length < maxKept) this.#kept.push(text);
    }
    if (minutes > 0) this.#save();
    return { rounds, complaints };
  }

  async #try(text: string, random: Random, complaints: string[]): Promise<boolean> {
    const before = process.cpuUsage();
    const outcome = this.target.run(text, random);
    const { signature, complaint: told } =
      outcome instanceof Promise ? await orHangs(outcome) : outcome;
    const { user } = process.cpuUsage(before);
    const complaint = user > 1000 * maxCpuMs ? `took ${user / 1000} ms` : told;
    if (complaint !== null) complaints.push(`${JSON.stringify(text)}: ${complaint}`);
    const fresh = !this.#seen.has(signature);
    this.#seen.add(signature);
    return fresh;
  }

  #save(): void {
    const kept = this.#kept.slice(this.target.seeds.length);
    writeFileSync(this.#file, `${JSON.stringify(kept, null, 2)}\n`);
  }
}

/** What never settles is a complaint. */
function orHangs(outcome: Promise<Outcome>): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Outcome>((resolve) => {
    timer = setTimeout(resolve, hangMs, { signature: 'hangs', complaint: 'hangs' });
  });
  return Promise.race([outcome, late]).finally(() => clearTimeout(timer));
}

/** The whole, single bytes, and pieces of any length. */
export function cuts(text: string, random: Random): Buffer[][] {
  const bytes = Buffer.from(text, 'latin1');
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + random(24));
    pieces.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  const single = Array.from(bytes, (byte) => Buffer.from([byte]));
  return [bytes.length === 0 ? [] : [Buffer.from(bytes)], single, pieces];
}
