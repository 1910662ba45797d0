/** The program of docs/guide/postgres.md prints what its comments say. */
import { expect, test } from 'vitest';
import { missingPostgres, sharedPostgres } from '../support/postgres.ts';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

test.skipIf(missingPostgres() !== null)('the guide to PostgreSQL', async () => {
  const { host, port, user, database } = await sharedPostgres();
  Object.assign(process.env, { PGHOST: host, PGPORT: port, PGUSER: user, PGDATABASE: database });
  const [, program = ''] = /```ts\n(.*?)```/s.exec(text('docs/guide/postgres.md')) ?? [];
  expect(runProgram('guide-postgres', program)).toEqual(expectedOutput(program));
});
