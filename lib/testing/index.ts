/**
 * `uvio/testing`: time, chance, leaks, connections and servers under the control of a test.
 *
 * In: this room. Out: its public names. Never: anything else; nothing happens at import.
 */
export { DeadlockError } from '../base/errors.ts';
export { waitAllTasksBlocked } from './blocked.ts';
export { assertCheckpoints, assertNoCheckpoints } from './checkpoints.ts';
export { explore } from './explore.ts';
export { assertNoLeaks } from './leaks.ts';
export { memoryConnectionPair } from './memory.ts';
export { Sequencer } from './sequencer.ts';
export {
  type SimulatedPolicy,
  type SimulationOptions,
  simulated,
  type VirtualClock,
} from './simulated.ts';
export { type TestClient, testClient } from './test-client.ts';
