import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseTarget } from '../../../core/loading/http-target.js';

const basic = (url: string) =>
  Buffer.from(parseTarget({ url }).headers.authorization!.replace('Basic ', ''), 'base64').toString();

it('takes user and password from a URL, also where a percent sign encodes nothing', () => {
  assert.equal(basic('http://me:p%40ss@host/'), 'me:p@ss');
  assert.equal(basic('http://me:100%@host/'), 'me:100%');
  assert.equal(parseTarget({ url: 'http://me:100%@host/a?b' }).shown, 'http://host/a');
});
