// One echo program. UVIO_POLICY=pure or native chooses the loop; the code does not change.
import { type Connection, run, startServer } from 'uvio';

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.write(chunk);
}

await run(async () => {
  const server = await startServer(echo, {
    host: '127.0.0.1',
    port: Number(process.env['PORT'] ?? 0),
  });
  console.log(`listening on port ${server.port}`);
  await server.serveForever();
});
