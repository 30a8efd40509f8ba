import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../../core/config/load-config.js';
import { redactConfig } from '../../../core/config/redact.js';
import { folderWith, MINIMAL } from './config-fixtures.js';

describe('redactConfig', () => {
  it('shows no secret, wherever it comes from', async (context) => {
    const folder = await folderWith(context, { 'metrics.yml': '', pw: 'hunter1' });
    await writeFile(
      join(folder, 'c.yml'),
      `database: {url: "mysql://user:hunter2/@db:3306,db2/ratecat?ssl=true"}
storage: {plugin: influxdb, options: {url: "https://u:hunter3@h/x", api_key: hunter4, pin: hunter5, keep: visible}}
pipelines:
  - name: a
    collect: {metrics: metrics.yml}
    fetcher: {plugin: keystone, options: {password_file: pw, auth: {clientSecret: hunter6, token: [hunter7]}}}
    collector: {plugin: c, options: {password: "\${P}"}}
`,
    );
    const { config } = await loadConfig(join(folder, 'c.yml'), { P: 'hunter8' });
    const shown = JSON.stringify(redactConfig(config, ['storage.options.pin']));
    assert.doesNotMatch(shown, /hunter/);
    assert.match(shown, /mysql:\/\/user:\*\*\*@db:3306,db2\/ratecat/);
    assert.match(shown, /visible/);
    assert.match(
      JSON.stringify(redactConfig(config)),
      /hunter5/,
      'the fixture has a secret that only its plugin knows',
    );
  });

  for (const form of ['short', 'several']) {
    it(`gives a file that loads to the same configuration (${form} form)`, async (context) => {
      const folder = await folderWith(context, { 'metrics.yml': '', 'rules.yml': '' });
      const pipeline =
        '{collect: {metrics: metrics.yml, start: "2025-01-01T00:00:00Z"}, fetcher: {plugin: f}, collector: {plugin: c}';
      const text =
        form === 'short'
          ? `${MINIMAL}name: x\nrating: [{plugin: a, rules: rules.yml, options: {a: 1}}]\n`
          : `pipelines:\n  - ${pipeline}, name: a}\n  - ${pipeline}, name: b}\n`;
      await writeFile(join(folder, 'c.yml'), text);
      const { config } = await loadConfig(join(folder, 'c.yml'), {});
      const printed = redactConfig(config);
      await writeFile(join(folder, 'printed.yml'), stringify(printed));
      const again = await loadConfig(join(folder, 'printed.yml'), {});
      assert.deepEqual(redactConfig(again.config), printed);
      assert.deepEqual(
        again.config.pipelines.map(({ collect }) => collect),
        config.pipelines.map(({ collect }) => collect),
      );
    });
  }
});
