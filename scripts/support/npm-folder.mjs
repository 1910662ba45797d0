// Programs that npm brings into a folder of their own, .nodes/, beside the project's packages.
import { join } from 'node:path';
import { StepError, step } from './progress.mjs';
import { root, runNpm } from './run.mjs';

/** Path of a file of a package there. */
export function fileOf(name, file) {
  return join(root, '.nodes/node_modules', name, file);
}

/** @param {string[]} wanted what `npm install` is given; nothing is done for none */
export async function installPrograms(title, wanted) {
  if (wanted.length === 0) return;
  await step(title, async (note) => {
    const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--prefix', '.nodes'];
    const { code, output } = await runNpm(['install', ...flags, ...wanted], { onLine: note });
    if (code !== 0) throw new StepError('npm install failed', output);
  });
}
