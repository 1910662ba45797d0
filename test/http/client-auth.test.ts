/** Credentials that a server, or the environment, asks for. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { parseChallenges } from '../../lib/http/client/challenges.ts';
import { readChallenge } from '../../lib/http/client/digest.ts';
import { parseNetrc } from '../../lib/http/client/netrc.ts';
import type { ClientSession } from '../../lib/http/index.ts';
import { runTest } from '../task/support.ts';
import { ok, withRaw, withSession } from './client-support.ts';

const user = { username: 'Mufasa', password: 'Circle of Life' };
const digest = { ...user, scheme: 'digest' as const };

const unauthorized = (challenge: string): string =>
  `HTTP/1.1 401 No\r\nwww-authenticate: ${challenge}\r\ncontent-length: 2\r\n\r\nno`;

/** What a request says in Authorization. */
function answerOf(request: string): Map<string, string> {
  const line = /^authorization: Digest (.*)\r$/m.exec(request)?.[1] ?? '';
  const pairs = line.matchAll(/([\w*]+)=(?:"([^"]*)"|([^,]*))/g);
  return new Map([...pairs].map(([, name, text, bare]) => [name as string, text ?? bare ?? '']));
}

/** As RFC 7616 3.4.1 has it, for users and realms without quotes. */
function expected(request: string, hash: string, body: string): string {
  const h = (text: string): string => createHash(hash).update(text).digest('hex');
  const [method, target] = request.split(' ');
  const said = answerOf(request);
  const get = (name: string): string => said.get(name) as string;
  let secret = h(`${user.username}:${get('realm')}:${user.password}`);
  if (said.get('algorithm')?.endsWith('-sess')) {
    secret = h(`${secret}:${get('nonce')}:${get('cnonce')}`);
  }
  const tail = said.get('qop') === 'auth-int' ? `:${h(body)}` : '';
  const what = h(`${method}:${target}${tail}`);
  if (!said.has('qop')) return h(`${secret}:${get('nonce')}:${what}`);
  return h([secret, get('nonce'), get('nc'), get('cnonce'), get('qop'), what].join(':'));
}

