import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ApiRequest } from '../../../core/api/exchange.js';
import { OsloHealthCheck } from '../../../core/api/health.js';

const page = (reason: string) =>
  `<HTML>\n<HEAD><TITLE>Healthcheck Status</TITLE></HEAD>\n<BODY>\n\n<H2>Result of 1 checks:</H2>\n<TABLE bgcolor="#ffffff" border="1">\n<TBODY>\n<TR>\n\n<TH>\nReason\n</TH>\n</TR>\n<TR>\n\n    <TD>${reason}</TD>\n\n</TR>\n</TBODY>\n</TABLE>\n<HR></HR>\n\n</BODY>\n</HTML>`;
const json = (reason: string) => `{\n    "detailed": false,\n    "reasons": [\n        "${reason}"\n    ]\n}`;

describe('the health check', () => {
  let folder: string;
  let file: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ratecat-health-'));
    file = join(folder, 'disable');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function ask(method: string, accept?: string) {
    const headers = accept === undefined ? {} : { accept };
    const request = { method, headers, path: '/healthcheck' } as unknown as ApiRequest;
    const { status, body, headers: answered } = await new OsloHealthCheck(file).handle(request);
    return [status, answered?.['content-type'], body];
  }

  test('answers OK in the type that is asked for, byte for byte as the reference', async () => {
    const text = [200, 'text/plain; charset=UTF-8', 'OK'];
    for (const accept of [
      undefined,
      '*/*',
      'text/plain',
      'text/*',
      'application/xml',
      'garbage',
      'text/html;level=1',
    ])
      assert.deepEqual(await ask('GET', accept), text, accept);
    for (const accept of ['application/json', 'application/*', 'text/html;q=0.5, application/json'])
      assert.deepEqual(await ask('GET', accept), [200, 'application/json', json('OK')], accept);
    for (const accept of ['text/html', 'application/json, text/html', 'text/plain;q=0.1, text/html;q=0.2'])
      assert.deepEqual(await ask('GET', accept), [200, 'text/html; charset=UTF-8', page('OK')], accept);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
      assert.deepEqual(await ask(method), text, method);
  });

  test('answers HEAD with 204 and no body', async () => {
    const [status, , body] = await ask('HEAD', 'application/json');
    assert.deepEqual([status, body], [204, undefined]);
  });

  test('answers 503 while the file exists', async () => {
    await writeFile(file, '');
    assert.deepEqual(await ask('GET'), [503, 'text/plain; charset=UTF-8', 'DISABLED BY FILE']);
    assert.deepEqual(await ask('GET', 'application/json'), [
      503,
      'application/json',
      json('DISABLED BY FILE'),
    ]);
    assert.deepEqual(await ask('GET', 'text/html'), [
      503,
      'text/html; charset=UTF-8',
      page('DISABLED BY FILE'),
    ]);
    const [status, , body] = await ask('HEAD');
    assert.deepEqual([status, body], [503, undefined]);
    await rm(file);
    assert.equal((await ask('GET'))[0], 200);
  });
});
