// What every peer in JavaScript does: say where it listens, end on SIGTERM, collect on SIGUSR2.

/** Prints the port for the runner, and answers its signals. */
export function ready(port, collect = globalThis.gc) {
  process.on('SIGTERM', () => process.exit(0));
  process.on('SIGUSR2', () => {
    // Twice: what finalizers of the first collection let go, the second one frees.
    collect?.();
    collect?.();
    console.log('{"collected":true}');
  });
  console.log(JSON.stringify({ port }));
}
