/** OpenTelemetry: spans and figures, through objects shaped as those of its API. */
import { describe, expect, test } from 'vitest';
import { openTelemetry } from '../../lib/inspect/telemetry.ts';
import { taskGroup } from '../../lib/task/group.ts';
import { run } from '../../lib/task/run.ts';
import { checkpoint, sleep, sleepForever } from '../../lib/task/sleep.ts';
import { createTask } from '../../lib/task/task.ts';
import { testPolicy } from '../support/policy.ts';
import { failure } from '../task/support.ts';

interface SpanRecord {
  name: string;
  attributes: Record<string, unknown>;
  links: string[];
  status: number;
  errors: unknown[];
  ended: number;
}

class TestTracer {
  readonly spans: SpanRecord[] = [];

  startSpan(
    name: string,
    options: { attributes: Record<string, unknown>; links: { context: { spanId: string } }[] },
  ): object {
    const links = options.links.map(({ context }) => context.spanId);
    const attributes = { ...options.attributes };
    const record: SpanRecord = { name, attributes, links, status: 0, errors: [], ended: 0 };
    this.spans.push(record);
    return {
      spanContext: () => ({ spanId: name }),
      setAttributes: (more: object) => Object.assign(record.attributes, more),
      setStatus: ({ code }: { code: number }) => {
        record.status = code;
      },
      recordException: (error: unknown) => record.errors.push(error),
      end: () => {
        record.ended++;
      },
    };
  }
}

type Observe = (result: { observe(value: number): void }) => void;

class TestMeter {
  readonly sums: Map<string, number> = new Map();
  readonly gauges: Map<string, Set<Observe>> = new Map();

  createCounter(name: string): object {
    return {
      add: (value: number, attributes?: Record<string, unknown>) => {
        const key = [name, ...Object.values(attributes ?? {})].join(' ');
        this.sums.set(key, (this.sums.get(key) ?? 0) + value);
      },
    };
  }

  createUpDownCounter(name: string): object {
    return this.createCounter(name);
  }

  createObservableGauge(name: string): object {
    const callbacks = this.gauges.get(name) ?? new Set();
    this.gauges.set(name, callbacks);
    return {
      addCallback: (callback: Observe) => callbacks.add(callback),
      removeCallback: (callback: Observe) => callbacks.delete(callback),
    };
  }

  read(name: string): number[] {
    const values: number[] = [];
    for (const observe of this.gauges.get(name) ?? []) {
      observe({ observe: (value) => values.push(value) });
    }
    return values;
  }
}

// covers: seeds/C53, seeds/C26
describe('openTelemetry', () => {
  test('makes a span for each task, linked to where it comes from, with its ending', async () => {
    const tracer = new TestTracer();
    const boom = new Error('boom');
    const main = async (): Promise<void> => {
      const failing = createTask({ name: 'fails' }, () => Promise.reject(boom));
      await failure(failing);
      await taskGroup(
        async (group) => {
          group.createTask({ name: 'member' }, () => sleepForever());
          await checkpoint();
          group.cancel();
        },
        { name: 'g' },
      );
    };
    await run(main, { policy: testPolicy(), instruments: [openTelemetry({ tracer })] });
    const [mainSpan, fails, member] = tracer.spans as [SpanRecord, SpanRecord, SpanRecord];
    expect(tracer.spans.map(({ name, ended }) => [name, ended])).toEqual([
      ['main', 1],
      ['fails', 1],
      ['member', 1],
    ]);
    expect(mainSpan).toMatchObject({ links: [], status: 0 });
    expect(mainSpan.attributes).toMatchObject({ 'uvio.task.ending': 'done' });
    expect(fails).toMatchObject({ links: ['main'], status: 2, errors: [boom] });
    expect(fails.attributes).toMatchObject({ 'uvio.task.ending': 'failed' });
    expect(member).toMatchObject({ links: ['main'], status: 0 });
    expect(member.attributes).toMatchObject({
      'uvio.group': 'g',
      'uvio.task.ending': 'cancelled',
    });
  });

  test('counts tasks and observes the loop as long as it is open', async () => {
    const meter = new TestMeter();
    const main = async (): Promise<void> => {
      await createTask(() => sleep(1));
      await sleep(1);
      expect(meter.sums.get('uvio.tasks.live')).toBe(1);
      expect(meter.read('uvio.loop.lag.p99')[0]).toBeGreaterThan(0);
      expect(meter.read('uvio.loop.connections')).toEqual([0]);
    };
    await run(main, { policy: testPolicy(), instruments: [openTelemetry({ meter })] });
    expect(meter.sums.get('uvio.tasks.live')).toBe(0);
    expect(meter.sums.get('uvio.tasks.ended done')).toBe(2);
    expect(meter.read('uvio.loop.connections')).toEqual([]);
  });

  test('takes both, or none', async () => {
    const [tracer, meter] = [new TestTracer(), new TestMeter()];
    const instruments = [openTelemetry({ tracer, meter }), openTelemetry({})];
    await run(() => sleep(1), { policy: testPolicy(), instruments });
    expect(tracer.spans.length).toBe(1);
    expect(meter.sums.get('uvio.tasks.ended done')).toBe(1);
  });

  test('refuses what is no tracer or meter', () => {
    expect(() => openTelemetry({ tracer: {} })).toThrow(/startSpan/);
    expect(() => openTelemetry({ meter: { createCounter() {} } })).toThrow(TypeError);
    expect(() => openTelemetry({ tracer: null as never })).toThrow(TypeError);
  });
});
