import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataError } from '../../../core/plugin-api/index.js';
import { openApiServer } from '../../support/api-server.js';

const TOKENS = { admin: { projectId: 'admin-project', roles: ['admin', 'member', 'reader'] } };
const RANGE = 'begin=2025-01-01T00:00:00Z&end=2025-02-01T00:00:00Z';

describe('a range that the storage no longer keeps', () => {
  for (const target of [
    `/v1/report/total?${RANGE.replaceAll('Z', '')}`,
    `/v2/summary?${RANGE}`,
    `/v2/dataframes?${RANGE}`,
    `/ratecat/v1/summary?${RANGE}`,
  ])
    it(`is the caller's to change: ${target.replace(/\?.*/, '')}`, async () => {
      const api = await openApiServer({ tokens: TOKENS });
      try {
        const { storage } = api.services;
        const refuse = () => {
          throw new DataError('RATECAT_POINTS_DROPPED', 'Points are kept from 2026-01-01 on.');
        };
        Object.assign(storage, { total: refuse, readPeriods: refuse, countPoints: refuse });
        const answer = await api.app.inject({ url: target, headers: { 'x-auth-token': 'admin' } });
        assert.equal(answer.statusCode, 400, answer.body);
        assert.match(answer.body, /Points are kept from 2026-01-01 on\./);
      } finally {
        await api.close();
      }
    });
});
