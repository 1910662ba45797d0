/**
 * Cancel regions: a tree per loop, with the waits that go on in each.
 *
 * In: cancel, shield, leave. Out: `effective`, one field that says whether waits in here reject,
 * and why. Never: recursion over the tree (groups nest 10,000 deep), unordered walks.
 *
 * Invariants:
 *  - `effective` = the owner's `own`, else the parent's unless `shield`; kept up to date when any
 *    of them changes,
 *    so that the start of a wait reads one field.
 *  - The region around an open one is open: whoever leaves hands children and waits to its parent.
 *  - A task is a region, too. The loop's root region keeps all tasks alive.
 */
import { CancelledError } from '../base/errors.ts';
import type { EventLoop } from '../loop/event-loop.ts';
import { deliver } from './cancellation.ts';
import type { Frame, VarsBox } from './frame.ts';
import type { Task } from './task.ts';
import type { Waiter } from './waiter.ts';

/** What stands behind a region and wants to know about cancellation. */
export interface NodeOwner {
  /** @internal The region's own cancellation; tasks have none, so it is not a field of theirs. */
  own: CancelledError | null;
  /** @internal The region is now cancelled. After all waits were told; may call user code. */
  onNodeCancelled?: ((error: CancelledError) => void) | undefined;
  /** @internal A cancellation from outside was held back by this region's shield. */
  onShielded?: (() => void) | undefined;
}

/** In `effective` of a region that was left: sends waits the slow way, to the region around. */
const leftMarker: CancelledError = new CancelledError('The scope was left');

/** A region; also the value in AsyncLocalStorage, so that entering one makes one object. */
export interface Region extends Frame {
  /** @internal The region around. */
  outer: Region | null;
  /** @internal Circular list by its first member. */
  children: Region | null;
  /** @internal One wait needs no list, and nearly all regions have at most one. */
  waiters: Waiter<unknown> | WaitList | null;
  /** @internal Neighbours in the list of the region around. */
  prev: Region;
  /** @internal */
  next: Region;
  /** @internal What waits in here reject with, or null. */
  effective: CancelledError | null;
  /** @internal */
  readonly owner: NodeOwner | null;
  /** @internal */
  readonly shield: boolean;
  /** @internal Aborts with the region; made when first asked for. */
  controller: AbortController | null;
}

/** The region of a scope, and that of a loop. */
export class ScopeNode implements Region {
  readonly loop: EventLoop;
  readonly task: Task | null;
  readonly box: VarsBox;
  outer: Region | null;
  children: Region | null;
  waiters: Waiter<unknown> | WaitList | null;
  prev: Region;
  next: Region;
  owner: NodeOwner | null;
  effective: CancelledError | null;
  shield: boolean;
  controller: AbortController | null;

  constructor(
    loop: EventLoop,
    task: Task | null,
    outer: Region | null,
    box: VarsBox,
    shield: boolean,
  ) {
    this.loop = loop;
    this.task = task;
    this.box = box;
    this.outer = outer;
    this.children = null;
    this.waiters = null;
    this.prev = this;
    this.next = this;
    this.owner = null;
    this.effective = outer === null || shield ? null : outer.effective;
    this.shield = shield;
    this.controller = null;
    if (outer !== null) adopt(outer, this);
  }

  /** As a frame: its own innermost region. */
  get scope(): Region {
    return this;
  }

  /** Cancels the region for good. False when it was cancelled or left before. */
  cancel(error: CancelledError): boolean {
    const { owner } = this;
    if (owner === null || owner.own !== null || hasLeft(this)) return false;
    owner.own = error;
    if (this.effective === null) spread(this, error);
    return true;
  }

  setShield(shield: boolean): void {
    if (this.shield === shield) return;
    this.shield = shield;
    if (!hasLeft(this)) refresh(this);
  }

  leave(): void {
    leaveRegion(this);
    this.owner = null;
  }
}

/** Nothing begins in a region any more once it was left. */
export function hasLeft(region: Region): boolean {
  return region.effective === leftMarker;
}

/** Unlinks the region. What still goes on in here belongs to the region around from now on. */
export function leaveRegion(region: Region): void {
  if (hasLeft(region)) return;
  const { outer } = region;
  region.effective = leftMarker;
  if (outer === null) return;
  abandon(outer, region);
  if (region.children !== null || region.waiters !== null) handOver(region, outer);
}

/**
 * The waits of a region that has several, in order of their begin.
 *
 * Not a Set: when V8 gives a Set a larger or smaller table, the old table points to the new one.
 * Once a dead table was old for the garbage collector, it keeps all that come after it alive until
 * the next full collection, and with them every wait, its promise and its result. A third of the
 * time of queries in parallel went into that.
 */
export class WaitList {
  readonly places: (Waiter<unknown> | null)[] = [];
  live = 0;

  add(waiter: Waiter<unknown>): void {
    waiter.place = this.places.length;
    this.places.push(waiter);
    this.live++;
  }

  remove(waiter: Waiter<unknown>): void {
    const { places } = this;
    places[waiter.place] = null;
    this.live--;
    if (waiter.place === places.length - 1) places.pop();
    else if (places.length > 2 * this.live + 8) this.#close();
  }

  /** Gaps are closed when there are more of them than waits. */
  #close(): void {
    const { places } = this;
    let to = 0;
    for (const waiter of places) {
      if (waiter === null) continue;
      waiter.place = to;
      places[to++] = waiter;
    }
    places.length = to;
  }
}

export function addWaiter(region: Region, waiter: Waiter<unknown>): void {
  const { waiters } = region;
  waiter.node = region;
  if (waiters === null) {
    region.waiters = waiter;
  } else if (waiters instanceof WaitList) {
    waiters.add(waiter);
  } else {
    const list = new WaitList();
    list.add(waiters);
    list.add(waiter);
    region.waiters = list;
  }
}

