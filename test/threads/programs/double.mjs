// For a test: a module that a thread calls.
function double(value) {
  return value * 2;
}

// biome-ignore lint/style/noDefaultExport: that is what is called.
export { double as default };
