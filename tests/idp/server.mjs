// The identity provider of the tests: a real oidc-provider on 127.0.0.1, and beside it a control port through which a
// test mints tokens, rotates keys, switches faults and asks what was requested. One JSON argument configures it: `port`
// and `issuer` (default: a free port, and its URL), `kid` (how its key ids begin), `audience` (of tokens that name no
// other), `clients` (metadata of clients), `packages` (where oidc-provider is installed). Prints one line of JSON when
// both ports listen.

import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { fileURLToPath } from 'node:url';

import { Front } from './front.mjs';
import { Keys, compact } from './keys.mjs';
import { Accounts, builder, mint, revoke } from './provider.mjs';

const settings = JSON.parse(process.argv[2] ?? '{}');
const front = new Front();
const port = await front.listen(settings.port ?? 0);
const issuer = settings.issuer ?? `http://127.0.0.1:${port}`;
const keys = new Keys(settings.kid ?? randomBytes(4).toString('hex'));
const accounts = new Accounts();
/** Client -> claims of the tokens it gets for itself. */
const clientClaims = new Map();

/** Keys with which a client proves who it is (private_key_jwt): algorithm -> key. */
const clientKeys = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const jwks = {
  keys: Object.entries(clientKeys).map(([alg, { publicKey }]) => (
    { ...publicKey.export({ format: 'jwk' }), alg, kid: `client-${alg}`, use: 'sig' })),
};
const clients = (settings.clients ?? []).map((client) => ({
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  ...(client.token_endpoint_auth_method === 'private_key_jwt' ? { jwks } : {}),
  ...client,
}));
const packages = settings.packages ?? fileURLToPath(new URL('../../.tools/idp', import.meta.url));
const build = await builder({ packages, issuer, clients, accounts, clientClaims });
let provider;

/** Makes a provider with the keys and the names of claims as they are now, and puts it in the place of the last. */
function renew() {
  provider = build(keys.jwks());
  front.put(provider);
}

/** Claims over those of a good token, where null removes one; or this text. */
function payload({ claims = {}, text }) {
  if (text !== undefined) return text;
  const now = Math.floor(Date.now() / 1000);
  const all = { iss: issuer, sub: 'user-1', aud: settings.audience, iat: now, exp: now + 600, ...claims };
  return JSON.stringify(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)));
}

const commands = {
  sign: (asked) => keys.sign(asked, payload(asked)),
  keys: () => keys.list(),
  rotate({ keep_old: keepOld }) {
    const kid = keys.rotate(keepOld);
    renew();
    return kid;
  },
  client_key: ({ alg }) => clientKeys[alg].privateKey.export({ type: 'pkcs8', format: 'pem' }),
  /** Proves that the caller is this client (RFC 7523 section 2.2). */
  assertion({ client, alg }) {
    const exp = Math.floor(Date.now() / 1000) + 60;
    const claims = { iss: client, sub: client, aud: issuer, jti: randomUUID(), exp };
    return compact({ alg, kid: `client-${alg}`, key: clientKeys[alg].privateKey }, JSON.stringify(claims));
  },
  client_claims({ client, claims }) { clientClaims.set(client, claims); },
  opaque({ claims, ...asked }) {
    if (claims && accounts.set(asked.account ?? 'user-1', claims)) renew();
    return mint(provider, asked);
  },
  revoke: ({ token }) => revoke(provider, token),
  fault({ endpoint, fault }) { front.fault(endpoint, fault); },
  clear_faults() { front.clearFaults(); },
  serve({ path, ...answer }) { front.serve(path, answer); },
  counts: () => front.counts(),
  requests: ({ endpoint }) => front.requests(endpoint),
  forget() { front.forget(); },
  close: () => front.close(),
  async listen() { await front.listen(port); },
};

const control = http.createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  let [status, answer] = [200, null];
  try {
    answer = await commands[request.url.slice(1)](JSON.parse(text)) ?? null;
  } catch (error) {
    [status, answer] = [400, `${request.url}: ${error.message}`];
  }
  const body = JSON.stringify(answer);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
});

renew();
control.listen(0, '127.0.0.1');
await once(control, 'listening');
process.stdout.write(`${JSON.stringify({ issuer, port, control: control.address().port })}\n`);
