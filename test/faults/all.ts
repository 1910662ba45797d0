/** Every fault, in the order of the table. */
import type { Scenario } from './scenario.ts';
import { systemCalls } from './system-calls.ts';

export const scenarios: readonly Scenario[] = [...systemCalls];
