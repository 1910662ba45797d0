// A server with few descriptors. Prints its port, then each accept error as the loop's handler
// gets it.
import { execFileSync } from 'node:child_process';
import { getRunningLoop, native, run, startServer } from '../../../dist/index.js';

// Not before: loading modules takes descriptors, too.
execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=64:64']);

await run(
  async () => {
    getRunningLoop().setExceptionHandler((_loop, context) => {
      console.log(JSON.stringify({ error: context.error?.code, syscall: context.error?.syscall }));
    });
    const server = await startServer(async (connection) => {
      await connection.write('hi');
      await connection.read();
    });
    console.log(JSON.stringify({ port: server.port }));
    const before = process.cpuUsage();
    process.on('SIGUSR2', () => {
      const { user, system } = process.cpuUsage(before);
      console.log(JSON.stringify({ cpuMs: (user + system) / 1000 }));
    });
    await server.serveForever();
  },
  { policy: native({ required: true }), handleSignals: false },
);
