/**
 * Looking at a cancellation without taking it.
 *
 * In: the current frame. Out: a boolean. Never: a change.
 */
import { edgeShielded, openNode } from '../task/cancellation.ts';
import { currentFrame } from '../task/frame.ts';

/** Whether the next wait of this task, in this scope, would reject. */
export function cancellationPending(): boolean {
  const frame = currentFrame();
  if (frame === undefined) return false;
  const region = openNode(frame.scope);
  if (region.effective !== null) return true;
  return frame.task !== null && frame.task.pendingCancel !== null && !edgeShielded(region);
}
