/** The programs of docs/guide/http.md print what their comments say. */
import { expect, test } from 'vitest';
import { pemPath } from '../io/tls-support.ts';
import { checkProgram, guidePrograms } from '../support/program.ts';

process.env['TLS_DIR'] = pemPath('.');

const programs = guidePrograms('http');

test('the guide to servers has its programs', () => {
  expect(programs.length).toBe(4);
});

test.each(programs)('%s', (title, program) => checkProgram('http', title, program));
