/** A program for run.test.ts. The last argument says what it does. */
import { run } from '../../lib/task/run.ts';
import { shielded } from '../../lib/task/scope.ts';
import { sleep, sleepForever } from '../../lib/task/sleep.ts';

function interruptSoon(): void {
  setTimeout(() => process.kill(process.pid, 'SIGINT'), 20);
}

async function waitForSignal(): Promise<void> {
  console.log('waiting');
  interruptSoon();
  try {
    await sleepForever();
  } finally {
    await sleep(1);
    console.log('cleaned up');
  }
}

async function refuseToEnd(): Promise<void> {
  console.log('waiting');
  interruptSoon();
  try {
    await sleepForever();
  } finally {
    console.log('stuck');
    interruptSoon();
    await shielded(() => sleepForever());
  }
}

switch (process.argv[2]) {
  case 'plain':
    await run(() => sleep(1));
    console.log('done');
    break;
  case 'interrupt':
    await run(waitForSignal);
    break;
  case 'twice':
    await run(refuseToEnd);
    break;
}
