/** Parsers of HTTP/1 under mutated input, with llhttp as the judge; see engine.ts for long runs. */
import { expect, test } from 'vitest';
import { currentLoop } from '../../../lib/task/frame.ts';
import { inRun } from '../../task/support.ts';
import { Fuzzer, type Target } from './engine.ts';
import { requestTarget } from './requests.ts';
import { responseTarget } from './responses.ts';

const minutes = Number(process.env['UVIO_FUZZ_MINUTES'] ?? 0);
const seed = Number(process.env['UVIO_FUZZ_SEED'] ?? (minutes > 0 ? Date.now() % 1e9 : 0x5eed));
const timeoutMs = minutes * 60_000 + 30_000;

function check(target: Target): void {
  const fuzzer = new Fuzzer(target);
  const replayed = fuzzer.replay();
  expect(replayed.complaints).toEqual([]);
  const { rounds, complaints } = fuzzer.fuzz(minutes, seed);
  if (minutes > 0)
    console.log(`${target.name}: ${rounds} rounds, ${fuzzer.size} inputs, seed ${seed}`);
  expect(complaints, `seed ${seed}`).toEqual([]);
}

test(
  'requests are read as llhttp does, or refused, however they are cut',
  (context) =>
    inRun(async () => {
      const { parsers } = currentLoop().backendHandle;
      if (parsers === undefined) context.skip();
      else check(requestTarget(parsers));
    }),
  timeoutMs,
);

test(
  'responses are read as llhttp does, or refused, however they are cut',
  () => {
    check(responseTarget);
  },
  timeoutMs,
);
