import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { loadConfig } from '../../../core/config/load-config.js';
import { optionsFromValue, validateOptions } from '../../../core/config/validate-options.js';
import type { Schema } from '../../../core/plugin-api/index.js';
import { brief, folderWith, MINIMAL } from './config-fixtures.js';

const schema = z
  .strictObject({
    url: z.string().min(1),
    timeout: z.number().positive().max(60).default(10),
    verify: z.boolean().default(true),
    filters: z.record(z.string(), z.string()).default({}),
    scopes: z
      .array(z.union([z.string(), z.strictObject({ id: z.string(), name: z.string().optional() })]))
      .default([]),
    nested: z.strictObject({ region_name: z.string().optional() }).optional(),
    code: z.string().optional(),
    ca_file: z.string().optional(),
  })
  .superRefine((options, context) => {
    if (options.url === 'bad')
      context.addIssue({ code: 'custom', path: ['url'], message: 'must not be bad' });
  });

/** Validates the options of a collector as they stand from line 6 of a file. */
async function validate(
  context: Parameters<typeof folderWith>[0],
  options: string,
  settings: {
    schema?: Schema;
    secrets?: readonly string[];
    environment?: Readonly<Record<string, string>>;
  } = {},
) {
  const folder = await folderWith(context, { 'metrics.yml': '', pin: '0042\n', 'ratecat.yml': '' });
  await writeFile(join(folder, 'ratecat.yml'), `${MINIMAL}${options}`);
  const { config } = await loadConfig(join(folder, 'ratecat.yml'), settings.environment ?? {});
  const source = config.pipelines[0]!.collector.options;
  const result = await validateOptions(settings.schema ?? schema, source, settings.secrets);
  return result.problems?.map((problem) => brief(problem).replaceAll(folder, '…')) ?? result.value;
}

