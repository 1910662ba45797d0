/** What the addon reads of PostgreSQL, in a process that has asked it for nothing before. */
import { expect, test } from 'vitest';
import { currentLoop } from '../../lib/task/frame.ts';
import { inRun } from '../task/support.ts';

test('the first thing may be a COPY', () =>
  inRun(async () => {
    const { parsers } = currentLoop().backendHandle;
    if (parsers === undefined) return;
    const message = Buffer.from([0x64, 0, 0, 0, 6, 65, 66]);
    const target = Buffer.alloc(10);
    parsers.postgresCopy(message, 0, message.length, target, 0);
    expect([...parsers.postgres.subarray(0, 2)]).toEqual([7, 2]);
    expect(target.toString('latin1', 0, 2)).toBe('AB');
  }));
