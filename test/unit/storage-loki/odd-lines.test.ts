import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hour } from '../../../core/testkit/samples.js';
import { ALPHA, EVERYTHING, isCode, never, read, type Setup, using } from './opened-storage.js';

const SETUP: Setup = { options: { reference: { source: 'openstack' } } };
const TIME = BigInt(hour(1)) * 1_000_000_000n;

function line(rest: Readonly<Record<string, unknown>>): string {
  const isoText = (index: number) => new Date(hour(index) * 1000).toISOString().replace('.000Z', '+00:00');
  const times = { start: isoText(0), end: isoText(1) };
  const common = { type: 'cpu', unit: 'u', description: null, qty: 1, price: 0.1, groupby: {}, metadata: {} };
  return JSON.stringify({ ...times, ...common, ...rest });
}

describe('lines of the reference that are not as usual', () => {
  it('lines of older releases of CloudKitty have no label of the project, and are in reports of their scope', () =>
    using(async (storage, server) => {
      server.fill({ service: 'cloudkitty' }, [
        { time: TIME, line: line({ groupby: { project_id: 'alpha' } }) },
      ]);
      assert.equal(await storage.countPoints({ ...EVERYTHING, visible: ALPHA }, never), 1);
      await storage.deletePeriods({ ...EVERYTHING, visible: ALPHA }, {}, never);
      assert.equal(await storage.countPoints(EVERYTHING, never), 0);
    }, SETUP));

  it('a project that is metadata names the scope for everybody or for nobody', () =>
    using(async (storage, server) => {
      server.fill({ service: 'cloudkitty' }, [
        { time: TIME, line: line({ metadata: { project_id: 'alpha' } }) },
      ]);
      const all = await storage.countPoints(EVERYTHING, never);
      assert.equal(await storage.countPoints({ ...EVERYTHING, visible: ALPHA }, never), all);
    }, SETUP));

  it('a stream without a project beside many with one fits although all together do not', () =>
    using(
      async (storage, server) => {
        for (let index = 0; index < 12; index++) {
          const project = `p${index}`;
          const entry = { time: TIME, line: line({ groupby: { project_id: project } }) };
          server.fill({ service: 'cloudkitty', project_id: project }, [entry]);
        }
        assert.equal(await storage.countPoints(EVERYTHING, never), 12);
        server.fill({ service: 'cloudkitty' }, [{ time: TIME, line: line({}) }]);
        assert.equal(await storage.countPoints(EVERYTHING, never), 13);
      },
      { options: { reference: { source: 'openstack' }, max_entries: 10 } },
    ));

  it('lines of one time that make too long an answer are read stream by stream', () =>
    using(
      async (storage, server) => {
        for (let index = 0; index < 40; index++) {
          const project = `p${index}`;
          const text = line({ groupby: { project_id: project }, metadata: { text: 'x'.repeat(20_000) } });
          server.fill({ service: 'cloudkitty', project_id: project }, [{ time: TIME, line: text }]);
        }
        assert.equal(await storage.countPoints(EVERYTHING, never), 40);
      },
      { options: { reference: { source: 'openstack' }, max_response_mib: 0.25 } },
    ));

  it('lines that expire between two requests are no crash', () =>
    using(
      async (storage, server) => {
        const entries = Array.from({ length: 10 }, (_, index) => ({
          time: TIME,
          line: line({ groupby: { id: `${index}`, project_id: 'alpha' } }),
        }));
        server.fill({ service: 'cloudkitty' }, entries);
        let queries = 0;
        server.intercept = ({ path }) => {
          if (path === 'query_range' && ++queries === 2) server.tenant().drop(() => true);
          return undefined;
        };
        assert.deepEqual(await read(storage), []);
      },
      { options: { reference: { source: 'openstack' }, max_entries: 10 } },
    ));

  it('amounts that are no numbers are damage, not nothing', () =>
    using(async (storage, server) => {
      const bad = { qty: 'much', price: null, groupby: { project_id: 'alpha' } };
      server.fill({ service: 'cloudkitty', project_id: 'alpha' }, [{ time: TIME, line: line(bad) }]);
      await assert.rejects(read(storage), isCode('RATECAT_LOKI_DAMAGED'));
    }, SETUP));

  it('a period that ends before it begins is damage', () =>
    using(async (storage, server) => {
      const bad = { start: '2026-01-01T02:00:00+00:00', groupby: { project_id: 'alpha' } };
      server.fill({ service: 'cloudkitty', project_id: 'alpha' }, [{ time: TIME, line: line(bad) }]);
      await assert.rejects(read(storage), isCode('RATECAT_LOKI_DAMAGED'));
    }, SETUP));
});
