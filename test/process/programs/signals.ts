/** A program for signals.test.ts. The last argument says what it does. */
import { openSignalReceiver } from '../../../lib/process/signal-receiver.ts';
import '../../../lib/process/loop-methods.ts';
import { getRunningLoop, run } from '../../../lib/task/run.ts';
import { sleep, sleepForever } from '../../../lib/task/sleep.ts';

function interrupt(signal: NodeJS.Signals = 'SIGINT'): void {
  process.kill(process.pid, signal);
}

async function receive(): Promise<void> {
  using receiver = openSignalReceiver('SIGINT', 'SIGTERM');
  let left = 3;
  interrupt();
  for await (const signal of receiver) {
    console.log(signal);
    if (--left === 0) break;
    interrupt(left === 1 ? 'SIGTERM' : 'SIGINT');
  }
  console.log('went on');
}

async function receiveThenDie(): Promise<void> {
  await receive();
  interrupt();
  await sleepForever();
}

async function handle(): Promise<void> {
  const loop = getRunningLoop();
  const handled = new Promise<void>((resolve) => loop.addSignalHandler('SIGINT', resolve));
  interrupt();
  await handled;
  console.log('handled', loop.removeSignalHandler('SIGINT'));
  interrupt();
  try {
    await sleepForever();
  } finally {
    await sleep(0);
    console.log('cancelled');
  }
}

/** Nothing but the wait for a signal keeps this process alive. */
async function waitAtTopLevel(): Promise<void> {
  using receiver = openSignalReceiver('SIGUSR2');
  setTimeout(() => interrupt('SIGUSR2'), 50).unref();
  for await (const signal of receiver) {
    console.log(signal);
    break;
  }
}

switch (process.argv[2]) {
  case 'receive':
    await run(receive);
    console.log('done');
    break;
  case 'receive-then-die':
    await run(receiveThenDie);
    break;
  case 'left-open':
    await run(async () => void openSignalReceiver('SIGTERM'));
    interrupt('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    break;
  case 'handle':
    await run(handle);
    break;
  case 'top':
    await waitAtTopLevel();
    break;
}
