export interface Feature {
  readonly id: string;
  readonly feature: string;
  readonly uvio: string;
  readonly area: string;
}

export interface Shown {
  readonly file: string;
  readonly title: string;
}

export const coveredAreas: readonly string[];
export function features(): Feature[];
export function findCoverage(): Map<string, Shown[]>;
export function coveragePage(): string;
