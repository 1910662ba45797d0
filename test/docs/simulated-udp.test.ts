/** The programs of docs/guide/udp-and-names.md print what their comments say. */
import { expect, test } from 'vitest';
import { expectedOutput, runProgram } from '../support/program.ts';
import { text } from '../support/source-tree.ts';

const page = text('docs/guide/udp-and-names.md');
const programs = [...page.matchAll(/^## (.*?)$.*?```ts\n(.*?)```/gms)];

test('the guide has its programs', () => {
  expect(programs.length).toBe(4);
});

// covers: asyncio/create-datagram-endpoint, asyncio/getaddrinfo
test.each(programs.map((match) => [match[1] as string, match[2] as string]))(
  '%s',
  (title, program) => {
    const name = `udp-${title.toLowerCase().replaceAll(/\W+/g, '-')}`;
    expect(runProgram(name, program)).toEqual(expectedOutput(program));
  },
);
