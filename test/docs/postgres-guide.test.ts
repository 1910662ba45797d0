/** The programs of docs/guide/postgres.md print what their comments say. */
import { expect, test } from 'vitest';
import { missingPostgres, sharedPostgres } from '../support/postgres.ts';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

const programs = [...text('docs/guide/postgres.md').matchAll(/^## (.*?)$.*?```ts\n(.*?)```/gms)];

test('the guide to PostgreSQL has its programs', () => {
  expect(programs.map(([, title]) => title)).toEqual(['Queries', 'Pools', 'Many rows']);
});

test
  .skipIf(missingPostgres() !== null)
  .each(programs.map((match) => [match[1] as string, match[2] as string]))(
  '%s',
  async (title, program) => {
    const { host, port, user, database } = await sharedPostgres();
    Object.assign(process.env, { PGHOST: host, PGPORT: port, PGUSER: user, PGDATABASE: database });
    const name = `guide-postgres-${title.toLowerCase().replaceAll(/\W+/g, '-')}`;
    expect(runProgram(name, program)).toEqual(expectedOutput(program));
  },
);
