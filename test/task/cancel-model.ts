/**
 * A model of cancellation: what a program of scopes, shields, groups, tasks and waits does, worked
 * out from times alone. It knows no promises, no tree of waits and no order within an instant.
 *
 * All durations and events of a program are sums of different powers of two, so that two things
 * happen at the same time only when they have the same cause.
 */

export type Program =
  | { readonly kind: 'sleep'; readonly id: number; readonly ms: number }
  | { readonly kind: 'fail'; readonly id: number; readonly ms: number }
  | { readonly kind: 'seq'; readonly parts: readonly Program[] }
  | {
      readonly kind: 'scope';
      readonly id: number;
      readonly ms: number;
      readonly shield: boolean;
      readonly throws: boolean;
      readonly body: Program;
    }
  | { readonly kind: 'shielded'; readonly graceMs: number; readonly body: Program }
  | { readonly kind: 'task'; readonly body: Program }
  | {
      readonly kind: 'group';
      readonly id: number;
      readonly children: readonly Program[];
      readonly body: Program;
    }
  | { readonly kind: 'swallow'; readonly body: Program }
  | { readonly kind: 'cleanUp'; readonly id: number; readonly ms: number; readonly body: Program };

export interface Events {
  /** When the main task is cancelled by edge; rising. */
  readonly edges: readonly number[];
  /** When a scope or group is cancelled, by its id. */
  readonly cancels: ReadonlyMap<number, number>;
}

/** `origin`: the id of the scope or group whose cancellation it is; 'edge' for that of a task. */
export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cancelled'; readonly origin: number | 'edge' }
  | { readonly kind: 'failed'; readonly leaves: readonly string[] };

/** What follows from a cause in the same instant comes so much later; less than any difference. */
const after = 2 ** -40;

/**
 * Two things in one instant, whose order the model does not know: tasks that are started, and
 * cancelled for something that happens at the start. Programs with that do not count.
 */
export class Ambiguous extends Error {}

const ok: Outcome = { kind: 'ok' };

/** A region as seen from inside: scopes, groups, shields. */
interface Region {
  readonly outer: Region | null;
  /** Null for a shield, which is not cancelled itself. */
  readonly id: number | null;
  /** Infinity for never. Not before it was entered. */
  readonly cancelAt: number;
  /** Until when it keeps cancellation from outside away; -Infinity for no shield. */
  readonly shieldUntil: number;
  /** The task it belongs to begins here: edges do not come from further outside. */
  readonly taskRoot: boolean;
}

/** What a piece of program came to. */
interface End {
  readonly at: number;
  readonly outcome: Outcome;
  /** Edges of the task that no wait has taken. */
  readonly edges: readonly number[];
  readonly log: readonly string[];
}

/** The first cancellation that is to be felt in here. Of the same instant the outer one counts. */
function level(region: Region | null): { at: number; origin: number } {
  if (region === null) return { at: Infinity, origin: -1 };
  const outer = level(region.outer);
  const felt = { at: Math.max(outer.at, region.shieldUntil), origin: outer.origin };
  if (region.id !== null && region.cancelAt < felt.at) {
    return { at: region.cancelAt, origin: region.id };
  }
  return felt;
}

/** When an edge of the task that comes at this time is felt in here. */
function edgeFelt(region: Region | null, at: number): number {
  let felt = at;
  for (let node = region; node !== null; node = node.outer) {
    felt = Math.max(felt, node.shieldUntil);
    if (node.taskRoot) break;
  }
  return felt;
}

/** A region around does not let edges of the task through now. */
function holdsEdges(region: Region | null, at: number): boolean {
  return edgeFelt(region, at) > at;
}

function firstEdge(region: Region | null, edges: readonly number[]): number {
  return edges.length === 0 ? Infinity : edgeFelt(region, edges[0] as number);
}

const cancelled = (origin: number | 'edge'): Outcome => ({ kind: 'cancelled', origin });

