/** Waits and scopes that share a signal. */
import { getEventListeners } from 'node:events';
import { describe, expect } from 'vitest';
import { gather } from '../../lib/task/combinators.ts';
import { CancelScope } from '../../lib/task/scope.ts';
import { sleep } from '../../lib/task/sleep.ts';
import { failure, never, runTest } from './support.ts';

const count = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

describe('a signal that many share', () => {
  runTest('has one listener, and none when all waits have ended', async () => {
    const { signal } = new AbortController();
    const waits = Array.from({ length: 20 }, (_, i) => sleep(1 + (i % 3), undefined, { signal }));
    expect(count(signal)).toBe(1);
    await gather(waits);
    expect(count(signal)).toBe(0);
  });

  runTest('ends all their waits with its reason, in order', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const ended: number[] = [];
    const waits = Array.from({ length: 20 }, async (_, i) => {
      const error = await failure(sleep(never, undefined, { signal }));
      ended.push(i);
      return error;
    });
    controller.abort('enough');
    expect(await gather(waits)).toEqual(new Array(20).fill('enough'));
    expect(ended).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(count(signal)).toBe(0);
  });

  runTest('cancels twenty scopes, and keeps no listener of those that were left', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    await new CancelScope({ signal }).run(() => sleep(0));
    expect(count(signal)).toBe(0);
    const scopes = Array.from({ length: 20 }, () => new CancelScope({ signal }));
    const runs = scopes.map((scope) => scope.run(() => sleep(never)));
    expect(count(signal)).toBe(1);
    controller.abort();
    await gather(runs);
    expect(scopes.every((scope) => scope.cancelledCaught)).toBe(true);
    expect(count(signal)).toBe(0);
  });
});
