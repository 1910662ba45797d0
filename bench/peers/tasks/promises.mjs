// Bare promises: what JavaScript costs without tasks, cancellation or a queue class of any kind.
import { main } from './shared.mjs';

async function nothing() {}

const cases = {
  async 'spawn-one'() {
    for (let i = 0; i < 1000; i++) await nothing();
    return 1000;
  },
  async 'spawn-many'() {
    const promises = [];
    for (let i = 0; i < 1000; i++) promises.push(nothing());
    for (const promise of promises) await promise;
    return 1000;
  },
  async 'sleep0-1'() {
    for (let i = 0; i < 1000; i++) await new Promise((resolve) => setImmediate(resolve));
    return 1000;
  },
  async 'sleep0-100'() {
    const yielder = async () => {
      for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
    };
    await Promise.all(Array.from({ length: 100 }, yielder));
    return 10_000;
  },
  async gather() {
    await Promise.all(Array.from({ length: 10_000 }, nothing));
    return 10_000;
  },
};

await main(cases, (fn) => fn());
