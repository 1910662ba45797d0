import { describe, expect, test } from 'vitest';
import { BusyMeter, LagHistogram } from '../../lib/loop/metrics.ts';

describe('LagHistogram', () => {
  test('percentiles are at most one bucket above the value', () => {
    const lag = new LagHistogram();
    expect(lag.percentile(0.99)).toBe(0);
    for (let us = 1; us <= 1000; us++) lag.record(us / 1000);
    expect(lag.count).toBe(1000);
    for (const [share, ms] of [
      [0.5, 0.5],
      [0.99, 0.99],
      [1, 1],
    ] as const) {
      expect(lag.percentile(share)).toBeGreaterThanOrEqual(ms);
      expect(lag.percentile(share)).toBeLessThan(ms * 1.13);
    }
  });

  test('extremes stay inside', () => {
    const lag = new LagHistogram();
    lag.record(-5);
    expect(lag.percentile(1)).toBe(0);
    lag.record(1e12);
    expect(lag.percentile(1)).toBeGreaterThan(4e6);
  });
});

describe('BusyMeter', () => {
  test('shares are within 0 and 1', async () => {
    const meter = new BusyMeter();
    await new Promise((resolve) => setImmediate(resolve));
    const { busyMs, idleMs, utilization } = meter.read();
    expect(busyMs).toBeGreaterThan(0);
    expect(idleMs).toBeGreaterThanOrEqual(0);
    expect(utilization).toBeGreaterThanOrEqual(0);
    expect(utilization).toBeLessThanOrEqual(1);
    expect(meter.read().utilization).toBeLessThanOrEqual(1);
  });
});
