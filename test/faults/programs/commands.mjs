// What the programs of this folder say: a line of JSON for each event, and for each answer.

export const say = (message) => console.log(JSON.stringify(message));

/** For programs that take no commands: whoever started them may be gone. */
export function endWithInput() {
  process.stdin.resume().on('end', () => process.exit(1));
  process.stdin.unref();
}

/** Does what a line of standard input says. @param described an error, in a few words */
export async function answer(line, operations, described) {
  const { n, op, ...options } = JSON.parse(line);
  try {
    say({ n, ok: (await operations[op](options)) ?? null });
  } catch (error) {
    say({ n, error: described(error) });
  }
}
