/** The programs of docs/guide/udp-and-names.md print what their comments say. */
import { expect, test } from 'vitest';
import { checkProgram, guidePrograms } from '../support/program.ts';

const programs = guidePrograms('udp-and-names');

test('the guide has its programs', () => {
  expect(programs.length).toBe(4);
});

// covers: asyncio/create-datagram-endpoint, asyncio/getaddrinfo
test.each(programs)('%s', (title, program) => checkProgram('udp-and-names', title, program));
