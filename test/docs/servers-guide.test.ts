/** The program of docs/guide/servers.md prints what its comments say. */
import { expect, test } from 'vitest';
import { checkProgram, guidePrograms } from '../support/program.ts';

const programs = guidePrograms('servers');

test('the guide has its program', () => {
  expect(programs.length).toBe(1);
});

test.each(programs)('%s', (title, program) => checkProgram('servers', title, program));
