/**
 * The page about faults, from the results of `node scripts/faults.mjs`.
 *
 * In: results. Out: the text of docs/reference/faults.md. Never: a verdict that is not in them.
 */
import { fulfils } from './scenario.ts';
import type { SubjectName } from './subject.ts';

export interface FaultResult {
  readonly group: string;
  readonly title: string;
  readonly expected: string;
  /** What `pure()` is known to do instead. */
  readonly decided?: string;
  /** What was seen; no entry for a program that has nothing of the kind. */
  readonly seen: Partial<Record<SubjectName, string>>;
}

export interface FaultResults {
  readonly command: string;
  readonly date: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly results: readonly FaultResult[];
}

export const subjectTitles: Readonly<Record<SubjectName, string>> = {
  native: 'uvio `native()`',
  pure: 'uvio `pure()`',
  node: 'node:net, node:http',
  uvloop: 'uvloop',
};

const names = Object.keys(subjectTitles) as SubjectName[];

const introductions: Readonly<Record<string, string>> = {
  'system calls': `strace answers one call of one connection with an error, while another connection
is used. "Rejects" is the operation that was touched; whatever is said here, the other
connection worked before and after it. \`EINTR\` and \`EAGAIN\` are no errors: the call is made
again.`,
  networks: `A proxy stands between a client and the program.`,
  links: `The program runs in a network namespace, its peer in another, with a cable between them.`,
  'rough links': `Between the two namespaces a program carries each packet, 5 ms to 9 ms late: so
they overtake one another. Of a hundred, three are lost, two come twice and one comes with a wrong
bit; in brackets: the seed, and what happened. A datagram that the cable has handed over must be
received, and no other.`,
  crowds: `Private memory of the program, in MiB a peer or in all, or in KiB a connection; not a
benchmark.`,
  HTTP: `Each request has a number, which its answer must have. Slow clients send a head or a body
byte by byte, once a second, or ask for 2 MiB and do not read; p99 is that of 16 clients that think
for 10 ms between two requests, with and without them in turns. At SIGTERM, clients send their next
request when they have an answer, on a kept connection.`,
  WebSocket: `Messages of 64 KiB. Those who read have theirs before the next ones are sent.`,
  TCP: `A server that answers lines: \`runServer\`, node:net (node:cluster for workers), asyncio's
streams. At SIGTERM each of them closes connections once it has answered what it has read.`,
};

function cell({ expected, decided, seen }: FaultResult, name: SubjectName): string {
  const text = seen[name];
  if (text === undefined) return '–';
  if (fulfils(text, expected)) return `✓${text.slice(expected.length)}`;
  return name === 'pure' && decided !== undefined && fulfils(text, decided)
    ? `${text} [¹](#notes)`
    : `**${text}**`;
}

function tableOf(rows: readonly FaultResult[]): string {
  const head = ['Fault', 'Expected', ...names.map((name) => subjectTitles[name])];
  const lines = rows.map((row) => [
    row.title,
    row.expected,
    ...names.map((name) => cell(row, name)),
  ]);
  return [head, head.map(() => '-'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function count(results: readonly FaultResult[], name: SubjectName): string {
  const run = results.filter(({ seen }) => seen[name] !== undefined);
  const good = run.filter(({ seen, expected }) => fulfils(seen[name] as string, expected));
  return `${good.length} of ${run.length}`;
}

export function faultsPage({ command, date, machine, versions, results }: FaultResults): string {
  const groups = [...new Set(results.map(({ group }) => group))];
  const chapters = groups.map((group) => {
    const rows = results.filter((row) => row.group === group);
    const title = `${group[0]?.toUpperCase()}${group.slice(1)}`;
    return `## ${title}\n\n${introductions[group] ?? ''}\n\n${tableOf(rows)}\n`;
  });
  const counts = names.map((name) => `| ${subjectTitles[name]} | ${count(results, name)} |`);
  const told = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `# Faults

Made by \`${command}\` on ${date} (${machine}; ${told.join(', ')});
do not edit. Each row is a fault that programs of their own were put under: uvio on both policies,
node:net and uvloop, which do the same by the same commands. ✓ is what is expected; anything else is
told. Tests run most rows with each change, on both policies.

| | As expected |
| - | - |
${counts.join('\n')}

${chapters.join('\n')}
## Notes

¹ What libuv does below Node: [decision 0005](../decisions/0005-emfile-on-pure.md).
For \`EMFILE\` and \`ENFILE\` it closes the backlog, and it tells nobody of \`ENOMEM\`;
\`native()\` keeps the connections and tells the loop's exception handler.

A program "hangs" when it has no answer after 20 s. asyncio has no word for the figures of
keep-alive, so the program for uvloop sets the idle time only, and those of the system count.
On SIGTERM the program for node:http calls \`server.close()\`, which leaves connections in use to
clients that go on. \`runApp\` of uvio answers what has begun, and closes.
`;
}
