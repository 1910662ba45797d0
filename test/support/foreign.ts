/** What programs that are not ours are started with: no sanitizer that is meant for Node. */

export function foreignEnv(): NodeJS.ProcessEnv {
  const { LD_PRELOAD: _, ASAN_OPTIONS: __, UBSAN_OPTIONS: ___, ...env } = process.env;
  return env;
}