describe('Digest', () => {
  test('answers the examples of RFC 7616', () => {
    const nonce = '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v';
    const opaque = 'FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS';
    const header = `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
      nonce="${nonce}", opaque="${opaque}"`.replaceAll('\n', '');
    const clientNonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
    const answer = (text: string): string | null | undefined =>
      readChallenge(text, clientNonce)?.answer(user, 'GET', '/dir/index.html', null);
    expect(answer(header)).toBe(
      `Digest username="Mufasa", realm="http-auth@example.org", nonce="${nonce}", ` +
        'uri="/dir/index.html", response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db' +
        `5856cb6c1", algorithm=SHA-256, opaque="${opaque}", qop=auth, nc=00000001, ` +
        `cnonce="${clientNonce}"`,
    );
    const md5 = header.replace('SHA-256', 'MD5');
    expect(answer(md5)).toMatch('response="8ca523f5e9506fed4657c9700eebdbec"');
    // The better one of both.
    expect(answer(`${md5}, ${header}`)).toMatch('algorithm=SHA-256,');
  });

  test('answers the third example of RFC 7616, as erratum 4897 has it', () => {
    const header =
      'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0X' +
      'sxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", ' +
      'charset=UTF-8, userhash=true';
    const who = { username: 'J\u00e4s\u00f8n Doe', password: 'Secret, or not?' };
    const answer = readChallenge(header, 'NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v')?.answer(
      who,
      'GET',
      '/doe.json',
      null,
    );
    expect(answer).toMatch(
      'username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"',
    );
    expect(answer).toMatch(
      'response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"',
    );
    expect(answer).toMatch(/userhash=true$/);
    const named = readChallenge(header.replace(', userhash=true', ''));
    expect(named?.answer(who, 'GET', '/', null)).toMatch("username*=UTF-8''J%C3%A4s%C3%B8n%20Doe,");
  });

  const variants: [challenge: string, hash: string, qop: string | undefined][] = [
    ['Digest realm="r", nonce="n", qop="auth"', 'md5', 'auth'],
    ['Digest realm="r", nonce="n"', 'md5', undefined],
    ['Digest realm="r",nonce="n",qop=auth,algorithm="md5-SESS"', 'md5', 'auth'],
    [
      'Negotiate, Basic realm="a, b", Digest realm="r", nonce="n", qop="auth-int"',
      'md5',
      'auth-int',
    ],
    ['Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth-int,auth"', 'sha256', 'auth'],
    ['Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"', 'sha512-256', 'auth'],
  ];
  for (const [challenge, hash, qop] of variants) {
    runTest(`answers ${challenge}`, () =>
      withRaw(
        (request) => {
          const said = answerOf(request);
          if (!said.has('response')) return unauthorized(challenge);
          const body = request.slice(request.indexOf('\r\n\r\n') + 4);
          const right = said.get('response') === expected(request, hash, body);
          return right && said.get('qop') === qop ? ok : unauthorized('Digest of nobody');
        },
        (url, log) =>
          withSession({ auth: digest }, async (session) => {
            expect(await session.post(`${url}/a?b=c`, { body: 'text' }).text()).toBe('ok');
            // From now on without being asked.
            expect(await session.get(`${url}/d`).text()).toBe('ok');
            expect(log.length).toBe(3);
            if (qop !== undefined) expect(log[2]).toMatch('nc=00000002');
            expect(session.connector.stats()).toEqual({ open: 1, idle: 1, waiting: 0 });
          }),
      ),
    );
  }

  runTest('takes the next nonce that the server names, and a new one for a stale one', () =>
    withRaw(
      (request) => {
        const nonce = answerOf(request).get('nonce');
        if (nonce === 'one')
          return ok.replace('200 OK', '200 OK\r\nauthentication-info: nextnonce="two"');
        if (nonce === 'three') return ok;
        const next = nonce === undefined ? 'one' : 'three';
        return unauthorized(`Digest realm="r", nonce="${next}", stale=true, qop="auth"`);
      },
      (url, log) =>
        withSession({ auth: digest }, async (session) => {
          for (let i = 0; i < 3; i++) expect(await session.get(url).text()).toBe('ok');
          const seen = log.map(answerOf).map((said) => `${said.get('nonce')} ${said.get('nc')}`);
          const [first, ...rest] = seen;
          expect(first).toMatch('undefined');
          expect(rest).toEqual([
            'one 00000001',
            'two 00000001',
            'three 00000001',
            'three 00000002',
          ]);
        }),
    ),
  );

  const refused = [
    'Basic realm="r"',
    'Digest realm="r", nonce="n", algorithm=SHA3-256',
    'Digest realm="r", nonce="n", qop="auth-conf"',
    'Digest realm="r"',
    'Digest',
    'Digest realm="r", nonce="n',
    ',,, =',
  ];
  runTest('leaves challenges alone that it cannot answer, and bodies that are used up', () =>
    withRaw(
      (request) =>
        unauthorized(refused[Number(/\/(\d)/.exec(request)?.[1])] ?? 'Digest realm=r, nonce=n'),
      (url, log) =>
        withSession({ auth: digest }, async (session) => {
          for (const i of refused.keys()) {
            expect(await session.get(`${url}/${i}`).text()).toBe('no');
            expect(log.length).toBe(i + 1);
          }
          const body = new Blob(['a']).stream();
          expect(
            (await session.post(`${url}/9`, { body, headers: { 'content-length': '1' } })).status,
          ).toBe(401);
          expect(log.length).toBe(refused.length + 1);
          // A wrong password: once, and no more.
          expect((await session.get(`${url}/9`)).status).toBe(401);
          expect(log.length).toBe(refused.length + 3);
        }),
    ),
  );

  runTest('learns from the refusal of a body that is used up', () =>
    withRaw(
      (request) => {
        const said = answerOf(request);
        const nonce = said.get('nonce');
        // Each nonce is good for two requests.
        if (nonce !== undefined && Number(said.get('nc')) <= 2) return ok;
        return unauthorized(`Digest realm="r", nonce="${nonce ?? ''}n", stale=true, qop="auth"`);
      },
      (url) =>
        withSession({ auth: digest }, async (session) => {
          const seen: number[] = [];
          for (let i = 0; i < 6; i++) {
            const body = new Blob(['a']).stream();
            const headers = { 'content-length': '1' };
            seen.push((await session.post(url, { body, headers })).status);
          }
          expect(seen).toEqual([401, 200, 200, 401, 200, 200]);
        }),
    ),
  );

  runTest('tells nothing to another origin that it was sent to', () =>
    withRaw(
      () => unauthorized('Digest realm="r", nonce="n", qop="auth"'),
      (other, log) =>
        withRaw(
          () => `HTTP/1.1 302 Go\r\nlocation: ${other}\r\ncontent-length: 0\r\n\r\n`,
          (url) =>
            withSession({}, async (session) => {
              expect((await session.get(url, { auth: digest })).status).toBe(401);
              expect(log.length).toBe(1);
              expect(log[0]).not.toMatch(/authorization/i);
            }),
        ),
    ),
  );

  test('parses challenges as RFC 9110 has them', () => {
    const plain = (header: string): unknown =>
      parseChallenges(header).map(({ scheme, parameters }) => [scheme, ...parameters]);
    expect(
      plain('Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="s"'),
    ).toEqual([
      ['newauth', ['realm', 'apps'], ['type', '1'], ['title', 'Login to "apps"']],
      ['basic', ['realm', 's']],
    ]);
    expect(plain('Negotiate YII=, NTLM ,Digest A="1" , a=2')).toEqual([
      ['negotiate'],
      ['ntlm'],
      ['digest', ['a', '1']],
    ]);
    expect(parseChallenges(`Digest ${'a="\\'.repeat(50_000)}`).length).toBe(2);
  });
});

