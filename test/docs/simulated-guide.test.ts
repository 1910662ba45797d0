/** The programs of docs/guide/testing.md print what their comments say. */
import { expect, test } from 'vitest';
import { checkProgram, guidePrograms } from '../support/program.ts';

const programs = guidePrograms('testing');

test('the guide has its programs', () => {
  expect(programs.length).toBe(5);
});

// covers: seeds/C26
test.each(programs)('%s', (title, program) => checkProgram('testing', title, program));
