import { afterEach, describe, expect, test, vi } from 'vitest';
import * as policy from '../../lib/loop/policy.ts';

const environment = process.env['UVIO_POLICY'];

afterEach(() => {
  policy.setLoopPolicy(null);
  if (environment === undefined) delete process.env['UVIO_POLICY'];
  else process.env['UVIO_POLICY'] = environment;
  vi.restoreAllMocks();
  vi.resetModules();
});

/** A fresh copy of the module: its choices are remembered for the life of the thread. */
function fresh(): Promise<typeof policy> {
  vi.resetModules();
  return import('../../lib/loop/policy.ts');
}

// covers: asyncio/policies, seeds/E9
describe('policies', () => {
  test('pure is the default and makes loops of its own', async () => {
    const pure = policy.pure();
    const [a, b] = [pure.createLoop(), pure.createLoop()];
    expect(pure.name).toBe('pure');
    expect([a.backend, b.backend, a === b]).toEqual(['pure', 'pure', false]);
    await Promise.all([a.close(), b.close()]);
  });

  test('set, get and reset', () => {
    const mine = policy.pure();
    policy.setLoopPolicy(mine);
    expect(policy.getLoopPolicy()).toBe(mine);
    policy.setLoopPolicy(null);
    expect(policy.getLoopPolicy()).not.toBe(mine);
    for (const bad of [undefined, 'native', {}]) {
      expect(() => policy.setLoopPolicy(bad as never)).toThrow(TypeError);
    }
  });

  test('UVIO_POLICY', async () => {
    process.env['UVIO_POLICY'] = 'pure';
    expect((await fresh()).getLoopPolicy().name).toBe('pure');
    process.env['UVIO_POLICY'] = 'fast';
    const copy = await fresh();
    expect(() => copy.getLoopPolicy()).toThrow(/UVIO_POLICY/);
  });

  // covers: asyncio/set-event-loop
  test('the default loop is made once, and again when it was closed', async () => {
    const copy = await fresh();
    copy.setLoopPolicy(copy.pure());
    const first = copy.defaultLoop();
    expect(copy.defaultLoop()).toBe(first);
    await first.close();
    const second = copy.defaultLoop();
    expect(second).not.toBe(first);
    await second.close();
  });
});

describe('native', () => {
  // covers: asyncio/libuv-version
  test('nativeInfo never throws', () => {
    const info = policy.nativeInfo();
    expect(typeof info.available).toBe('boolean');
    if (info.available) expect(info.engines).toContain('uv');
    else expect(info.reason).toMatch(/./);
  });

  // covers: seeds/C25
  test('falls back once with a warning where the addon is missing, or throws', async () => {
    vi.doMock('../../lib/loop/native/backend.ts', () => ({
      nativeInfo: () => ({ available: false, reason: 'no prebuild', engines: [] }),
      createNativeBackend: () => expect.unreachable(),
    }));
    const copy = await fresh();
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    expect([copy.native().name, copy.native().name]).toEqual(['pure', 'pure']);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]?.[1]).toMatchObject({ code: 'UVIO_NATIVE_UNAVAILABLE' });
    expect(() => copy.native({ required: true })).toThrow(/no prebuild/);
    vi.doUnmock('../../lib/loop/native/backend.ts');
  });

  test('refuses under Bun and Deno', async () => {
    vi.stubGlobal('Deno', {});
    const info = policy.nativeInfo();
    vi.unstubAllGlobals();
    expect(info).toMatchObject({ available: false, engines: [] });
    expect(info.reason).toContain('Deno');
  });

  test('an unknown engine is a TypeError', () => {
    expect(() => policy.native({ engine: 'epoll' as never })).toThrow(TypeError);
  });
});
