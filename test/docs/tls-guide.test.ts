/** The programs of docs/guide/tls.md print what their comments say. */
import { expect, test } from 'vitest';
import { pemPath } from '../io/tls-support.ts';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

process.env['TLS_DIR'] = pemPath('.');

const programs = [...text('docs/guide/tls.md').matchAll(/^## (.*?)$.*?```ts\n(.*?)```/gms)];

test('the guide has its programs', () => {
  expect(programs.length).toBe(3);
});

// covers: asyncio/tls
test.each(programs.map((match) => [match[1] as string, match[2] as string]))(
  '%s',
  (title, program) => {
    const name = `guide-tls-${title.toLowerCase().replaceAll(/\W+/g, '-')}`;
    expect(runProgram(name, program)).toEqual(expectedOutput(program));
  },
);
