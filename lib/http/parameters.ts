/**
 * Parameters behind a header's value: `; name=value`, tokens or quoted (RFC 9110 5.6.6).
 *
 * In: the whole value. Out: the parameters. Never: a guess at what a malformed one means.
 */

/** Empty parameters are allowed, and more characters in a plain value than in a token. */
const parameter =
  /;[\t ]*(?:([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\t ;"]+))[\t ]*)?(?=;|$)/y;

/** By names in lower case; null: malformed, or one is there twice. */
export function parseParameters(header: string): ReadonlyMap<string, string> | null {
  const found = new Map<string, string>();
  let at = header.indexOf(';');
  while (at >= 0 && at < header.length) {
    parameter.lastIndex = at;
    const match = parameter.exec(header);
    if (match === null) return null;
    at = parameter.lastIndex;
    const [, key, quoted, plain = ''] = match;
    if (key === undefined) continue;
    const name = key.toLowerCase();
    if (found.has(name)) return null;
    // Browsers escape quotes only; a backslash may be the name's own.
    found.set(name, quoted === undefined ? plain : quoted.replaceAll('\\"', '"'));
  }
  return found;
}
