/**
 * `uvio/inspect`: what the program is doing now.
 *
 * In: the files of this room. Out: their public names. Never: anything that runs at import.
 */
export { channels } from '../loop/channels.ts';
export { serveConsole } from './console.ts';
export { type BlockedReport, monitorLoop } from './monitor.ts';
export { openTelemetry } from './telemetry.ts';
export { formatTaskTree, type TaskInfo, taskTree } from './tree.ts';
export { detectDeadlocks, watchMetrics } from './watch.ts';
