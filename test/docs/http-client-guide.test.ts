/** The programs of docs/guide/http-client.md print what their comments say. */
import { expect, test } from 'vitest';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

const programs = [...text('docs/guide/http-client.md').matchAll(/^## (.*?)$.*?```ts\n(.*?)```/gms)];

test('the guide to the client has its programs', () => {
  expect(programs.length).toBe(3);
});

test.each(programs.map((match) => [match[1] as string, match[2] as string]))(
  '%s',
  (title, program) => {
    const name = `guide-client-${title.toLowerCase().replaceAll(/\W+/g, '-')}`;
    expect(runProgram(name, program)).toEqual(expectedOutput(program));
  },
);
