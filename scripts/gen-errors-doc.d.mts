import type { ErrorRow } from '../lib/base/errors.ts';

export function errorsPage(table: readonly ErrorRow[]): string;
