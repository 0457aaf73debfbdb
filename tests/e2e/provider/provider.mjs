// SPDX-License-Identifier: Apache-2.0
//
// The certified OpenID provider `oidc-provider` as an organisation would run it: access tokens are JWTs (RFC 9068) for
// one audience, with the employer, the kind of employment and the residence of whom they speak for.
//
//   node provider.mjs PORT KEYS    KEYS: the file of its private keys, made if it is not there
//
// It says what it does in lines of JSON, and takes commands on stdin: `rotate` signs with a new key and still publishes
// the others, `retire` publishes the signing key alone. It ends with its stdin.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

const [port, keysFile] = process.argv.slice(2);
const SCOPE = 'users';
const DAY = 86400;

// What the gateway's policies read, by account and by client.
const person = (affiliate, residence_country, employment_type = 'employee') =>
  ({ affiliate, employment_type, residence_country, groups: [] });
const service = (affiliate, groups = []) => ({ affiliate, employment_type: 'service', groups });
const ACCOUNTS = {
  sato: person('ly', 'JP'),
  wang: person('shanghai-digital', 'CN'),
  liu: person('dalian-bpo', 'CN', 'contractor'),
};
const SERVICES = {
  'nightly-export': service('ly', ['data-team']),
  'shanghai-batch': service('shanghai-digital', ['data-team']),
};

// Resource (RFC 8707) to the audience of its tokens. Opaque ones are for introspection (RFC 7662), which this provider
// does not offer for JWTs.
const RESOURCES = {
  'https://users.ly.example': { audience: 'pii-gateway', accessTokenFormat: 'jwt' },
  'https://calendar.ly.example': { audience: 'calendar', accessTokenFormat: 'jwt' },
  'https://introspected.ly.example': { audience: 'pii-gateway', accessTokenFormat: 'opaque' },
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function makeKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg: 'ES256' };
}

// The first key signs.
let keys = existsSync(keysFile) ? JSON.parse(readFileSync(keysFile, 'utf8')) : [makeKey()];
const cookieKeys = [randomBytes(32).toString('hex')];

function configure() {
  return {
    jwks: { keys },
    cookies: { keys: cookieKeys },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    clients: [
      ...Object.keys(SERVICES).map((client_id) => ({
        client_id,
        client_secret: `${client_id}-secret`,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      })),
      {
        client_id: 'console',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/callback'],
      },
      // A client that bears the audience's own name: its ID tokens are "for" the gateway.
      {
        client_id: 'pii-gateway',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/callback'],
      },
      // The gateway itself, where it asks about a token.
      {
        client_id: 'gateway',
        client_secret: 'gateway-secret',
        grant_types: [],
        response_types: [],
        redirect_uris: [],
      },
    ],
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://users.ly.example',
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          ...RESOURCES[resource],
          scope: SCOPE,
          accessTokenTTL: DAY,
          jwt: { sign: { alg: 'ES256', kid: keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (_ctx, token) => ACCOUNTS[token.accountId] ?? SERVICES[token.clientId],
    findAccount: (_ctx, sub) => (Object.hasOwn(ACCOUNTS, sub) ? { accountId: sub, claims: () => ({ sub }) } : undefined),
    pkce: { required: () => true },
    scopes: ['openid', SCOPE],
    ttl: { AccessToken: DAY, AuthorizationCode: 60, ClientCredentials: DAY, Grant: DAY, IdToken: DAY, Interaction: DAY, Session: DAY },
  };
}

let handle;

// What is issued stays in memory through a rotation; sessions end with the process.
function publish(next) {
  keys = next;
  writeFileSync(keysFile, JSON.stringify(keys), { mode: 0o600 });
  handle = new Provider(issuer, configure()).callback();
  say({ keys: keys.map(({ kid }) => kid) });
}

const server = createServer((request, response) => handle(request, response));
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(Number(port), '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${port}`;
publish(keys);
say({ listening: issuer });

const COMMANDS = {
  rotate: () => publish([makeKey(), ...keys]),
  retire: () => publish(keys.slice(0, 1)),
};
for await (const line of createInterface({ input: process.stdin })) {
  COMMANDS[line]?.();
}
process.exit(0);
