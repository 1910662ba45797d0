// Steps of a script: a line that moves on a terminal, plain lines otherwise.
const live = process.stdout.isTTY === true && process.env.CI === undefined;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

const seconds = (sinceMs) => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;

function showLine(text) {
  const width = process.stdout.columns ?? 80;
  process.stdout.write(`\r\x1b[2K${text.slice(0, width - 1)}`);
}

/**
 * Runs one step and prints its name, its end and its time.
 *
 * @template T
 * @param {string} name
 * @param {(note: (text: string) => void) => Promise<T>} work gets a function that shows
 *   what it is at (on a terminal only); throws to fail the step
 * @returns {Promise<T>}
 */
export async function step(name, work) {
  const startMs = performance.now();
  let detail = '';
  let frame = 0;
  const draw = () => {
    frame = (frame + 1) % FRAMES.length;
    showLine(`${FRAMES[frame]} ${name} ${seconds(startMs)} ${detail}`);
  };
  const timer = live ? setInterval(draw, 100) : null;
  if (!live) console.log(`… ${name}`);
  let mark = '✗';
  try {
    const result = await work((text) => {
      detail = text.trim();
    });
    // A suite ends with counts; it has run, but not all of it passed.
    if (!(result?.failed > 0)) mark = '✓';
    return result;
  } finally {
    if (timer) {
      clearInterval(timer);
      showLine('');
    }
    console.log(`${mark} ${name} (${seconds(startMs)})`);
  }
}

/** A step's way to fail with a message instead of a stack. */
export class StepError extends Error {
  /** @param {string} message @param {string} [output] what the failed program printed */
  constructor(message, output = '') {
    super(message);
    this.name = 'StepError';
    this.output = output;
  }
}

/** Runs a script's main function; a StepError becomes a plain message and exit code 1. */
export async function main(fn) {
  try {
    process.exitCode = (await fn()) ?? process.exitCode;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    const lines = error.output.trimEnd().split('\n');
    if (error.output) console.error(lines.slice(-60).join('\n'));
    console.error(error.message);
    process.exitCode = 1;
  }
}
