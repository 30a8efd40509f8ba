import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig } from '../../../core/config/load-config.js';
import { brief, folderWith, MINIMAL, problemsOf } from '../config/config-fixtures.js';

const METRICS = 'metrics:\n  a: {unit: b}\n';

async function fileWith(context: Parameters<typeof folderWith>[0], section: string): Promise<string> {
  const folder = await folderWith(context, { 'metrics.yml': METRICS, 'ratecat.yml': `${section}${MINIMAL}` });
  return join(folder, 'ratecat.yml');
}

describe('the section retention', () => {
  it('is empty when it is not there: everything is kept', async (context) => {
    const { config } = await loadConfig(await fileWith(context, ''), {});
    assert.deepEqual(config.retention, { automatic: false, policies: [] });
  });

  it('gives months; what is not said is kept for ever', async (context) => {
    const section = `retention:
  automatic: true
  policies:
    - scopes: [vip]
    - {metrics: ['image.*'], points: 13 months, daily_sums: 3 years, monthly_sums: forever}
    - {points: 1 year}
`;
    const { config } = await loadConfig(await fileWith(context, section), {});
    const forever = Number.POSITIVE_INFINITY;
    const all = { scopes: undefined, metrics: undefined };
    assert.deepEqual(config.retention, {
      automatic: true,
      policies: [
        { ...all, scopes: ['vip'], points: forever, dailySums: forever, monthlySums: forever },
        { ...all, metrics: ['image.*'], points: 13, dailySums: 36, monthlySums: forever },
        { ...all, points: 12, dailySums: forever, monthlySums: forever },
      ],
    });
  });

  it('refuses what it does not understand with line and column', async (context) => {
    const section = `retention:
  automatik: true
  policies:
    - {points: 90 days}
    - {points: 0 months}
    - {points: 13}
    - {scopes: [], points: 1 month}
    - {points: 3 years, daily_sums: 2 years}
    - {daily_sums: forever, monthly_sums: 2 years}
`;
    const file = await fileWith(context, section);
    const problems = (await problemsOf(() => loadConfig(file, {}))).map(brief);
    const months = "must be whole months or years such as '13 months' or '2 years', or forever";
    for (const [at, what] of [
      ['2:3 retention.automatik', 'unknown'],
      ['4:16 retention.policies[0].points', months],
      ['5:16 retention.policies[1].points', months],
      ['6:16 retention.policies[2].points', "write '13 months'"],
      ['7:8 retention.policies[3].scopes', 'at least one'],
      ['8:37 retention.policies[4].daily_sums', 'at least as long as points'],
      ['9:43 retention.policies[5].monthly_sums', 'at least as long as daily_sums'],
    ] as const)
      assert.ok(
        problems.some((problem) => problem.startsWith(at) && problem.includes(what)),
        `${at} ${what}\n${problems.join('\n')}`,
      );
  });
});
