// The policy of a uvio peer: `node uvio-….mjs pure|native [spin=MICROS]`, else UVIO_POLICY.
import { getRunningLoop, native, pure, run } from '../../dist/index.js';

const name = process.argv[2] ?? process.env.UVIO_POLICY ?? 'pure';
const spin = process.argv.find((word) => word.startsWith('spin='))?.slice('spin='.length);

function choosePolicy() {
  if (name === 'pure') return pure();
  if (name !== 'native') throw new TypeError(`The policy is pure or native, not ${name}`);
  // A silent fallback would be measured under the wrong name.
  const options = spin === undefined ? {} : { spinMicros: Number(spin) };
  return native({ ...options, required: true });
}

/** Serves until a signal ends the process. `start` makes the listening server. */
export function serve(start) {
  const main = async () => {
    const server = await start(getRunningLoop());
    const { ready } = await import('./shared.mjs');
    ready(server.port);
    await server.serveForever();
  };
  return run(main, { policy: choosePolicy(), handleSignals: false });
}

export const address = { host: '127.0.0.1', port: 0 };
