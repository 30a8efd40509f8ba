import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rulesVisibleTo } from '../../../plugins/rating/hashmap/visible-rules.js';

describe('the rules that one tenant may see', () => {
  it('keep a service or a field that is called tenant', () => {
    const document = { services: { tenant: { fields: { tenant: { mappings: [{ cost: '1' }] } } } } };
    assert.deepEqual(rulesVisibleTo(document, undefined), document);
  });

  it('are none when all of them are for others', () => {
    const document = { services: [{ name: '1', mappings: [{ cost: '1', tenant: 'x' }] }] };
    assert.deepEqual(rulesVisibleTo(document, 'y'), {});
    assert.deepEqual(rulesVisibleTo(document, undefined), {});
    assert.deepEqual(rulesVisibleTo(document, 'x'), document);
  });

  it('do not tell the names of groups', () => {
    assert.deepEqual(rulesVisibleTo({ groups: ['promised-to-beta'], services: {} }, 'x'), {});
  });
});
