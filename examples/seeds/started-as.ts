/** Whether a file is the program that Node was told to run, and not imported by another one. */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export function startedAs(moduleUrl: string): boolean {
  const program = process.argv[1];
  return program !== undefined && realpathSync(program) === fileURLToPath(moduleUrl);
}
