// Makes the keys and certificates of test/support/tls with the openssl program. They are valid for
// 100 years, so this is needed only when another kind is wanted. The keys are no secret.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './support/run.mjs';

const folder = join(root, 'test/support/tls');
const work = mkdtempSync(join(tmpdir(), 'uvio-certs-'));
const always = ['-startdate', '20200101000000Z', '-enddate', '21200101000000Z'];
const past = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z'];

/** @param {string[]} args */
function openssl(...args) {
  execFileSync('openssl', args, { cwd: work, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** @param {string} name */
function makeCa(name) {
  const subject = ['-subj', `/O=uvio/CN=uvio test ${name}`];
  openssl('genrsa', '-out', `${name}-key.pem`, '2048');
  openssl(
    'req',
    '-new',
    '-x509',
    '-key',
    `${name}-key.pem`,
    '-days',
    '36500',
    ...subject,
    '-out',
    `${name}.pem`,
  );
  writeFileSync(join(work, 'index.txt'), '');
  writeFileSync(join(work, 'index.txt.attr'), 'unique_subject = no\n');
}

/**
 * @param {string} name
 * @param {string} ca empty: signed by itself
 * @param {string} extensions
 * @param {string[]} dates
 * @param {string[]} kind
 */
function makeCertificate(name, ca, extensions, dates = always, kind = ['genrsa', '2048']) {
  const key = join(folder, `${name}-key.pem`);
  const [command, size] = kind;
  if (command === 'genrsa') openssl('genrsa', '-out', key, size);
  else openssl('ecparam', '-name', size, '-genkey', '-noout', '-out', key);
  openssl('req', '-new', '-key', key, '-subj', `/O=uvio/CN=${name}`, '-out', 'request.pem');
  writeFileSync(
    join(work, 'ca.conf'),
    `[ca]
default_ca = one
[one]
database = index.txt
new_certs_dir = .
rand_serial = yes
policy = any
default_md = sha256
[any]
organizationName = supplied
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
${extensions}
`,
  );
  const signer =
    ca === ''
      ? ['-selfsign', '-keyfile', key]
      : ['-keyfile', `${ca}-key.pem`, '-cert', `${ca}.pem`];
  const out = join(folder, `${name}.pem`);
  openssl(
    'ca',
    '-batch',
    '-config',
    'ca.conf',
    '-notext',
    '-extensions',
    'leaf',
    ...signer,
    ...dates,
    '-in',
    'request.pem',
    '-out',
    out,
  );
}

mkdirSync(folder, { recursive: true });
for (const ca of ['ca', 'other-ca']) makeCa(ca);
openssl('x509', '-in', 'ca.pem', '-out', join(folder, 'ca.pem'));
openssl('x509', '-in', 'other-ca.pem', '-out', join(folder, 'other-ca.pem'));
const local = 'subjectAltName = DNS:localhost,DNS:server.test,IP:127.0.0.1,IP:::1';
makeCertificate('server', 'ca', local);
makeCertificate('other', 'ca', 'subjectAltName = DNS:other.test', always, ['ec', 'prime256v1']);
makeCertificate('expired', 'ca', local, past);
makeCertificate('self-signed', '', local);
makeCertificate('client', 'ca', 'extendedKeyUsage = clientAuth');
makeCertificate('stranger', 'other-ca', 'extendedKeyUsage = clientAuth');
const password = ['-passout', 'pass:secret'];
openssl(
  'rsa',
  '-aes128',
  ...password,
  '-in',
  join(folder, 'server-key.pem'),
  '-out',
  join(folder, 'server-key-encrypted.pem'),
);
openssl(
  'pkcs12',
  '-export',
  ...password,
  '-inkey',
  join(folder, 'server-key.pem'),
  '-in',
  join(folder, 'server.pem'),
  '-out',
  join(folder, 'server.pfx'),
);
rmSync(work, { recursive: true });
