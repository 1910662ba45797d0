export interface Feature {
  readonly id: string;
  readonly feature: string;
  readonly uvio: string;
  readonly area: string;
}

export interface Claim {
  readonly file: string;
  readonly line: number;
  readonly ids: readonly string[];
  /** Null when neither a test nor an export stands below the comment. */
  readonly title: string | null;
}

export const pending: readonly string[];
export function readFeatures(): Feature[];
export function claimsOf(file: string, text: string): Claim[];
export function readClaims(): Claim[];
export function coveragePage(features: readonly Feature[], claims: readonly Claim[]): string;
