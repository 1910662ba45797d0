// What the programs of this folder say: a line of JSON for each event, and for each answer.

export const say = (message) => console.log(JSON.stringify(message));

/** Does what a line of standard input says. @param described an error, in a few words */
export async function answer(line, operations, described) {
  const { n, op, ...options } = JSON.parse(line);
  try {
    say({ n, ok: (await operations[op](options)) ?? null });
  } catch (error) {
    say({ n, error: described(error) });
  }
}
