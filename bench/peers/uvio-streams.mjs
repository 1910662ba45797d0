// Echo on uvio's streams: one task per connection, for await -> await write.
import { startServer } from '../../dist/index.js';
import { address, serve } from './uvio-shared.mjs';

async function echo(connection) {
  for await (const chunk of connection) await connection.write(chunk);
}

await serve(() => startServer(echo, address));
