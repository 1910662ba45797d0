/**
 * Spans and figures for OpenTelemetry.
 *
 * In: a tracer and a meter of @opentelemetry/api. Out: an instrument. Never: a dependency on that
 * package; its parts that are used are described here.
 */
import { argTypeError } from '../base/errors.ts';
import type { EventLoop, Instrument, LoopMetrics } from '../loop/event-loop.ts';
import { CANCELLED, FAILED } from '../task/status.ts';
import { Task } from '../task/task.ts';

type Attributes = Record<string, string | number>;

interface Span {
  spanContext(): unknown;
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error | string): unknown;
  end(): void;
}

interface Tracer {
  startSpan(name: string, options: { attributes: Attributes; links: object[] }): Span;
}

interface Counter {
  add(value: number, attributes?: Attributes): void;
}

interface Gauge {
  addCallback(callback: (result: { observe(value: number): void }) => void): void;
  removeCallback?(callback: (result: { observe(value: number): void }) => void): void;
}

interface Meter {
  createCounter(name: string, options: object): Counter;
  createUpDownCounter(name: string, options: object): Counter;
  createObservableGauge(name: string, options: object): Gauge;
}

/** SpanStatusCode.ERROR */
const errorStatus = 2;

const gauges: readonly [name: string, unit: string, read: (metrics: LoopMetrics) => number][] = [
  ['uvio.loop.ready', '{callback}', (metrics) => metrics.ready],
  ['uvio.loop.timers', '{timer}', (metrics) => metrics.timers],
  ['uvio.loop.connections', '{connection}', (metrics) => metrics.connections],
  ['uvio.loop.write_buffer', 'By', (metrics) => metrics.writeBufferBytes],
  ['uvio.loop.lag.p50', 'ms', (metrics) => metrics.lagP50Ms],
  ['uvio.loop.lag.p99', 'ms', (metrics) => metrics.lagP99Ms],
];

function endingOf(task: Task): 'cancelled' | 'failed' | 'done' {
  if (task.status === CANCELLED) return 'cancelled';
  return task.status === FAILED ? 'failed' : 'done';
}

class Telemetry implements Instrument {
  readonly #tracer: Tracer | null;
  readonly #meter: Meter | null;
  readonly #live: Counter | null;
  readonly #ended: Counter | null;
  readonly #spans: WeakMap<Task, Span> = new WeakMap();
  /** Those that began while this was on. */
  readonly #counted: WeakSet<Task> = new WeakSet();
  readonly #loops: WeakSet<EventLoop> = new WeakSet();

  constructor(tracer: Tracer | null, meter: Meter | null) {
    this.#tracer = tracer;
    this.#meter = meter;
    this.#live = meter?.createUpDownCounter('uvio.tasks.live', { unit: '{task}' }) ?? null;
    this.#ended = meter?.createCounter('uvio.tasks.ended', { unit: '{task}' }) ?? null;
  }

  taskSpawned(task: Task): void {
    this.#counted.add(task);
    this.#live?.add(1);
    if (this.#meter !== null && !this.#loops.has(task.loop)) this.#observe(this.#meter, task.loop);
    if (this.#tracer === null) return;
    const { parent } = task;
    const above = parent instanceof Task ? parent : (task.outer?.task ?? null);
    const span = above === null ? undefined : this.#spans.get(above);
    const attributes: Attributes = { 'uvio.task.id': task.id };
    if (parent !== null && !(parent instanceof Task)) attributes['uvio.group'] = parent.name;
    const links = span === undefined ? [] : [{ context: span.spanContext() }];
    this.#spans.set(task, this.#tracer.startSpan(task.name, { attributes, links }));
  }

  taskExited(task: Task): void {
    const ending = endingOf(task);
    this.#ended?.add(1, { 'uvio.task.ending': ending });
    if (this.#counted.has(task)) this.#live?.add(-1);
    const span = this.#spans.get(task);
    if (span === undefined) return;
    span.setAttributes({ 'uvio.task.ending': ending });
    if (ending === 'failed') {
      const error = task.outcome;
      span.recordException(error instanceof Error ? error : String(error));
      span.setStatus({ code: errorStatus, message: String(error) });
    }
    span.end();
  }

  /** Gauges of a loop, as long as it is open. */
  #observe(meter: Meter, loop: EventLoop): void {
    this.#loops.add(loop);
    for (const [name, unit, read] of gauges) {
      const gauge = meter.createObservableGauge(name, { unit });
      const observe = (result: { observe(value: number): void }): void => {
        result.observe(read(loop.metrics()));
      };
      gauge.addCallback(observe);
      loop.closeHooks.add(() => gauge.removeCallback?.(observe));
    }
  }
}

function checkMethods(name: string, value: object | undefined, methods: readonly string[]): void {
  if (value === undefined) return;
  for (const method of methods) {
    if (typeof (value as Record<string, unknown> | null)?.[method] === 'function') continue;
    throw argTypeError(name, `an object of @opentelemetry/api with ${method}()`, value);
  }
}

/**
 * An instrument for `run(main, { instruments: [openTelemetry({ tracer, meter })] })`: a span for
 * each task, linked to that of the task it comes from, and counters and gauges for the loop. Give
 * one of the two or both. TypeError for what lacks their methods.
 */
export function openTelemetry(options: { tracer?: object; meter?: object }): Instrument {
  const { tracer, meter } = options;
  checkMethods('options.tracer', tracer, ['startSpan']);
  const makers = ['createCounter', 'createUpDownCounter', 'createObservableGauge'];
  checkMethods('options.meter', meter, makers);
  return new Telemetry((tracer as Tracer) ?? null, (meter as Meter) ?? null);
}
