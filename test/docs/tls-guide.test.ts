/** The programs of docs/guide/tls.md print what their comments say. */
import { expect, test } from 'vitest';
import { pemPath } from '../io/tls-support.ts';
import { checkProgram, guidePrograms } from '../support/program.ts';

process.env['TLS_DIR'] = pemPath('.');

const programs = guidePrograms('tls');

test('the guide has its programs', () => {
  expect(programs.length).toBe(3);
});

// covers: asyncio/tls
test.each(programs)('%s', (title, program) => checkProgram('tls', title, program));