export class Model {
  readonly #events: Events;

  constructor(events: Events) {
    this.#events = events;
  }

  /** The log and the outcome of the program as main task. */
  run(program: Program): { log: string[]; outcome: Outcome; at: number } {
    const root: Region = {
      outer: null,
      id: null,
      cancelAt: Infinity,
      shieldUntil: Number.NEGATIVE_INFINITY,
      taskRoot: true,
    };
    const end = this.#run(program, 0, root, this.#events.edges);
    return { log: [...end.log].sort(), outcome: end.outcome, at: end.at };
  }

  #run(program: Program, now: number, region: Region, edges: readonly number[]): End {
    switch (program.kind) {
      case 'sleep':
        return this.#wait(`sleep ${program.id}`, program.ms, now, region, edges);
      case 'fail':
        return this.#fail(program.id, program.ms, now, region, edges);
      case 'seq':
        return this.#seq(program.parts, now, region, edges);
      case 'scope':
        return this.#scope(program, now, region, edges);
      case 'shielded':
        return this.#shielded(program.graceMs, program.body, now, region, edges);
      case 'task':
        return this.#task(program.body, now, region, edges);
      case 'group':
        return this.#group(program, now, region, edges);
      case 'swallow':
        return { ...this.#run(program.body, now, region, edges), outcome: ok };
      case 'cleanUp': {
        const body = this.#run(program.body, now, region, edges);
        const name = `clean-up ${program.id}`;
        const after = this.#wait(name, program.ms, body.at, region, body.edges);
        const outcome = after.outcome.kind === 'ok' ? body.outcome : after.outcome;
        return { ...after, outcome, log: [...body.log, ...after.log] };
      }
    }
  }

