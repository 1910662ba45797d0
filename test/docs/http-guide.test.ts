/** The programs of docs/guide/http.md print what their comments say. */
import { expect, test } from 'vitest';
import { checkProgram, guidePrograms } from '../support/program.ts';

const programs = guidePrograms('http');

test('the guide to servers has its programs', () => {
  expect(programs.length).toBe(3);
});

test.each(programs)('%s', (title, program) => checkProgram('http', title, program));
