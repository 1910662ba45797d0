// require() of the ESM package gives the same module as import().
const required = require('uvio');

import('uvio').then((imported) => {
  const same = required.run === imported.run && typeof required.run === 'function';
  console.log(JSON.stringify({ same }));
});
