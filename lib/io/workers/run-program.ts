/**
 * A program that serves until a signal comes, in this thread or in workers.
 *
 * In: what to serve. Out: its service, in one of three roles: alone, as one of the workers, or as
 * their supervisor. Never: what is served.
 */
import { availableParallelism } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import { InvalidStateError, notSupportedError, type WaitOptions } from '../../base/errors.ts';
import { checkInteger } from '../../base/units.ts';
import type { LoopPolicy } from '../../loop/policy.ts';
import { currentFrame, currentLoop } from '../../task/frame.ts';
import { run } from '../../task/run.ts';
import type { StreamServer } from '../server.ts';
import { startServer } from '../start-server.ts';
import { Crew } from './crew.ts';
import { onceOnly, serveAsWorker, workerOrder } from './member.ts';
import { addMetricsSource, SoleWorker } from './metrics.ts';
import type { PlaceOptions, Program } from './service.ts';
import { untilSignal } from './until-signal.ts';

function waitOf({ signal }: PlaceOptions): WaitOptions {
  return signal === undefined ? {} : { signal };
}

async function serveAlone(program: Program): Promise<void> {
  const { print = console.log, handleSignals, options } = program;
  await untilSignal(handleSignals, waitOf(options), async (stop) => {
    const service = await program.serve(options);
    try {
      using _ = addMetricsSource(new SoleWorker(service));
      print?.(`Running on ${service.url}`);
      await stop();
    } finally {
      await service.close();
    }
  });
}

/**
 * What the main thread listens on for its workers: a socket they share, or, when each has its own,
 * nothing. Then the port is tried: somebody else's could be shared by mistake, if they allow it.
 */
async function openShared(options: PlaceOptions): Promise<StreamServer | null> {
  const { host, port = 0, path, fd, backlog, reusePort } = options;
  const common = { start: false, ...(backlog === undefined ? {} : { backlog }) };
  const nobody = (): void => {};
  if (path !== undefined || fd !== undefined) {
    const place = { ...(path === undefined ? {} : { path }), ...(fd === undefined ? {} : { fd }) };
    return (await startServer(nobody, { ...common, ...place })) as StreamServer;
  }
  if (port === 0 || reusePort === true) return null;
  const where = host === undefined ? { port } : { host, port };
  const server = await startServer(nobody, { start: false, ...where });
  server.close();
  await server.waitClosed();
  return null;
}

let supervised = false;

/** @throws InvalidStateError the second time, and in threads that are no workers of ours */
function superviseOnce(name: string): void {
  if (!isMainThread) throw new InvalidStateError('Workers are started by the main thread');
  if (supervised) throw new InvalidStateError(onceOnly(name));
  supervised = true;
}

async function superviseWorkers(program: Program, count: number): Promise<void> {
  const { print = console.log, handleSignals, options } = program;
  const closeMs = program.closeMs();
  const { backendHandle } = currentLoop();
  if (backendHandle.listenFd === undefined) {
    throw notSupportedError('listen', `threads share no port of ${backendHandle.name}`);
  }
  superviseOnce(program.name);
  const shared = await openShared(options);
  const crew = new Crew(count, closeMs, shared?.descriptor ?? null);
  try {
    await untilSignal(handleSignals, waitOf(options), (stop) =>
      crew.run(
        () => print?.(`Running on ${crew.url} with ${count} workers`),
        // The last one to close is a worker, which has accepted what was waiting.
        () => stop().finally(() => shared?.close()),
      ),
    );
  } finally {
    shared?.close();
  }
}

/** How this thread is to serve. */
function roleOf(workers: unknown): (program: Program) => Promise<void> {
  const count = workers === 'auto' ? availableParallelism() : checkInteger('workers', workers, 1);
  if (count === 1) return serveAlone;
  const order = workerOrder();
  if (order !== null) return (program) => serveAsWorker(program, order);
  return (program) => superviseWorkers(program, count);
}

/** Starts a run if none is. @param make called inside of it */
export async function runProgram(
  workers: unknown,
  policy: LoopPolicy | undefined,
  make: () => Promise<Program>,
): Promise<void> {
  const serve = roleOf(workers);
  const main = async (): Promise<void> => serve(await make());
  if (currentFrame() !== undefined) await main();
  else await run(main, { ...(policy === undefined ? {} : { policy }), handleSignals: false });
}
