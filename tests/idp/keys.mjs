// The signing keys of one provider: a key for each kind of algorithm, all of them replaced by a rotation. Retired keys
// stay known here, so that a test can sign with a key that the provider no longer shows.

import {
  constants, createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign as signWith,
} from 'node:crypto';

const KINDS = {
  rsa: ['rsa', { modulusLength: 2048 }],
  p256: ['ec', { namedCurve: 'P-256' }],
  p384: ['ec', { namedCurve: 'P-384' }],
  p521: ['ec', { namedCurve: 'P-521' }],
  ed25519: ['ed25519', {}],
};

// JWS algorithm -> the kind of its key, and how node:crypto makes the signature (RFC 7518 section 3, RFC 8037).
const ec = { dsaEncoding: 'ieee-p1363' };
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
const ALGORITHMS = {
  RS256: ['rsa', 'sha256', {}],
  RS384: ['rsa', 'sha384', {}],
  RS512: ['rsa', 'sha512', {}],
  PS256: ['rsa', 'sha256', pss],
  PS384: ['rsa', 'sha384', pss],
  PS512: ['rsa', 'sha512', pss],
  ES256: ['p256', 'sha256', ec],
  ES384: ['p384', 'sha384', ec],
  ES512: ['p521', 'sha512', ec],
  EdDSA: ['ed25519', null, {}],
};

const encode = (value) => Buffer.from(value).toString('base64url');

function generate(kind, kid) {
  const { privateKey } = generateKeyPairSync(...KINDS[kind]);
  return { kind, kid, jwk: { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig' } };
}

/**
 * A compact JWS over this text. Members of `header` override what the algorithm and the key say, null removes one; so a
 * header may lie. `alg` may be `none`, or HS256 to 512 with a `secret`.
 */
export function compact({ alg, kid, header = {}, key, secret }, payload) {
  const kept = Object.entries({ alg, typ: 'JWT', kid, ...header }).filter(([, value]) => value !== null);
  const input = `${encode(JSON.stringify(Object.fromEntries(kept)))}.${encode(payload)}`;
  if (alg === 'none') return `${input}.`;
  if (/^HS(256|384|512)$/.test(alg)) {
    return `${input}.${createHmac(`sha${alg.slice(2)}`, secret).update(input).digest('base64url')}`;
  }
  if (!key) throw new Error(`no key ${kid ?? ''} for ${alg}`);
  const [, hash, options] = ALGORITHMS[alg];
  return `${input}.${signWith(hash, Buffer.from(input), { key, ...options }).toString('base64url')}`;
}

/** What a test may want of a key; `alg` is absent for RSA, whose key serves six algorithms. */
function describe({ kind, kid, jwk }, published) {
  const key = createPrivateKey({ key: jwk, format: 'jwk' });
  const [algorithm, ...others] = Object.keys(ALGORITHMS).filter((name) => ALGORITHMS[name][0] === kind);
  return {
    kid,
    alg: others.length ? undefined : algorithm,
    published,
    pem: createPublicKey(key).export({ type: 'spki', format: 'pem' }),
    private_pem: key.export({ type: 'pkcs8', format: 'pem' }),
  };
}

export class Keys {
  #name;

  #generation = 0;

  /** Newest first: the provider signs with the first key that fits. */
  #published = [];

  #retired = [];

  constructor(name) {
    this.#name = name;
    this.rotate(false);
  }

  /** Replaces every key; the kid of the new RSA key. */
  rotate(keepOld) {
    this.#generation += 1;
    const fresh = Object.keys(KINDS).map((kind) => generate(kind, `${this.#name}-${kind}-${this.#generation}`));
    if (!keepOld) this.#retired.unshift(...this.#published.splice(0));
    this.#published.unshift(...fresh);
    return fresh[0].kid;
  }

  /** The private JWK set that the provider is built with. */
  jwks() {
    return { keys: this.#published.map(({ jwk }) => ({ ...jwk })) };
  }

  list() {
    return [
      ...this.#published.map((key) => describe(key, true)),
      ...this.#retired.map((key) => describe(key, false)),
    ];
  }

  /** A compact JWS over this text, by `kid` or by the newest key that fits the algorithm. */
  sign({ alg = 'RS256', kid, header, secret }, payload) {
    const key = [...this.#published, ...this.#retired].find((one) => (
      one.kind === ALGORITHMS[alg]?.[0] && (kid === undefined || one.kid === kid)));
    const privateKey = key && createPrivateKey({ key: key.jwk, format: 'jwk' });
    return compact({ alg, kid: key?.kid ?? kid, header, key: privateKey, secret }, payload);
  }
}
