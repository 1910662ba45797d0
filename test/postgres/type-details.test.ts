/** Values as the server itself writes them, and objects that are nearly values. */
import { expect } from 'vitest';
import { failure } from '../task/support.ts';
import { connectionTest, withServer } from './support.ts';

withServer('values have the text of the server', () => {
  connectionTest('an inet that has an IPv4 address inside', async (connection) => {
    const texts = ['::1.2.3.4', '::0.1.0.2', '::0.1.0.0', '::ffff:1.2.3.4', '::1.2.3.4/100'];
    texts.push('::1', '::', '1::', '::1:0:0', '::2:ffff:102:304', '1:0:0:2::3', '1::2:0:0:3:4');
    for (const text of texts) {
      const row = await connection.fetchRow(
        `SELECT v, format('%s', v) AS text, $1::inet = v AS same FROM (SELECT '${text}'::inet v) q`,
        text,
      );
      expect({ ...row }).toEqual({ v: text, text, same: true });
    }
  });

  connectionTest('a float4 without digits that it does not have', async (connection) => {
    for (const text of ['1e+20', '-4.254819e+24', '4.9495102e+14', '16777216', '8388609', '0.1']) {
      const value = await connection.fetchVal(`SELECT '${text}'::float4`);
      expect(value).toBe(Number(text));
      expect(await connection.fetchVal('SELECT $1::float4::text', value)).toBe(
        await connection.fetchVal(`SELECT '${text}'::float4::text`),
      );
    }
  });

  connectionTest('a "char" of zero is no text, one beyond ASCII goes back', async (connection) => {
    const row = await connection.fetchRow(
      `SELECT attidentity AS none, ARRAY[attidentity, 'd'] AS list FROM pg_attribute LIMIT 1`,
    );
    expect({ ...row }).toEqual({ none: '', list: ['', 'd'] });
    expect(await connection.fetchVal('SELECT $1::"char" = \'\'::"char"', '')).toBe(true);
    const high = await connection.fetchVal(`SELECT (-23)::int2::int4::"char"`);
    expect(high).toBe('\u00e9');
    expect(await connection.fetchVal('SELECT $1::"char"::int4', high)).toBe(-23);
  });

  connectionTest('an infinite interval', async (connection) => {
    for (const part of [Infinity, -Infinity]) {
      const infinite = { months: part, days: part, microseconds: part };
      expect(await connection.fetchVal('SELECT $1::interval', infinite)).toEqual(infinite);
      if (connection.serverVersion.major < 17) continue;
      const text = part > 0 ? 'infinity' : '-infinity';
      expect(await connection.fetchVal('SELECT $1::interval::text', infinite)).toBe(text);
      expect(await connection.fetchVal(`SELECT '${text}'::interval`)).toEqual(infinite);
    }
    const half = { months: Infinity, days: 1 };
    expect(await failure(connection.fetchVal('SELECT $1::interval', half))).toMatchObject({
      name: 'InterfaceError',
    });
  });
});

withServer('an object that is nearly a value is refused', () => {
  const wrong: readonly (readonly [string, object])[] = [
    ['interval', {}],
    ['interval', { hours: 1 }],
    ['interval', { days: 1, hours: 1 }],
    ['interval', new Date(0)],
    ['interval', new Map([['days', 1]])],
    ['int4range', {}],
    ['int4range', { low: 1, high: 2 }],
    ['int4range', { lower: 1, upper: 2, bounds: '[]' }],
    ['tsrange', new Date(0)],
    ['int4multirange', [{}]],
  ];
  connectionTest('not sent as one that has nothing', async (connection) => {
    for (const [type, value] of wrong) {
      const error = await failure(connection.fetchVal(`SELECT $1::${type}`, value));
      expect(error, type).toMatchObject({ name: 'InterfaceError' });
      expect(error.message).toMatch(/expected (an interval|a range) \{/);
    }
  });

  connectionTest('some of its parts, or those of its class, are enough', async (connection) => {
    class Span {
      get days(): number {
        return 2;
      }
    }
    expect(await connection.fetchVal('SELECT $1::interval::text', { days: 1 })).toBe('1 day');
    expect(await connection.fetchVal('SELECT $1::interval::text', new Span())).toBe('2 days');
    expect(await connection.fetchVal('SELECT $1::int4range::text', { lower: 1 })).toBe('[1,)');
    const all = { lower: null, upper: null };
    expect(await connection.fetchVal('SELECT $1::int4range::text', all)).toBe('(,)');
  });
});
