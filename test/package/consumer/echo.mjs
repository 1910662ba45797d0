// One connection through the installed package. Prints what it ran on, as JSON.
import { native, nativeInfo, openConnection, pure, run, startServer } from 'uvio';

const warnings = [];
process.on('warning', ({ name, code, message }) => warnings.push({ name, code, message }));

async function echo() {
  const server = await startServer(
    async (connection) => {
      for await (const chunk of connection) await connection.write(chunk);
    },
    { host: '127.0.0.1' },
  );
  const client = await openConnection({ host: '127.0.0.1', port: server.port });
  await client.write('hello');
  const answer = await client.readExactly(5);
  await client.close();
  server.close();
  await server.waitClosed();
  return String(answer);
}

const policies = { native: native(), again: native(), pure: pure() };
const answers = {};
for (const [name, policy] of Object.entries(policies)) {
  answers[name] = `${policy.name}: ${await run(echo, { policy })}`;
}
let required = 'loads';
try {
  native({ required: true });
} catch (error) {
  required = error.code;
}
// Warnings come in a turn of their own.
await new Promise((resolve) => setImmediate(resolve));
const { available, reason, path } = nativeInfo();
console.log(JSON.stringify({ answers, required, available, reason, path, warnings }));
