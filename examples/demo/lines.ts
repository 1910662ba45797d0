// One line-protocol program: a small key-value store. The loop is chosen by UVIO_POLICY.
// Try it by hand: `nc 127.0.0.1 PORT`, then `SET color blue`, `GET color`.
import { type Connection, run, startServer } from 'uvio';
import { answer } from './store.ts';

const store = new Map<string, string>();

async function serve(connection: Connection): Promise<void> {
  for await (const line of connection.lines()) await connection.write(`${answer(store, line)}\n`);
}

await run(async () => {
  const server = await startServer(serve, {
    host: '127.0.0.1',
    port: Number(process.env['PORT'] ?? 0),
  });
  console.log(`listening on port ${server.port}`);
  await server.serveForever();
});
