/** The programs of docs/guide/http-client.md print what their comments say. */
import { expect, test } from 'vitest';
import { checkProgram, guidePrograms } from '../support/program.ts';

const programs = guidePrograms('http-client');

test('the guide to the client has its programs', () => {
  expect(programs.length).toBe(3);
});

test.each(programs)('%s', (title, program) => checkProgram('http-client', title, program));
