// Medians, and how sure they are.

const sorted = (values) => values.toSorted((a, b) => a - b);

export function median(values) {
  const list = sorted(values);
  const middle = list.length >> 1;
  if (list.length === 0) return Number.NaN;
  return list.length % 2 === 1 ? list[middle] : (list[middle - 1] + list[middle]) / 2;
}

/** Probability of at most `k` heads in `n` throws of a coin. */
function coinAtMost(k, n) {
  let term = 0.5 ** n;
  let sum = term;
  for (let i = 1; i <= k; i += 1) {
    term *= (n - i + 1) / i;
    sum += term;
  }
  return sum;
}

/**
 * Interval that holds the true median with about 95 %, whatever the distribution: the order
 * statistics of the sign test. Up to 8 values this is their whole range.
 */
export function medianInterval(values) {
  const list = sorted(values);
  let cut = 0;
  while (cut + 1 < list.length / 2 && coinAtMost(cut, list.length) <= 0.025) cut += 1;
  const low = cut === 0 ? 0 : cut - 1;
  return [list[low], list[list.length - 1 - low]];
}

/** {median, min, max, low, high}: low..high is the median's interval. */
export function summarize(values) {
  const [low, high] = medianInterval(values);
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), low, high };
}

/**
 * Ratio of two series that were measured in the same rounds, round by round. It is `certain` only
 * with at least 3 rounds and when its interval does not hold 1.
 */
export function pairedRatio(numerators, denominators) {
  const ratios = numerators.map((value, i) => value / denominators[i]);
  const summary = summarize(ratios);
  const certain = ratios.length >= 3 && (summary.low > 1 || summary.high < 1);
  return { ...summary, certain };
}
