/** The programs of docs/guide/libraries.md print what their comments say. */
import { expect, test } from 'vitest';
import { checkProgram, guidePrograms } from '../support/program.ts';

const programs = guidePrograms('libraries');

test('the guide has its programs', () => {
  expect(programs.length).toBe(5);
});

// covers: seeds/C51
test.each(programs)('%s', (title, program) => checkProgram('libraries', title, program));