describe('a .netrc', () => {
  test('is read as curl and Python read it', () => {
    const text = `# of tests
machine One.test login u password "p \\"w\\"" account a
machine two.test
  user v
  password #1
macdef init
machine three.test login x

default login anonymous password mail@test`;
    expect(parseNetrc(text)).toEqual([
      { machine: 'one.test', login: 'u', password: 'p "w"' },
      { machine: 'two.test', login: 'v', password: '#1' },
      { machine: null, login: 'anonymous', password: 'mail@test' },
    ]);
    expect(parseNetrc('')).toEqual([]);
    for (const bad of ['machine', 'login u', 'machine a\nnonsense b', 'machine a login']) {
      expect(() => parseNetrc(bad)).toThrow(SyntaxError);
    }
  });

  /** With a file of this text as NETRC. */
  async function withNetrc(text: string, work: () => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'uvio-netrc-'));
    const path = join(folder, 'netrc');
    writeFileSync(path, text);
    vi.stubEnv('NETRC', path);
    vi.stubEnv('http_proxy', '');
    vi.stubEnv('HTTP_PROXY', '');
    try {
      await work();
    } finally {
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true });
    }
  }

  runTest('names users of hosts for sessions that trust the environment, and for no others', () =>
    withRaw(
      (request) => {
        const said = /^authorization: (.*)\r$/m.exec(request)?.[1] ?? 'none';
        return `HTTP/1.1 200 OK\r\ncontent-length: ${said.length}\r\n\r\n${said}`;
      },
      (url) =>
        withNetrc('machine 127.0.0.1 login u password p\nmachine localhost login a:b', async () => {
          const get = (session: ClientSession, options = {}): Promise<string> =>
            session.get(url, options).text();
          await withSession({}, async (session) => expect(await get(session)).toBe('none'));
          await withSession({ trustEnv: true }, async (session) => {
            expect(await get(session)).toBe(`Basic ${btoa('u:p')}`);
            expect(await get(session, { auth: { bearer: 't' } })).toBe('Bearer t');
            expect(await get(session, { headers: { authorization: 'x' } })).toBe('x');
          });
        }),
    ),
  );

  runTest('that is malformed, or not there, is told in a warning and counts as none', () =>
    withNetrc('machine', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      try {
        await withSession({ trustEnv: true }, () => {});
        vi.stubEnv('NETRC', '/nowhere/netrc');
        await withSession({ trustEnv: true }, () => {});
        vi.stubEnv('NETRC', '');
        vi.stubEnv('HOME', '/nowhere');
        await withSession({ trustEnv: true }, () => {});
        expect(warn.mock.calls.map(([text]) => String(text))).toEqual([
          expect.stringMatching(/netrc is not used: It ends in the middle/),
          expect.stringMatching(/nowhere\/netrc is not used: ENOENT/),
        ]);
      } finally {
        warn.mockRestore();
      }
    }),
  );
});
