/** The programs of docs/guide/libraries.md print what their comments say. */
import { expect, test } from 'vitest';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

const programs = [...text('docs/guide/libraries.md').matchAll(/^## (.*?)$.*?```ts\n(.*?)```/gms)];

test('the guide has its programs', () => {
  expect(programs.length).toBe(5);
});

// covers: seeds/C51
test.each(programs.map((match) => [match[1] as string, match[2] as string]))(
  '%s',
  (title, program) => {
    const name = `library-${title.toLowerCase().replaceAll(/\W+/g, '-')}`;
    expect(runProgram(name, program)).toEqual(expectedOutput(program));
  },
);
