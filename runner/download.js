// Downloads a file, from a folder or by https, through the runner's proxy.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');
const { setTimeout: pause } = require('node:timers/promises');
const { fileURLToPath } = require('node:url');
const { Failure } = require('./step.js');

const ATTEMPTS = 3;
const REDIRECTS = 5;
// How long to wait for the next byte, in milliseconds.
const IDLE = 30_000;
const LARGEST = 256 << 20;

// Without the password that it might contain.
function shownUrl(url) {
  if (!URL.canParse(url)) return String(url);
  const shown = new URL(url);
  shown.username = shown.password = '';
  return shown.href;
}

async function download(url) {
  for (let attempt = 1; ; attempt++) {
    try {
      return url.protocol === 'file:' ? fs.readFileSync(fileURLToPath(url)) : await get(url, REDIRECTS);
    } catch (error) {
      // The codes of TLS for a certificate that is not trusted have one of these words.
      const isFinal = error.isFinal || url.protocol === 'file:' || /CERT|SIGNATURE/.test(error.code);
      if (isFinal || attempt === ATTEMPTS) {
        throw new Failure(
          10,
          `cannot download cdflow: \`${shownUrl(url)}\`, ${error.message}`,
          'make sure that the runner can reach this address, if necessary through `HTTPS_PROXY`',
          'if its certificate is from your own authority, set the input `ca-certificates`',
          'set `cdflow-mirror` to an address or folder with this file',
        );
      }
      console.log(`Attempt ${attempt} of ${ATTEMPTS} failed: ${error.message}`);
      await pause(1000 * attempt);
    }
  }
}

// Returns the authorities to trust: node's own, and those of the input `ca-certificates`, which is PEM text or a file. cdflow
// itself reports errors in the input.
function authorities() {
  const given = process.env['INPUT_CA-CERTIFICATES']?.trim();
  if (!given) return undefined;
  const read = (file) => (file && fs.existsSync(file) ? fs.readFileSync(file, 'latin1') : '');
  const texts = [given.includes('-----BEGIN') ? given : read(given), read(process.env.NODE_EXTRA_CA_CERTS)];
  const found = texts.join('\n').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return [...tls.rootCertificates, ...found];
}

// An error that another attempt would repeat.
const final = (message) => Object.assign(new Error(message), { isFinal: true });

async function get(url, redirects) {
  const socket = await tunnel(url);
  const ca = authorities();
  return new Promise((resolve, reject) => {
    const servername = net.isIP(url.hostname) ? '' : url.hostname;
    const options = { ca, ...(socket && { createConnection: () => tls.connect({ socket, host: url.hostname, servername, ca }) }) };
    const request = https.get(url, options, (answer) => {
      answer.on('error', reject);
      const status = answer.statusCode;
      if (status >= 300 && status < 400 && answer.headers.location) {
        answer.resume();
        return resolve(redirect(new URL(answer.headers.location, url), redirects));
      }
      if (status !== 200) {
        answer.resume();
        const message = `the server answers ${status}`;
        return reject(status === 429 || status >= 500 ? new Error(message) : final(message));
      }
      const pieces = [];
      let length = 0;
      answer.on('data', (piece) => {
        length += piece.length;
        if (length > LARGEST) request.destroy(final(`the file is larger than ${LARGEST >> 20} MiB`));
        pieces.push(piece);
      });
      answer.on('end', () => resolve(Buffer.concat(pieces)));
    });
    request.on('error', reject);
    request.setTimeout(IDLE, () => request.destroy(new Error(`no answer within ${IDLE / 1000} s`)));
  });
}

async function redirect(url, redirects) {
  if (url.protocol !== 'https:') throw final(`the server redirects to \`${shownUrl(url)}\`, which is not https`);
  if (redirects === 0) throw final(`the server redirects more than ${REDIRECTS} times`);
  return get(url, redirects - 1);
}

// Returns a connection to the server through the proxy, which node does not use on its own, or undefined without a proxy.
function tunnel(url) {
  const proxy = proxyFor(url);
  if (!proxy) return undefined;
  const login = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const server = `${url.hostname}:${url.port || 443}`;
  return new Promise((resolve, reject) => {
    const request = (proxy.protocol === 'https:' ? https : http).request(proxy, {
      method: 'CONNECT',
      path: server,
      headers: {
        host: server,
        ...(proxy.username && { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` }),
      },
    });
    const failed = (why) => new Error(`the proxy \`${shownUrl(proxy)}\` does not connect: ${why}`);
    request.on('connect', (answer, socket) =>
      answer.statusCode === 200 ? resolve(socket) : reject(failed(`it answers ${answer.statusCode}`)),
    );
    request.on('error', (error) => reject(failed(error.message)));
    request.setTimeout(IDLE, () => request.destroy(new Error(`no answer within ${IDLE / 1000} s`)));
    request.end();
  });
}

function proxyFor(url) {
  const { env } = process;
  const proxy = env.https_proxy || env.HTTPS_PROXY;
  const direct = (env.no_proxy || env.NO_PROXY || '').split(',').map((host) => host.trim().replace(/^\*?\./, ''));
  const isDirect = direct.some((host) => host && (host === '*' || url.host === host || `.${url.hostname}`.endsWith(`.${host}`)));
  return proxy && !isDirect ? new URL(proxy.includes('://') ? proxy : `http://${proxy}`) : undefined;
}

module.exports = { download, shownUrl };
