import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** Tests that no policy changes, or that make their own: they run once. All others on policies. */
const plainTests = [
  'test/*.test.ts',
  'test/*/simulated*.test.ts',
  'test/base/**/*.test.ts',
  'test/docs/{library-guide,results,simulated-guide}.test.ts',
  'test/loop/timer-wheel.test.ts',
  'test/package/**/*.test.ts',
  'test/scripts/**/*.test.ts',
];

/** What needs no file, process or thread, and is about a loop. */
const simulatedTests = [
  'test/loop/{backend-contract,event-loop,least-read,reading-memory}.test.ts',
  'test/{io,sync,task,testing}/**/*.test.ts',
  'test/http/{client,framing,websocket-{feed,pace},wire}*.test.ts',
  'test/node/{to-node,net-socket,from-node,web}.test.ts',
];

function policyProject(
  policy: 'pure' | 'native' | 'simulated',
  include: string[] = ['test/**/*.test.ts'],
): {
  extends: true;
  test: { name: string; env: Record<string, string>; include: string[]; exclude: string[] };
} {
  return {
    extends: true,
    test: {
      name: policy,
      env: { UVIO_TEST_POLICY: policy },
      include,
      exclude: plainTests,
    },
  };
}

const lib = fileURLToPath(new URL('./lib', import.meta.url));

/** The instrumented run, and machines that do other work beside it, are given more. */
const testTimeout = process.env['UVIO_SANITIZED'] ? 60_000 : process.env['CI'] ? 30_000 : 10_000;

const config: ViteUserConfig = defineConfig({
  resolve: {
    alias: [
      { find: /^uvio$/, replacement: `${lib}/index.ts` },
      { find: /^uvio\/(\w+)$/, replacement: `${lib}/$1/index.ts` },
    ],
  },
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout,
    teardownTimeout: 5_000,
    projects: [
      policyProject('pure'),
      policyProject('native'),
      policyProject('simulated', simulatedTests),
      { extends: true, test: { name: 'plain', include: plainTests } },
    ],
    coverage: { provider: 'v8', include: ['lib/**/*.ts'] },
  },
});

export default config;
