import { type Connection, native, openConnection, pure, run } from 'uvio';

async function main(): Promise<number> {
  const connection: Connection = await openConnection({ port: 1 });
  const line: string | null = await connection.readLine();
  return line?.length ?? 0;
}

export const result: Promise<number> = run(main, {
  policy: process.argv.length > 2 ? native({ required: true }) : pure(),
});
