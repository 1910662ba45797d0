import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** Tests that no policy changes: they run once. All others run on `pure` and on `native`. */
const plainTests = [
  'test/*.test.ts',
  'test/base/**/*.test.ts',
  'test/package/**/*.test.ts',
  'test/scripts/**/*.test.ts',
];

function policyProject(policy: 'pure' | 'native'): {
  extends: true;
  test: { name: string; env: Record<string, string>; include: string[]; exclude: string[] };
} {
  return {
    extends: true,
    test: {
      name: policy,
      env: { UVIO_TEST_POLICY: policy },
      include: ['test/**/*.test.ts'],
      exclude: plainTests,
    },
  };
}

const lib = fileURLToPath(new URL('./lib', import.meta.url));

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
    testTimeout: 10_000,
    teardownTimeout: 5_000,
    projects: [
      policyProject('pure'),
      policyProject('native'),
      { extends: true, test: { name: 'plain', include: plainTests } },
    ],
    coverage: { provider: 'v8', include: ['lib/**/*.ts'] },
  },
});

export default config;
