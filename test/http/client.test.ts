/** Requests and responses of the client, against uvio's server. */
import { expect } from 'vitest';
import { ClientSession, Response } from '../../lib/http/index.ts';
import { runTest } from '../task/support.ts';
import { withHandler } from './support.ts';

runTest('first', () =>
  withHandler(
    () => new Response('hello'),
    async (url) => {
      await using session = new ClientSession();
      const response = await session.get(url);
      expect(response.status).toBe(200);
      expect(await response.text()).toBe('hello');
      expect(await session.get(url).text()).toBe('hello');
      expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
    },
  ),
);