  #wait(name: string, ms: number, now: number, region: Region, edges: readonly number[]): End {
    const edgeAt = firstEdge(region, edges);
    const lost = level(region);
    const done = now + ms;
    let at = done;
    let outcome = ok;
    if (edgeAt <= now) {
      // At the begin of a wait the task's own cancellation goes before that of a scope.
      at = now;
      outcome = cancelled('edge');
    } else if (lost.at <= edgeAt && lost.at < done) {
      at = Math.max(now, lost.at);
      outcome = cancelled(lost.origin);
    } else if (edgeAt < done) {
      at = edgeAt;
      outcome = cancelled('edge');
    }
    const taken = outcome.kind === 'cancelled' && outcome.origin === 'edge';
    return {
      at,
      outcome,
      // Requests that came before this one was felt are one delivery.
      edges: taken ? edges.filter((edge) => edge > at) : edges,
      log: [`${name} ${outcome.kind} ${at}`],
    };
  }

  #fail(id: number, ms: number, now: number, region: Region, edges: readonly number[]): End {
    const end = this.#wait(`fail ${id}`, ms, now, region, edges);
    if (end.outcome.kind !== 'ok') return end;
    return { ...end, outcome: { kind: 'failed', leaves: [`fail ${id}`] } };
  }

  #seq(parts: readonly Program[], now: number, region: Region, edges: readonly number[]): End {
    let end: End = { at: now, outcome: ok, edges, log: [] };
    for (const part of parts) {
      const next = this.#run(part, end.at, region, end.edges);
      end = { ...next, log: [...end.log, ...next.log] };
      if (end.outcome.kind !== 'ok') break;
    }
    return end;
  }

  /** What has to be thrown instead of a region's own cancellation: one from further outside. */
  #outer(
    around: Region,
    from: number,
    at: number,
    edges: readonly number[],
    all: readonly number[],
  ): { outcome: Outcome; edges: readonly number[] } | null {
    const came = all.some((edge) => edge > from && edge <= at);
    if (came && !holdsEdges(around, at)) {
      return { outcome: cancelled('edge'), edges: edges.filter((edge) => edge > at) };
    }
    const outer = level(around);
    return outer.at <= at ? { outcome: cancelled(outer.origin), edges } : null;
  }

  #scope(
    program: Program & { kind: 'scope' },
    now: number,
    around: Region,
    edges: readonly number[],
  ): End {
    const { id, shield } = program;
    const event = this.#events.cancels.get(id) ?? Infinity;
    const region: Region = {
      outer: around,
      id,
      cancelAt: Math.max(now, Math.min(now + program.ms, event)),
      shieldUntil: shield ? Infinity : Number.NEGATIVE_INFINITY,
      taskRoot: false,
    };
    const body = this.#run(program.body, now, region, edges);
    const own = body.outcome.kind === 'cancelled' && body.outcome.origin === id;
    const outer = own && !shield ? this.#outer(around, now, body.at, body.edges, edges) : null;
    let { outcome } = body;
    if (outer !== null) outcome = outer.outcome;
    else if (own && program.throws) outcome = { kind: 'failed', leaves: [`limit ${id}`] };
    else if (own) outcome = ok;
    const caught = own && outer === null;
    return {
      at: body.at,
      outcome,
      edges: outer?.edges ?? body.edges,
      log: [...body.log, `scope ${id} caught ${caught} ${body.at}`],
    };
  }

  #shielded(
    graceMs: number,
    body: Program,
    now: number,
    around: Region,
    edges: readonly number[],
  ): End {
    const held = Math.max(now, Math.min(level(around).at, firstEdge(around, edges)));
    const region: Region = {
      outer: around,
      id: null,
      cancelAt: Infinity,
      shieldUntil: held + graceMs,
      taskRoot: false,
    };
    return this.#run(body, now, region, edges);
  }

  /** A task of its own, outside of all regions, that is awaited. */
  #task(body: Program, now: number, region: Region, edges: readonly number[]): End {
    if (firstEdge(region, edges) <= now) {
      // It never begins.
      const left = edges.filter((edge) => edge > now);
      return { at: now, outcome: cancelled('edge'), edges: left, log: [] };
    }
    const lost = level(region);
    if (lost.at <= now) return { at: now, outcome: cancelled(lost.origin), edges, log: [] };
    const soon = Math.min(lost.at, firstEdge(region, edges)) - now;
    if (soon < 2 ** -32) throw new Ambiguous();
    const passed: { at: number; origin: number | 'edge' }[] = edges.map((edge) => ({
      at: edgeFelt(region, edge),
      origin: 'edge',
    }));
    passed.push(lost);
    // Stable: a level that comes with an edge when a shield gives way is the first of the two.
    passed.sort((a, b) => a.at - b.at || (a.origin === 'edge' ? 1 : -1));
    const root: Region = {
      outer: null,
      id: null,
      cancelAt: Infinity,
      shieldUntil: Number.NEGATIVE_INFINITY,
      taskRoot: true,
    };
    const times = passed.map(({ at }) => at).filter((at) => at < Infinity);
    const inner = this.#run(body, now, root, times);
    const before = passed.filter(({ at }) => at <= inner.at);
    const last = before.at(-1);
    const isCancelled = inner.outcome.kind === 'cancelled';
    return {
      at: inner.at,
      outcome: isCancelled && last !== undefined ? cancelled(last.origin) : inner.outcome,
      edges: edges.filter((edge) => edgeFelt(region, edge) > inner.at),
      log: inner.log,
    };
  }

  #group(
    program: Program & { kind: 'group' },
    now: number,
    around: Region,
    edges: readonly number[],
  ): End {
    let cancelAt = Math.max(now, this.#events.cancels.get(program.id) ?? Infinity);
    for (;;) {
      // What happens before a cancellation does not depend on it: so the first cause is final.
      const { end, cause } = this.#groupUntil(program, now, around, edges, cancelAt);
      if (cause + after >= cancelAt) return end;
      if (cause - now < 2 ** -32 && program.children.length > 0) throw new Ambiguous();
      cancelAt = cause + after;
    }
  }

  #groupUntil(
    program: Program & { kind: 'group' },
    now: number,
    around: Region,
    edges: readonly number[],
    cancelAt: number,
  ): { end: End; cause: number } {
    const { id } = program;
    const region: Region = {
      outer: around,
      id,
      cancelAt,
      shieldUntil: Number.NEGATIVE_INFINITY,
      taskRoot: false,
    };
    const body = this.#run(program.body, now, region, edges);
    const children = program.children.map((child) =>
      this.#run(child, now, { ...region, taskRoot: true }, []),
    );
    const ends = [body, ...children];
    const at = Math.max(...ends.map((end) => end.at));
    // While it waits for its tasks it is told of edges, as every wait is.
    const told = body.edges.map((edge) => Math.max(body.at, edgeFelt(region, edge)));
    const inWait = body.at < at ? told.filter((time) => time <= at) : [];
    const left = body.edges.filter((_, i) => !inWait.includes(told[i] as number));
    const bodyCancelled = body.outcome.kind === 'cancelled' && body.outcome.origin !== id;
    const failures = ends.filter(({ outcome }) => outcome.kind === 'failed');
    const causes = [...failures.map((end) => end.at), ...inWait];
    if (bodyCancelled) causes.push(body.at);
    const outside = this.#outsideOf(body, children, inWait, region, around);
    const leaves = failures
      .flatMap(({ outcome }) => (outcome.kind === 'failed' ? outcome.leaves : []))
      .sort();
    const done = this.#groupOutcome(leaves, outside, region, around, now, at, left, edges);
    const log = [...ends.flatMap((end) => end.log), `group ${id} ${done.outcome.kind} ${at}`];
    return { end: { at, ...done, log }, cause: Math.min(Infinity, ...causes) };
  }

  /** The last cancellation from outside that the body, the wait or a task ended with. */
  #outsideOf(
    body: End,
    children: readonly End[],
    inWait: readonly number[],
    region: Region,
    around: Region,
  ): Outcome | null {
    const outer = level(around);
    const found: { at: number; outcome: Outcome }[] = [];
    for (const end of [body, ...children]) {
      if (end.outcome.kind !== 'cancelled' || end.outcome.origin === region.id) continue;
      if (end === body || (end.outcome.origin === outer.origin && outer.at <= end.at)) {
        found.push({ at: end.at, outcome: end.outcome });
      }
    }
    const last = Math.max(...children.map((end) => end.at), body.at);
    if (outer.at <= last && outer.at > body.at && level(region).at === outer.at) {
      if (body.at < last) found.push({ at: outer.at, outcome: cancelled(outer.origin) });
    }
    for (const at of inWait) found.push({ at, outcome: cancelled('edge') });
    found.sort((a, b) => a.at - b.at);
    return found.at(-1)?.outcome ?? null;
  }

  #groupOutcome(
    leaves: readonly string[],
    outsideGiven: Outcome | null,
    region: Region,
    around: Region,
    from: number,
    at: number,
    left: readonly number[],
    all: readonly number[],
  ): { outcome: Outcome; edges: readonly number[] } {
    let outside = outsideGiven;
    let edges = left;
    // A request that was swallowed, and not taken back, still counts: as in asyncio.
    if (outside === null && (region.cancelAt <= at || leaves.length > 0)) {
      const outer = this.#outer(around, from, at, left, all);
      if (outer !== null) ({ outcome: outside, edges } = outer);
    }
    if (leaves.length > 0) {
      // The task's cancellation is not lost: it comes at the next wait.
      const again = outside?.kind === 'cancelled' && outside.origin === 'edge';
      return {
        outcome: { kind: 'failed', leaves },
        edges: again ? [at, ...edges.filter((edge) => edge > at)] : edges,
      };
    }
    return { outcome: outside ?? ok, edges };
  }
}
