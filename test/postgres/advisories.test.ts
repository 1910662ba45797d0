/** Advisories of other clients of PostgreSQL, each with what happens here. */
import { expect } from 'vitest';
import { failure } from '../task/support.ts';
import { connectionTest, withServer } from './support.ts';

withServer('what others had to mend', () => {
  // CVE-2024-1597: a value in the text of a query would make a comment of the two signs.
  connectionTest('a negative value behind a minus stays a value', async (connection) => {
    const [row] = await connection.sql`SELECT 5 -${-1}::int AS a, ${'x'}::text AS b`;
    expect(row).toEqual({ a: 6, b: 'x' });
  });

  // CVE-2024-27304: the length of a message would wrap, and its end be read as further messages.
  connectionTest('more than 1 GiB is refused before a byte is sent', async (connection) => {
    // Memory that nobody touches takes none.
    const large = new Uint8Array(2 ** 30 - 100);
    const query = connection.fetch('SELECT $1::text, $2::bytea', 'x'.repeat(100), large);
    expect(await failure(query)).toMatchObject({
      name: 'InterfaceError',
      message: expect.stringMatching(/\$2 .* more than 1 GiB/),
    });
    expect(await connection.fetchVal('SELECT 1')).toBe(1);
  });
});
