// SPDX-License-Identifier: Apache-2.0
//
// The certified OpenID provider `oidc-provider` as an organisation would run it: access tokens are JWTs (RFC 9068) for
// one audience, with the employer, the kind of employment and the residence of whom they speak for.
//
//   node provider.mjs PORT KEYS    KEYS: the file of its private keys, made if it is not there
//
// It says what it does in lines of JSON, and takes commands on stdin: `rotate` signs with a new key and still publishes
// the others, `retire` publishes the signing key alone. It ends with its stdin.

import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';

const [port, keysFile] = process.argv.slice(2);
const SCOPE = 'users';
const HOUR = 3600;

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
  'ad-hoc-export': service('ly', ['data-team']),
  'shanghai-batch': service('shanghai-digital', ['data-team']),
};

// Resource (RFC 8707) to the audience of its tokens.
const RESOURCES = {
  'https://users.ly.example': { audience: 'pii-gateway', accessTokenFormat: 'jwt' },
  'https://calendar.ly.example': { audience: 'calendar', accessTokenFormat: 'jwt' },
  'https://opaque.ly.example': { audience: 'pii-gateway', accessTokenFormat: 'opaque' },
};

console.info = console.error;  // the provider's notices do not belong on stdout
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function makeKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg: 'ES256' };
}

// The first key signs.
let keys = existsSync(keysFile) ? JSON.parse(readFileSync(keysFile, 'utf8')) : [makeKey()];
const cookieKeys = [randomBytes(32).toString('hex')];

// JWTs are not kept by the provider; with what is kept here its own endpoints introspect (RFC 7662) and revoke
// (RFC 7009) them as they do opaque tokens.
const issued = new Map();

function remember(_ctx, token, { payload }) {
  const { kind, clientId, accountId, grantId, extra } = token;
  issued.set(payload.jti, { ...payload, kind, clientId, accountId, grantId, extra });
}

function findIssued(jwt) {
  const [header, body, signature] = jwt.split('.');
  const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
  try {
    const key = keys.find(({ kid }) => kid === read(header).kid);
    const by = { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
    const isOurs = verify('sha256', `${header}.${body}`, by, Buffer.from(signature, 'base64url'));
    return isOurs ? issued.get(read(body).jti) : undefined;
  } catch {
    return undefined;
  }
}

class Adapter extends MemoryAdapter {
  async find(id) {
    return id.split('.').length === 3 ? findIssued(id) : super.find(id);
  }

  async destroy(id) {
    issued.delete(id);
    return super.destroy(id);
  }
}

function configure() {
  return {
    adapter: Adapter,
    formats: { customizers: { jwt: remember } },
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
          accessTokenTTL: HOUR,
          jwt: { sign: { alg: 'ES256', kid: keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (_ctx, token) => ACCOUNTS[token.accountId] ?? SERVICES[token.clientId],
    findAccount: (_ctx, sub) => (Object.hasOwn(ACCOUNTS, sub) ? { accountId: sub, claims: () => ({ sub }) } : undefined),
    pkce: { required: () => true },
    scopes: ['openid', SCOPE],
    ttl: { AccessToken: HOUR, AuthorizationCode: 60, ClientCredentials: HOUR, Grant: HOUR, IdToken: HOUR, Interaction: HOUR, Session: HOUR },
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
