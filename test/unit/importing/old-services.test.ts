import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_SERVICES, metricOfService } from '../../../core/importing/old-services.js';
import type { Metric } from '../../../core/plugin-api/index.js';
import {
  type CeilometerMetricOptions,
  planOf,
} from '../../../plugins/collectors/ceilometer/metric-options.js';

/** Told by Ceilometer itself, whatever the meter. */
const OF_EVERY_RESOURCE = ['user_id'];

describe('the services of old releases', () => {
  for (const service of [...DEFAULT_SERVICES, 'radosgw.usage']) {
    it(`as they are imported for Ceilometer: ${service} has just the attributes that the collector fills`, () => {
      const { name, definition } = metricOfService(
        service,
        {},
        { collector: 'ceilometer', periodSeconds: 3600 },
      )!;
      const { groupby, metadata = [] } = definition;
      const plan = planOf({ name, options: {} } as Metric<CeilometerMetricOptions>, false);
      const filled = new Set([plan.resourceKey, ...Object.keys(plan.attributes), ...OF_EVERY_RESOURCE]);
      if (plan.userMetadata !== undefined) filled.add(plan.userMetadata);
      assert.deepEqual([...groupby, ...metadata].sort(), [...filled].sort());
      assert.equal(groupby[0], plan.resourceKey);
    });
  }
});
