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
 *  - The parent of an open region is open: whoever leaves hands children and waits to its parent.
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

export class ScopeNode implements Frame {
  readonly loop: EventLoop;
  readonly task: Task | null;
  readonly box: VarsBox;
  parent: ScopeNode | null;
  /** Circular lists by their first member. */
  children: ScopeNode | null;
  waiters: Waiter<unknown> | null;
  prev: ScopeNode;
  next: ScopeNode;
  owner: NodeOwner | null;
  /** What waits in here reject with, or null. */
  effective: CancelledError | null;
  shield: boolean;
  left: boolean;
  /** Aborts with the region; made when first asked for. */
  controller: AbortController | null;

  constructor(
    loop: EventLoop,
    task: Task | null,
    parent: ScopeNode | null,
    box: VarsBox,
    shield: boolean,
  ) {
    this.loop = loop;
    this.task = task;
    this.box = box;
    this.parent = parent;
    this.children = null;
    this.waiters = null;
    this.prev = this;
    this.next = this;
    this.owner = null;
    this.effective = parent === null || shield ? null : parent.effective;
    this.shield = shield;
    this.left = false;
    this.controller = null;
    if (parent !== null) adopt(parent, this);
  }

  /** As a frame: its own innermost region. No field, for there is one node per task. */
  get scope(): ScopeNode {
    return this;
  }

  addWaiter(waiter: Waiter<unknown>): void {
    waiter.node = this;
    const first = this.waiters;
    if (first === null) {
      waiter.prev = waiter;
      waiter.next = waiter;
      this.waiters = waiter;
    } else {
      const last = first.prev as Waiter<unknown>;
      waiter.prev = last;
      waiter.next = first;
      last.next = waiter;
      first.prev = waiter;
    }
  }

  removeWaiter(waiter: Waiter<unknown>): void {
    const next = waiter.next as Waiter<unknown>;
    if (next === waiter) {
      this.waiters = null;
    } else {
      const prev = waiter.prev as Waiter<unknown>;
      prev.next = next;
      next.prev = prev;
      if (this.waiters === waiter) this.waiters = next;
    }
    waiter.node = null;
    waiter.prev = null;
    waiter.next = null;
  }

  /** Cancels the region for good. False when it was cancelled or left before. */
  cancel(error: CancelledError): boolean {
    const { owner } = this;
    if (owner === null || owner.own !== null || this.left) return false;
    owner.own = error;
    if (this.effective === null) spread(this, error);
    return true;
  }

  setShield(shield: boolean): void {
    if (this.shield === shield) return;
    this.shield = shield;
    if (!this.left) refresh(this);
  }

  /** Unlinks the region. What still goes on in here belongs to the region around from now on. */
  leave(): void {
    if (this.left) return;
    const parent = this.parent;
    this.left = true;
    this.effective = leftMarker;
    if (parent !== null) {
      abandon(parent, this);
      if (this.children !== null || this.waiters !== null) handOver(this, parent);
    }
    this.owner = null;
  }
}

function adopt(parent: ScopeNode, child: ScopeNode): void {
  child.parent = parent;
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

function abandon(parent: ScopeNode, child: ScopeNode): void {
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

function handOver(node: ScopeNode, parent: ScopeNode): void {
  while (node.children !== null) {
    const child = node.children;
    abandon(node, child);
    adopt(parent, child);
    refresh(child);
  }
  const moved: Waiter<unknown>[] = [];
  while (node.waiters !== null) {
    const waiter = node.waiters;
    node.removeWaiter(waiter);
    parent.addWaiter(waiter);
    moved.push(waiter);
  }
  if (parent.effective !== null) deliver(moved, parent.effective);
}

/** Brings `effective` up to date after a change of shield or parent. */
function refresh(node: ScopeNode): void {
  const inherited = node.shield ? null : (node.parent?.effective ?? null);
  const wanted = node.owner?.own ?? inherited;
  if (wanted === node.effective) return;
  if (wanted !== null && node.effective === null) spread(node, wanted);
  else if (wanted === null) clear(node);
}

/** Marks the subtree as cancelled, then ends its waits, then tells owners and signals. */
function spread(root: ScopeNode, error: CancelledError): void {
  const waiters: Waiter<unknown>[] = [];
  const owners: NodeOwner[] = [];
  const shields: NodeOwner[] = [];
  const controllers: AbortController[] = [];
  const open: ScopeNode[] = [root];
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
function clear(root: ScopeNode): void {
  const open: ScopeNode[] = [root];
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
export function childrenOf(node: ScopeNode): ScopeNode[] {
  const found: ScopeNode[] = [];
  const first = node.children;
  if (first === null) return found;
  let child = first;
  do {
    found.push(child);
    child = child.next;
  } while (child !== first);
  return found;
}

function collectWaiters(node: ScopeNode, into: Waiter<unknown>[]): void {
  const first = node.waiters;
  if (first === null) return;
  let waiter = first;
  do {
    into.push(waiter);
    waiter = waiter.next as Waiter<unknown>;
  } while (waiter !== first);
}

/**
 * The regions of one task that an edge cancellation reaches, and the shields that stop it.
 * @param all regions behind shields, too.
 */
export function taskNodes(
  root: ScopeNode,
  all: boolean,
): { nodes: ScopeNode[]; shields: NodeOwner[] } {
  const nodes: ScopeNode[] = [root];
  const shields: NodeOwner[] = [];
  for (let i = 0; i < nodes.length; i++) {
    for (const child of childrenOf(nodes[i] as ScopeNode)) {
      if (child.task !== root.task) continue;
      if (all || !child.shield) nodes.push(child);
      else if (child.owner?.onShielded !== undefined) shields.push(child.owner);
    }
  }
  return { nodes, shields };
}

/** The waits that go on in these regions, in order of their begin within each. */
export function waitersOf(nodes: readonly ScopeNode[]): Waiter<unknown>[] {
  const found: Waiter<unknown>[] = [];
  for (const node of nodes) collectWaiters(node, found);
  return found;
}
