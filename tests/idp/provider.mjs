// oidc-provider as these tests need it: clients, accounts and resources from memory, opaque and JWT access tokens. Its
// keys are fixed when it is built; a new set of keys is a new provider over the same store of tokens.

import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Endpoint -> its path. */
export const ROUTES = {
  jwks: '/jwks',
  token: '/token',
  introspection: '/introspection',
  userinfo: '/userinfo',
  revocation: '/revocation',
};

/** Resources `urn:models:ALG` get JWTs, `urn:models:opaque` gets opaque tokens with an audience. */
const RESOURCE = /^urn:models:(RS256|PS256|ES256|EdDSA|opaque)$/;
const SCOPES = 'models:read models:call admin';
const DAY = 24 * 60 * 60;

/** The adapter of oidc-provider over one map; the provider itself looks at expiry. */
function adapter(store) {
  return (model) => {
    const name = (id) => `${model}:${id}`;
    return {
      upsert: async (id, payload) => { store.set(name(id), payload); },
      find: async (id) => store.get(name(id)),
      destroy: async (id) => { store.delete(name(id)); },
      consume: async (id) => { store.get(name(id)).consumed = Math.floor(Date.now() / 1000); },
      revokeByGrantId: async (grantId) => {
        for (const [id, payload] of store) if (payload.grantId === grantId) store.delete(id);
      },
    };
  };
}

function resourceServer(errors, _ctx, resource) {
  const [, kind] = RESOURCE.exec(resource) ?? [];
  if (!kind) throw new errors.InvalidTarget();
  const common = { scope: SCOPES, audience: resource };
  return kind === 'opaque'
    ? { ...common, accessTokenFormat: 'opaque' }
    : { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: kind } } };
}

export class Accounts {
  /** Account -> its claims. */
  #claims = new Map();

  /** Names of claims that userinfo may show. */
  names = new Set(['email']);

  /** Whether a name came that the running provider does not know. */
  set(account, claims) {
    const known = this.names.size;
    this.#claims.set(account, claims);
    Object.keys(claims).forEach((name) => this.names.add(name));
    return this.names.size > known;
  }

  async find(accountId) {
    return { accountId, claims: async () => ({ sub: accountId, ...this.#claims.get(accountId) }) };
  }
}

/** A function that builds a provider over one store: `build(jwks)`. */
export async function builder({ packages, issuer, clients, accounts, clientClaims }) {
  const entry = createRequire(path.join(packages, 'package.json')).resolve('oidc-provider');
  const { default: Provider, errors } = await import(pathToFileURL(entry));
  const store = new Map();
  return (jwks) => new Provider(issuer, {
    adapter: adapter(store),
    jwks,
    clients,
    routes: ROUTES,
    scopes: ['openid', ...SCOPES.split(' ')],
    claims: { openid: ['sub', ...accounts.names] },
    cookies: { keys: ['of the tests'] },
    findAccount: (_ctx, id) => accounts.find(id),
    extraTokenClaims: (_ctx, token) => token.extra ?? clientClaims.get(token.clientId),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer.bind(null, errors) },
    },
    ttl: { AccessToken: 600, ClientCredentials: 600, Grant: DAY },
  });
}

/** An opaque token from the provider's own models: of an account, or, where that is null, of the client alone. */
export async function mint(provider, { account = 'user-1', client, scope = 'openid', audience, ttl = 600, extra }) {
  const of = await provider.Client.find(client);
  if (!of) throw new Error(`no client ${client}`);
  const common = { client: of, scope, aud: audience, exp: Math.floor(Date.now() / 1000) + ttl, extra };
  if (account === null) return new provider.ClientCredentials(common).save();
  const grant = new provider.Grant({ clientId: client, accountId: account });
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  return new provider.AccessToken({ ...common, accountId: account, grantId, gty: 'authorization_code' }).save();
}

/** Ends an opaque token; whether there was one. */
export async function revoke(provider, token) {
  const found = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token);
  await found?.destroy();
  return found !== undefined;
}
