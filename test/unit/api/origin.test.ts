import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { proxyOrigins } from '../../../core/api/origin.js';
import { HOSTILE_TEXTS } from '../../../core/testkit/hostile-texts.js';
import { sampleSeed } from '../../../core/testkit/samples.js';

interface Asked {
  readonly headers: Readonly<Record<string, string>>;
  readonly peer?: string;
  readonly local?: string;
  readonly tls?: boolean;
}

function ask(trusted: readonly string[], { headers, peer = '192.0.2.9', local = '192.0.2.1', tls }: Asked) {
  const socket = {
    remoteAddress: peer,
    localAddress: local,
    localPort: 8889,
    ...(tls === true ? { encrypted: true } : {}),
  };
  return proxyOrigins(trusted)({ headers, socket } as unknown as IncomingMessage);
}

const PROXY = ['192.0.2.0/24'];
const local = 'http://192.0.2.1:8889';

describe('where a request was sent to', () => {
  test('is said by Host, with the scheme of the connection', () => {
    const headers = { host: 'rating.example:8889' };
    assert.deepEqual(ask([], { headers }), {
      origin: 'http://rating.example:8889',
      prefix: '',
      clientAddress: '192.0.2.9',
    });
    assert.equal(ask([], { headers, tls: true }).origin, 'https://rating.example:8889');
    for (const host of ['rating', '10.0.0.1', '[::1]:8889', '[2001:db8::1]', 'my_host', 'a.b.', 'x-y:1'])
      assert.equal(ask([], { headers: { host } }).origin, `http://${host}`);
  });

  test('is the own address when Host is absent or could do harm', () => {
    assert.equal(ask([], { headers: {} }).origin, local);
    const hosts = [
      '',
      ' ',
      'a b',
      'a/b',
      'a\r\nx: y',
      '<script>',
      'a"b',
      'user@host',
      'a:99999',
      'a:',
      'a:b',
      '[::1',
      '[zz]',
    ];
    for (const host of [
      ...hosts,
      '[::1%eth0]',
      'a?b',
      'a#b',
      'a\\b',
      '-a',
      'ü.example',
      'x'.repeat(256),
      'a,b',
    ])
      assert.equal(ask([], { headers: { host } }).origin, local, host);
    assert.equal(ask([], { headers: {}, local: '::ffff:192.0.2.1' }).origin, local);
    assert.equal(ask([], { headers: {}, local: '::1' }).origin, 'http://[::1]:8889');
    assert.equal(ask([], { headers: {}, local: 'fe80::1%eth0' }).origin, 'http://[fe80::1]:8889');
  });

  test('is not said by forwarding headers of strangers', () => {
    const headers = {
      host: 'rating.example',
      forwarded: 'for=10.9.9.9;proto=https;host=evil',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil',
      'x-forwarded-for': '10.9.9.9',
      'x-forwarded-prefix': '/evil',
    };
    const plain = { origin: 'http://rating.example', prefix: '', clientAddress: '192.0.2.9' };
    assert.deepEqual(ask([], { headers }), plain);
    assert.deepEqual(ask(['192.0.2.8', '10.0.0.0/8', 'loopback', 'fd00::/8'], { headers }), plain);
  });

  test('is said by X-Forwarded headers of a trusted proxy', () => {
    const headers = {
      host: 'inside:8889',
      'x-forwarded-proto': 'https, http',
      'x-forwarded-host': 'rating.example, inside',
      'x-forwarded-for': '203.0.113.5, 192.0.2.7',
      'x-forwarded-prefix': '/rating/',
    };
    const expected = { origin: 'https://rating.example', prefix: '/rating', clientAddress: '203.0.113.5' };
    assert.deepEqual(ask(PROXY, { headers }), expected);
    assert.deepEqual(ask(['192.0.2.9', '192.0.2.7'], { headers }), expected);
    assert.deepEqual(ask(PROXY, { headers, peer: '::ffff:192.0.2.9' }), expected);
    assert.deepEqual(ask(['loopback', ...PROXY], { headers, peer: '127.8.8.8' }), expected);
    assert.deepEqual(ask(['loopback', ...PROXY], { headers, peer: '::1' }), expected);
    assert.equal(ask(['fe80::/10'], { headers, peer: 'fe80::5%eth0' }).origin, 'https://rating.example');
  });

  test('is said by Forwarded before the other headers', () => {
    const headers = {
      host: 'inside',
      forwarded: 'For="[2001:db8::17]:4711";Proto=HTTPS;Host="rating.example:8443", for=192.0.2.7',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'other',
      'x-forwarded-for': '1.2.3.4',
      'x-forwarded-prefix': '/rating',
    };
    assert.deepEqual(ask(PROXY, { headers }), {
      origin: 'https://rating.example:8443',
      prefix: '/rating',
      clientAddress: '2001:db8::17',
    });
    assert.equal(
      ask(PROXY, { headers: { host: 'inside', forwarded: 'for=unknown' } }).origin,
      'http://inside',
    );
  });

  test('has the address of the last one that is no trusted proxy: what stands before it is hearsay', () => {
    const from = (chain: string) => ask(PROXY, { headers: { 'x-forwarded-for': chain } }).clientAddress;
    assert.equal(from('1.1.1.1, 203.0.113.5, 192.0.2.7'), '203.0.113.5');
    assert.equal(from('203.0.113.5:1234'), '203.0.113.5');
    assert.equal(from('192.0.2.5, 192.0.2.6'), '192.0.2.5');
    assert.equal(from('unknown'), '192.0.2.9');
    assert.equal(from(''), '192.0.2.9');
    assert.equal(from('1.1.1.1, _hidden'), '192.0.2.9');
  });

  test('keeps only what is harmless of what a trusted proxy passes on', () => {
    const about = (name: string, value: string) => ask(PROXY, { headers: { host: 'inside', [name]: value } });
    for (const value of ['ftp', 'javascript', 'https:', '', 'ht tp'])
      assert.equal(about('x-forwarded-proto', value).origin, 'http://inside', value);
    for (const value of ['evil/x', 'a b', 'a\r\nb', '"', '<x>'])
      assert.equal(about('x-forwarded-host', value).origin, 'http://inside', value);
    for (const value of [
      'rating',
      '//evil',
      '/a//b',
      '/a b',
      '/<x>',
      '/a\r\nb',
      '/a?b',
      '/a#b',
      '/',
      '',
      `/${'a'.repeat(1024)}`,
    ])
      assert.equal(about('x-forwarded-prefix', value).prefix, '', value.slice(0, 20));
    assert.equal(about('x-forwarded-prefix', '/a/b/').prefix, '/a/b');
  });

  test('is always an origin and a path, whatever the headers say, and costs little', () => {
    const seed = sampleSeed();
    const name = fc.constantFrom(
      'host',
      'forwarded',
      'x-forwarded-proto',
      'x-forwarded-host',
      'x-forwarded-for',
      'x-forwarded-prefix',
    );
    const piece = fc.oneof(
      fc.constantFrom(
        ...HOSTILE_TEXTS,
        'for=',
        'host=',
        'proto=https',
        ';',
        ',',
        '"',
        '/',
        'rating.example',
        '[::1]:80',
      ),
      fc.string({ unit: 'binary' }),
    );
    const headers = fc.dictionary(
      name,
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    const property = fc.property(
      headers,
      fc.constantFrom('192.0.2.9', '', '::1', 'fe80::1%x'),
      (given, peer) => {
        const { origin, prefix, clientAddress } = ask(['0.0.0.0/0', '::/0'], { headers: given, peer });
        assert.match(origin, /^https?:\/\/[\w.[\]:-]+$/, `seed ${seed}`);
        assert.ok(
          URL.canParse(`${origin}${prefix}/v1`) || /^https?:\/\/[\d.:]+$/.test(origin),
          `${origin} seed ${seed}`,
        );
        assert.match(prefix, /^(\/[^/\s<>"\\?#]+)*$/, `seed ${seed}`);
        assert.match(clientAddress, /^[\da-fA-F:.]*$/, `seed ${seed}`);
      },
    );
    fc.assert(property, { seed, numRuns: 2000 });
    const began = performance.now();
    for (const text of ['/', '/a', 'a', '[', '"', ';', ',', 'a='].map((part) => part.repeat(60_000)))
      for (const header of ['host', 'forwarded', 'x-forwarded-host', 'x-forwarded-for', 'x-forwarded-prefix'])
        ask(['0.0.0.0/0'], { headers: { [header]: `${text}\u0001` } });
    assert.ok(performance.now() - began < 3000);
  });
});
