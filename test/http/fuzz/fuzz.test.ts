/** Parsers under mutated input, with those of others as judges; see engine.ts for long runs. */
import { expect, test } from 'vitest';
import { currentLoop } from '../../../lib/task/frame.ts';
import { inRun } from '../../task/support.ts';
import { Fuzzer, type Target } from './engine.ts';
import { multipartTarget } from './multipart.ts';
import { requestTarget } from './requests.ts';
import { responseTarget } from './responses.ts';
import { valueTargets } from './values.ts';

const minutes = Number(process.env['UVIO_FUZZ_MINUTES'] ?? 0);
const seed = Number(process.env['UVIO_FUZZ_SEED'] ?? (minutes > 0 ? Date.now() % 1e9 : 0x5eed));
const timeoutMs = minutes * 90_000 + 30_000;

async function check(target: Target): Promise<void> {
  const fuzzer = new Fuzzer(target);
  const replayed = await fuzzer.replay();
  expect(replayed.complaints).toEqual([]);
  const { rounds, complaints } = await fuzzer.fuzz(minutes, seed);
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
      else await check(requestTarget(parsers));
    }),
  timeoutMs,
);

test(
  'responses are read as llhttp does, or refused, however they are cut',
  () => check(responseTarget),
  timeoutMs,
);

test.each(valueTargets)(
  '$name are read as others do, or refused',
  (target) => check(target),
  timeoutMs,
);

test(
  'multipart bodies are read as undici does, or refused, however they are cut',
  () => inRun(() => check(multipartTarget)),
  timeoutMs,
);