export function removeWaiter(region: Region, waiter: Waiter<unknown>): void {
  const { waiters } = region;
  waiter.node = null;
  if (waiters === waiter) {
    region.waiters = null;
  } else if (waiters instanceof WaitList) {
    waiters.remove(waiter);
    if (waiters.live === 0) region.waiters = null;
  }
}

/** Puts a region into the list of the one around. */
export function adopt(parent: Region, child: Region): void {
  child.outer = parent;
  const first = parent.children;
  if (first === null) {
    child.prev = child;
    child.next = child;
    parent.children = child;
  } else {
    const last = first.prev;
    child.prev = last;
    child.next = first;
    last.next = child;
    first.prev = child;
  }
}

function abandon(parent: Region, child: Region): void {
  const next = child.next;
  if (next === child) {
    parent.children = null;
  } else {
    child.prev.next = next;
    next.prev = child.prev;
    if (parent.children === child) parent.children = next;
  }
  child.prev = child;
  child.next = child;
}

function handOver(node: Region, parent: Region): void {
  while (node.children !== null) {
    const child = node.children;
    abandon(node, child);
    adopt(parent, child);
    refresh(child);
  }
  const moved: Waiter<unknown>[] = [];
  collectWaiters(node, moved);
  node.waiters = null;
  for (const waiter of moved) addWaiter(parent, waiter);
  if (parent.effective !== null) deliver(moved, parent.effective);
}

/** Brings `effective` up to date after a change of shield or parent. */
function refresh(node: Region): void {
  const inherited = node.shield ? null : (node.outer?.effective ?? null);
  const wanted = node.owner?.own ?? inherited;
  if (wanted === node.effective) return;
  if (wanted !== null && node.effective === null) spread(node, wanted);
  else if (wanted === null) clear(node);
}

/** Marks the subtree as cancelled, then ends its waits, then tells owners and signals. */
function spread(root: Region, error: CancelledError): void {
  const waiters: Waiter<unknown>[] = [];
  const owners: NodeOwner[] = [];
  const shields: NodeOwner[] = [];
  const controllers: AbortController[] = [];
  const open: Region[] = [root];
  for (;;) {
    const node = open.pop();
    if (node === undefined) break;
    node.effective = error;
    collectWaiters(node, waiters);
    if (node.controller !== null) controllers.push(node.controller);
    if (node.owner?.onNodeCancelled !== undefined) owners.push(node.owner);
    // Pushed from last to first, so that they are visited from first to last.
    const first = node.children;
    if (first === null) continue;
    let child = first.prev;
    for (;;) {
      if (child.shield) {
        if (child.owner?.onShielded !== undefined) shields.push(child.owner);
      } else if (child.effective === null) {
        open.push(child);
      }
      if (child === first) break;
      child = child.prev;
    }
  }
  deliver(waiters, error);
  for (const owner of owners) owner.onNodeCancelled?.(error);
  for (const owner of shields) owner.onShielded?.();
  for (const controller of controllers) controller.abort(error);
}

/** A cancellation from outside no longer reaches this subtree. */
function clear(root: Region): void {
  const open: Region[] = [root];
  for (;;) {
    const node = open.pop();
    if (node === undefined) return;
    node.effective = null;
    for (const child of childrenOf(node)) {
      if (child.effective === null || child.shield) continue;
      if (!child.owner?.own) open.push(child);
    }
  }
}

/** @internal */
export function childrenOf(node: Region): Region[] {
  const found: Region[] = [];
  const first = node.children;
  if (first === null) return found;
  let child = first;
  do {
    found.push(child);
    child = child.next;
  } while (child !== first);
  return found;
}

/** Whether something of the region's own task goes on in it. */
export function regionBusy(node: Region): boolean {
  return waitersOf(taskNodes(node, true).nodes).length > 0;
}

function collectWaiters(node: Region, into: Waiter<unknown>[]): void {
  const { waiters } = node;
  if (waiters === null) return;
  if (!(waiters instanceof WaitList)) {
    into.push(waiters);
    return;
  }
  for (const waiter of waiters.places) if (waiter !== null) into.push(waiter);
}

/** As many of the latest waits are looked at for a promise. */
const recentWaits = 16;

/** The wait that ends with this promise, if it is one of the latest of this region; else null. */
export function waiterWith(node: Region, promise: unknown): Waiter<unknown> | null {
  const { waiters } = node;
  if (waiters === null) return null;
  if (!(waiters instanceof WaitList)) return waiters.promise === promise ? waiters : null;
  const { places } = waiters;
  for (let i = places.length - 1; i >= 0 && i >= places.length - recentWaits; i--) {
    const waiter = places[i] as Waiter<unknown> | null;
    if (waiter !== null && waiter.promise === promise) return waiter;
  }
  return null;
}

/**
 * The regions of one task that an edge cancellation reaches, and the shields that stop it.
 * @param all regions behind shields, too.
 */
export function taskNodes(root: Region, all: boolean): { nodes: Region[]; shields: NodeOwner[] } {
  const nodes: Region[] = [root];
  const shields: NodeOwner[] = [];
  for (let i = 0; i < nodes.length; i++) {
    for (const child of childrenOf(nodes[i] as Region)) {
      if (child.task !== root.task) continue;
      if (all || !child.shield) nodes.push(child);
      else if (child.owner?.onShielded !== undefined) shields.push(child.owner);
    }
  }
  return { nodes, shields };
}

/** The waits that go on in these regions, in order of their begin within each. */
export function waitersOf(nodes: readonly Region[]): Waiter<unknown>[] {
  const found: Waiter<unknown>[] = [];
  for (const node of nodes) collectWaiters(node, found);
  return found;
}
