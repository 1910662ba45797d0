/**
 * The Link header. (RFC 8288)
 *
 * In: its value, the URL it came from. Out: URLs by relation. Never: a regular expression that can
 * back-track.
 */

/** Of several links of a relation the first counts; what is malformed is left out. */
export function parseLinks(header: string | null, base: string): ReadonlyMap<string, URL> {
  const found = new Map<string, URL>();
  let rest = header ?? '';
  for (let start = rest.indexOf('<'); start >= 0; start = rest.indexOf('<')) {
    const end = rest.indexOf('>', start);
    if (end < 0) break;
    const target = rest.slice(start + 1, end);
    const next = endOfLink(rest, end + 1);
    const parameters = rest.slice(end + 1, next);
    rest = rest.slice(next);
    const [, quoted, plain] = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;",]+))/i.exec(parameters) ?? [];
    if (!URL.canParse(target, base)) continue;
    for (const rel of (quoted ?? plain ?? '').toLowerCase().split(/\s+/)) {
      if (rel !== '' && !found.has(rel)) found.set(rel, new URL(target, base));
    }
  }
  return found;
}

/** Where the comma is that is in no quotes. */
function endOfLink(text: string, from: number): number {
  let quoted = false;
  for (let at = from; at < text.length; at++) {
    const letter = text[at];
    if (quoted && letter === '\\') at++;
    else if (letter === '"') quoted = !quoted;
    else if (letter === ',' && !quoted) return at;
  }
  return text.length;
}
