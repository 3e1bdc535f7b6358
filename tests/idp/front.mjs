// Stands on the provider's port before it: counts and remembers what comes, answers the paths that a test has set, and
// commits the faults that a test has switched on. All else the provider answers.

import { once } from 'node:events';
import http from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';

import { ROUTES } from './provider.mjs';

const ENDPOINTS = new Map([
  ...Object.entries(ROUTES).map(([name, path]) => [path, name]),
  ['/.well-known/openid-configuration', 'discovery'],
]);
const JSON_TYPE = { 'content-type': 'application/json' };
/** Requests that are remembered, the newest. */
const REMEMBERED = 1000;
const BLOCK = Buffer.alloc(64 * 1024, 'x');

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function reply(response, status, headers, body = '') {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body);
}

/** A JSON document of this many bytes, in parts. */
function* document(bytes) {
  yield '{"padding":"';
  for (let left = bytes - 14; left > 0; left -= BLOCK.length) yield BLOCK.subarray(0, Math.min(left, BLOCK.length));
  yield '"}';
}

export class Front {
  #server = http.createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });

  #provider;

  #faults = new Map();

  /** How to let those go that hang. */
  #hanging = new Set();

  #routes = new Map();

  #counts = {};

  #requests = [];

  constructor() {
    // A connection that waits for its next request is not closed under it.
    this.#server.keepAliveTimeout = 0;
  }

  async listen(port) {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return this.#server.address().port;
  }

  /** Nobody listens any more, and every connection is cut. */
  async close() {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** This provider answers from now on. */
  put(provider) {
    this.#provider = provider.callback();
  }

  serve(path, { type, status = 200, body }) {
    this.#routes.set(path, { type, status, body });
  }

  /** `endpoint` is a name, a path that was set, or `all`. */
  fault(endpoint, fault) {
    this.#faults.set(endpoint, fault);
  }

  clearFaults() {
    this.#faults.clear();
    this.#hanging.forEach((release) => release());
    this.#hanging.clear();
  }

  counts() {
    return this.#counts;
  }

  requests(endpoint) {
    return this.#requests.filter((request) => request.endpoint === endpoint);
  }

  forget() {
    this.#counts = {};
    this.#requests = [];
  }

  async #answer(request, response) {
    const { pathname, search } = new URL(request.url, 'http://127.0.0.1');
    const route = this.#routes.get(pathname);
    const endpoint = route ? pathname : ENDPOINTS.get(pathname) ?? 'other';
    const seen = { endpoint, method: request.method, path: pathname + search, headers: request.headers };
    // The provider reads the bodies of its own requests.
    if (route) seen.body = (await bodyOf(request)).toString();
    this.#counts[endpoint] = (this.#counts[endpoint] ?? 0) + 1;
    this.#requests.push(seen);
    if (this.#requests.length > REMEMBERED) this.#requests.shift();

    const fault = this.#faults.get(endpoint) ?? this.#faults.get('all');
    if (fault && await this.#commit(fault, response)) return;
    if (route) {
      reply(response, route.status, { 'content-type': route.type }, route.body);
    } else {
      await this.#provider(request, response);
    }
  }

  /** Whether the fault took the place of the answer. */
  async #commit(fault, response) {
    switch (fault.kind) {
      case 'status':
        reply(response, fault.status, JSON_TYPE, '{"error":"server_error"}');
        return true;
      case 'delay':
        await wait(fault.ms);
        return response.destroyed;
      case 'hang':
        await new Promise((release) => { this.#hanging.add(release); });
        return response.destroyed;
      case 'oversized':
        response.writeHead(200, JSON_TYPE);
        // A client that has had enough closes.
        await pipeline(Readable.from(document(fault.bytes)), response).catch(() => {});
        return true;
      case 'redirect':
        reply(response, 302, { location: fault.to });
        return true;
      case 'garbage':
        reply(response, 200, JSON_TYPE, '<html>{"keys": [');
        return true;
      case 'cut':
        response.socket.destroy();
        return true;
      case 'cut_short':
        response.writeHead(200, { ...JSON_TYPE, 'content-length': 1000 });
        response.write('{"keys": [', () => response.socket?.destroy());
        return true;
      default:
        throw new Error(`no fault ${fault.kind}`);
    }
  }
}
