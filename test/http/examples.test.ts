/** The examples with servers answer as they should. */
import { expect } from 'vitest';
import * as e03 from '../../examples/seeds/e03-server.ts';
import * as e11 from '../../examples/seeds/e11-smallest-server.ts';
import * as api from '../../examples/web-api.ts';
import { runTest } from '../task/support.ts';
import { withServer } from './support.ts';

runTest('E3 greets by name, or Anonymous', () =>
  withServer(e03.makeApp(), async (url) => {
    expect(await (await fetch(url)).text()).toBe('Hello, Anonymous');
    expect(await (await fetch(`${url}/ada`)).text()).toBe('Hello, ada');
  }),
);

runTest('E11 greets', () =>
  withServer(e11.makeApp(), async (url) => {
    expect(await (await fetch(url)).text()).toBe('Hello, async world');
  }),
);

// covers: seeds/C7
runTest('the API makes users, finds them, and ticks', () =>
  withServer(api.makeApp(), async (url) => {
    const made = await fetch(`${url}/users`, { method: 'POST', body: '{"name":"ada"}' });
    expect([made.status, made.headers.get('location')]).toEqual([201, '/users/1']);
    const found = await fetch(url + made.headers.get('location'));
    expect(await found.json()).toEqual({ id: 1, name: 'ada' });
    expect(found.headers.get('x-served-by')).toBe('uvio');
    const missing = await fetch(`${url}/users/9`);
    expect([missing.status, await missing.text()]).toEqual([404, 'No such user']);
    expect((await fetch(`${url}/users`, { method: 'POST', body: '{}' })).status).toBe(422);
    const ticks = await fetch(`${url}/ticks/2`);
    expect(await ticks.text()).toBe('id: 1\ndata: tick 1\n\nid: 2\ndata: tick 2\n\n');
  }),
);
