// For a test: a CommonJS module with state.
let calls = 0;
module.exports = () => ++calls;
