/**
 * A link that delays packets, loses some, brings some twice or broken, and in another order: what
 * netem does in other kernels is done by a program here, between two network namespaces.
 *
 * In: a program in a namespace. Out: what arrived. Never: a verdict on a link that lost nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { foreignEnv } from '../support/foreign.ts';
import { type Ends, endsOf, far, inside, ip, near } from './namespaces.ts';
import { noHttp, type Scenario, seenBy } from './scenario.ts';
import { path, patienceMs, python, Subject, type SubjectName, within } from './subject.ts';

const nearHost = '10.213.8.1';
const farHost = '10.213.8.2';

/** Shares are of all packets. */
interface Weather {
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly lost: number;
  readonly twice: number;
  readonly broken: number;
}

interface Passed {
  readonly passed: number;
  readonly lost: number;
  readonly twice: number;
  readonly broken: number;
  readonly overtaken: number;
  readonly datagramsToNear: number;
  readonly datagramsToFar: number;
}

/** Another one than the usual: `UVIO_CABLE_SEED=7 node scripts/faults.mjs --only rough`. */
const seed = Number(process.env['UVIO_CABLE_SEED'] ?? 1);

class Cable implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  }

  static async lay(weather: Weather): Promise<Cable> {
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    const args = [path('cable.py'), near, far];
    const cable = new Cable(spawn(python, args, { stdio: [...stdio], env: foreignEnv() }));
    await cable.#line();
    for (const [name, host, peer] of [
      [near, nearHost, farHost],
      [far, farHost, nearHost],
    ] as const) {
      ip('-n', name, 'address', 'add', host, 'peer', peer, 'dev', 'rough');
      ip('-n', name, 'link', 'set', 'rough', 'up');
    }
    await cable.turn(weather);
    return cable;
  }

  /** Sets the weather; what has passed since it was last set. */
  async turn(weather: Weather): Promise<Passed> {
    this.#child.stdin?.write(`${JSON.stringify({ ...weather, seed })}\n`);
    return JSON.parse(await this.#line()) as Passed;
  }

  async #line(): Promise<string> {
    const over = new AbortController();
    const ended = once(this.#child, 'close', over).then(() => {
      throw new Error('the cable has ended');
    });
    const line = once(this.#lines, 'line', over);
    try {
      return (await within(Promise.race([line, ended]), patienceMs, 'the cable'))[0] as string;
    } finally {
      over.abort();
      ended.catch(() => {});
      line.catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.stdin?.end();
    await closed;
  }
}

const intact = 'all arrives, in order';
const rough: Weather = { delayMs: 5, jitterMs: 4, lost: 0.03, twice: 0.02, broken: 0.01 };
const calm: Weather = { delayMs: 0, jitterMs: 0, lost: 0, twice: 0, broken: 0 };

interface Place {
  readonly ends: Ends;
  readonly name: SubjectName;
  readonly cable: Cable;
}

function through(look: (place: Place) => Promise<string>): Scenario['run'] {
  return async (name) => {
    const ends = await endsOf(name);
    await using cable = await Cable.lay(rough);
    const seen = await seenBy(ends.subject, () => look({ ends, name, cable }));
    const { passed, lost, overtaken } = await cable.turn(calm);
    // With figures of its own, or wrong.
    if (seen !== intact) return seen;
    if (lost === 0 || overtaken === 0) return `${seen}, but so does every packet`;
    return `${seen} (seed ${seed}: ${passed} packets, ${lost} lost, ${overtaken} overtaken)`;
  };
}

const visited = (options: { bytes: number; count?: number; secure?: boolean }): Scenario['run'] =>
  through(async ({ ends: { subject }, ends }) => {
    const { secure = false } = options;
    const peer = await ends.peer();
    const port = await subject.ask('listen', { host: nearHost, echoes: true, secure });
    await peer.ask('visit', { host: nearHost, port, parallel: options.count, ...options });
    return intact;
  });

const visiting = (options: { bytes: number; count?: number; secure?: boolean }): Scenario['run'] =>
  through(async ({ ends: { subject }, ends }) => {
    const { secure = false } = options;
    const peer = await ends.peer();
    const port = await peer.ask('listen', { host: farHost, echoes: true, secure });
    await subject.ask('visit', { host: farHost, port, parallel: options.count, ...options });
    return intact;
  });

const conversing = through(async ({ ends, name }) => {
  const peer = await ends.peer();
  await using server = await Subject.serveIn(inside(near), name, 'http', '1', nearHost);
  await peer.ask('converse', { host: nearHost, port: server.servedPort, count: 2 });
  return intact;
});

/** What the link let through is what the program got, and the answers likewise. */
const datagrams = through(async ({ ends: { subject }, ends, cable }) => {
  const peer = await ends.peer();
  const port = await subject.ask('echoDatagrams', { host: nearHost });
  // All fit into the buffer of a socket: one that is not read for a while drops nothing.
  const settings = { host: nearHost, port, count: 120, bytes: 100, quietMs: 100 };
  const { answers, foreign } = await peer.ask<{ answers: number; foreign: number }>(
    'sendDatagrams',
    settings,
  );
  const got = await subject.ask<number>('datagrams');
  const { datagramsToNear, datagramsToFar, lost } = await cable.turn(calm);
  if (foreign > 0) return `${foreign} datagrams are answered that nobody sent`;
  if (got !== datagramsToNear) return `gets ${got} of ${datagramsToNear} datagrams`;
  if (answers !== datagramsToFar) return `gets ${answers} of ${datagramsToFar} answers`;
  if (lost === 0) return 'gets all, as nothing was lost';
  return `gets all but what was lost (seed ${seed}: ${got} and ${answers}; ${lost} lost)`;
});

const group = 'rough links';

export const roughLinks: readonly Scenario[] = [
  {
    group,
    title: 'echo of 300 KB for a client',
    expected: intact,
    run: visited({ bytes: 300_000 }),
  },
  {
    group,
    title: 'echo of 300 KB from a server',
    expected: intact,
    run: visiting({ bytes: 300_000 }),
  },
  {
    group,
    title: 'echo of 5 KB for 20 clients at once',
    expected: intact,
    run: visited({ bytes: 5_000, count: 20 }),
  },
  {
    group,
    title: 'TLS: handshake and echo of 100 KB for a client',
    expected: intact,
    run: visited({ bytes: 100_000, secure: true }),
  },
  {
    group,
    title: 'TLS: handshake and echo of 100 KB from a server',
    expected: intact,
    run: visiting({ bytes: 100_000, secure: true }),
  },
  {
    group,
    title: 'HTTP: bodies both ways on three kept connections',
    expected: intact,
    without: noHttp,
    run: conversing,
  },
  {
    group,
    title: 'UDP: 120 datagrams and their answers',
    expected: 'gets all but what was lost',
    run: datagrams,
  },
];
