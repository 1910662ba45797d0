/** Every fault, in the order of the table. */
import { crowds } from './crowds.ts';
import { endings } from './endings.ts';
import { feeds } from './feeds.ts';
import { links } from './links.ts';
import { closeLinks } from './namespaces.ts';
import { roughLinks } from './rough-links.ts';
import type { Scenario } from './scenario.ts';
import { sieges } from './sieges.ts';
import { sharedSubjects } from './subject.ts';
import { systemCalls } from './system-calls.ts';
import { closeHttp, weather } from './weather.ts';

export const scenarios: readonly Scenario[] = [
  ...systemCalls,
  ...weather,
  ...links,
  ...roughLinks,
  ...crowds,
  ...sieges,
  ...feeds,
  ...endings,
];

/** Ends what the scenarios have started and shared. */
export async function closeAll(): Promise<void> {
  await Promise.all([sharedSubjects.stop(), closeHttp(), closeLinks()]);
}
