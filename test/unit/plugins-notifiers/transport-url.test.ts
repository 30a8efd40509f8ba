import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseTransportUrl } from '../../../plugins/notifiers/rabbitmq/transport-url.js';

function hosts(url: string) {
  return parseTransportUrl(url).hosts.map(({ host, port, username, password }) => [
    host,
    port,
    username,
    password,
  ]);
}

it('a transport URL of an OpenStack service is read as it is', () => {
  const url = parseTransportUrl('rabbit://openstack:RABBIT_PASS@controller:5672/');
  assert.deepEqual(url, {
    hosts: [{ host: 'controller', port: 5672, username: 'openstack', password: 'RABBIT_PASS' }],
    virtualHost: '/',
    query: new Map(),
    isSecure: false,
  });
});

it('several hosts have credentials of their own', () => {
  assert.deepEqual(hosts('rabbit://a:1@h1:5672,b:2@h2,h3:5673/vhost'), [
    ['h1', 5672, 'a', '1'],
    ['h2', undefined, 'b', '2'],
    ['h3', 5673, 'guest', 'guest'],
  ]);
});

it('names, passwords and the virtual host are percent-encoded', () => {
  const url = parseTransportUrl('rabbit://us%3Aer:p%40ss%2Fw%2Crd%25@host/%2Fbill%20ing');
  assert.equal(url.hosts[0]!.username, 'us:er');
  assert.equal(url.hosts[0]!.password, 'p@ss/w,rd%');
  assert.equal(url.virtualHost, '/bill ing');
  assert.equal(parseTransportUrl('rabbit://u:100%@host/').hosts[0]!.password, '100%');
  assert.equal(parseTransportUrl('rabbit://u:a:b@host/').hosts[0]!.password, 'a:b');
  assert.equal(parseTransportUrl('rabbit://u:a@b@host/').hosts[0]!.password, 'a@b');
});

it('an absent virtual host is the one called /', () => {
  for (const url of ['rabbit://host', 'rabbit://host/', 'rabbit://host//', 'rabbit://host?ssl=1'])
    assert.equal(parseTransportUrl(url).virtualHost, '/', url);
  assert.equal(parseTransportUrl('rabbit://host/a').virtualHost, 'a');
});

it('IPv6 addresses stand in brackets', () => {
  assert.deepEqual(hosts('rabbit://u:p@[fd00::1]:5671,u:p@[::1]/'), [
    ['fd00::1', 5671, 'u', 'p'],
    ['::1', undefined, 'u', 'p'],
  ]);
});

it('options of the driver stand behind the question mark', () => {
  const { query, isSecure } = parseTransportUrl('rabbit://host/v?ssl=true&ssl_ca_file=%2Fetc%2Fca.pem');
  assert.deepEqual(
    [...query],
    [
      ['ssl', 'true'],
      ['ssl_ca_file', '/etc/ca.pem'],
    ],
  );
  assert.equal(isSecure, false);
  assert.equal(parseTransportUrl('amqps://host/').isSecure, true);
});

it('what is no such URL is refused in words that show nothing of it', () => {
  const wrong = [
    '',
    'host:5672',
    'kafka://secret@host/',
    'rabbit://',
    'rabbit:///vhost',
    'rabbit://u:secret@host:0/',
    'rabbit://u:secret@host:70000/',
    'rabbit://u:secret@host:56a/',
    'rabbit://u:secret@[::1/',
    'rabbit://u:sec#ret@host/',
    'rabbit://u:secret@two words/',
  ];
  for (const url of wrong)
    assert.throws(
      () => parseTransportUrl(url),
      ({ message }: Error) => message !== '' && !/sec#?ret/.test(message),
      url,
    );
});