describe('validateOptions', () => {
  it("gives the plugin's view of its options", async (context) => {
    assert.deepEqual(await validate(context, '  options: {url: a, filters: {x: "1"}}\n'), {
      url: 'a',
      timeout: 10,
      verify: true,
      filters: { x: '1' },
      scopes: [],
    });
  });

  it('reports each fault at its line and column with a remedy', async (context) => {
    const problems = await validate(
      context,
      `  options:
    url:
    timeout: 90
    verify: yes
    filters: {a: 1}
    scopes:
      - a
      - 7
      - {id: b, nmae: c}
    nested: {region_nam: x}
    code: 007
    tiemout: 3
`,
    );
    assert.deepEqual(problems, [
      "15:17 collector.options.scopes[2].nmae: unknown key 'nmae' (did you mean 'name'?)",
      "16:14 collector.options.nested.region_nam: unknown key 'region_nam' (did you mean 'region_name'?)",
      "18:5 collector.options.tiemout: unknown key 'tiemout' (did you mean 'timeout'?)",
      '8:5 collector.options.url: has no value (give it one, or remove the key to use the default)',
      "9:14 collector.options.timeout: Too big: expected number to be <=60, got '90'",
      "10:13 collector.options.verify: must be true or false, got 'yes' (write true)",
      "11:18 collector.options.filters.a: must be text, got '1' (put it in quotes: '1')",
      "14:9 collector.options.scopes[1]: must be text or a mapping of `key: value` lines, got '7'",
      "17:11 collector.options.code: must be text, got '007' (put it in quotes: '007')",
    ]);
  });

  it("keeps a plugin's own words", async (context) => {
    assert.deepEqual(await validate(context, '  options: {url: bad}\n'), [
      "7:18 collector.options.url: must not be bad, got 'bad'",
    ]);
  });

  it('locates missing options where options are, or at the plugin', async (context) => {
    assert.deepEqual(await validate(context, '  options: {}\n'), ['7:3 collector.options.url: is required']);
    assert.deepEqual(await validate(context, '  options:\n'), ['7:3 collector.options.url: is required']);
    assert.deepEqual(await validate(context, ''), ['5:1 collector.options.url: is required']);
  });

  it('counts a misspelt required option once', async (context) => {
    assert.deepEqual(await validate(context, '  options: {ulr: a}\n'), [
      "7:13 collector.options.ulr: unknown key 'ulr' (did you mean 'url'?)",
    ]);
  });

  it('reads unquoted variables as numbers and truth values where those are asked for', async (context) => {
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: the syntax of the file.
    const text = '  options:\n    url: ${N}\n    timeout: ${N}\n    verify: ${B}\n    code: "${N}"\n';
    const wrong = '  options: {url: a, timeout: "${N}"}\n';
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: the syntax of the file.
    const environment = { N: '42', B: 'false' };
    const value = await validate(context, text, { environment });
    assert.deepEqual(value, { url: '42', timeout: 42, verify: false, filters: {}, scopes: [], code: '42' });
    assert.equal(((await validate(context, wrong, { environment })) as string[]).length, 1);
  });

  it('reads secrets from files for options that the plugin calls secret or does not know with _file', async (context) => {
    const pins = z.strictObject({ url: z.string(), pin: z.string(), ca_file: z.string().optional() });
    const options = '  options: {url: a, pin_file: pin, ca_file: pin}\n';
    const expected = { url: 'a', pin: '0042', ca_file: 'pin' };
    assert.deepEqual(await validate(context, options, { schema: pins, secrets: ['pin'] }), expected);
    assert.deepEqual(await validate(context, options, { schema: pins }), expected);
    assert.deepEqual(await validate(context, '  options: {url: a, pin_file: none}\n', { schema: pins }), [
      '7:31 collector.options.pin_file: …/none does not exist (the first line of the file is the secret)',
    ]);
    assert.deepEqual(
      await validate(context, '  options: {url: a, pin: b, pin_file: pin}\n', { schema: pins }),
      ["7:29 collector.options.pin_file: 'pin' and 'pin_file' are both given (keep one of them)"],
    );
  });

  it('shows no secret in a message', async (context) => {
    const secretive = z.strictObject({
      password: z.string(),
      pin: z.string().max(2),
      level: z.enum(['hunter']),
    });
    const problems = await validate(context, '  options: {password: 1234567, pin: 7654321, level: x}\n', {
      schema: secretive,
      secrets: ['pin'],
    });
    assert.deepEqual(problems, [
      '7:23 collector.options.password: must be text',
      '7:37 collector.options.pin: must be text',
      "7:53 collector.options.level: must be hunter, got 'x'",
    ]);
  });

  it('works with schemas of other libraries, and when they break', async (context) => {
    const foreign = (issues: readonly object[]): Schema => ({
      '~standard': { version: 1, vendor: 'other', validate: async () => ({ issues: issues as never }) },
    });
    assert.deepEqual(
      await validate(context, '  options: {a: [1, {b: 2}]}\n', {
        schema: foreign([
          { message: 'is odd', path: [{ key: 'a' }, 1, { key: 'b' }] },
          { message: 'is wrong altogether' },
        ]),
      }),
      [
        "7:24 collector.options.a[1].b: is odd, got '2'",
        '7:3 collector.options: is wrong altogether, got a mapping',
      ],
    );
    const broken: Schema = {
      '~standard': {
        version: 1,
        vendor: 'other',
        validate: () => {
          throw new TypeError('oops');
        },
      },
    };
    assert.deepEqual(await validate(context, '  options: {}\n', { schema: broken }), [
      "7:3 collector.options: the plugin's check of its options failed: oops (report it to its author)",
    ]);
  });

  it('takes options that come from code', async () => {
    const result = await validateOptions(
      schema,
      optionsFromValue({ url: 'a', timeout: 'x' }, 'test options'),
    );
    assert.deepEqual(
      result.problems?.map((problem) => [problem.file, brief(problem)]),
      [['test options', "1:22 timeout: must be a number, got 'x'"]],
    );
  });
});
