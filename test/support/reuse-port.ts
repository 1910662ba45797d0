/** `reusePort` of node:net and node:dgram: it came with Node 22.12 and 23.1. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

export const nodeHasReusePort: boolean =
  major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
