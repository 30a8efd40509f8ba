import { test } from 'node:test';
import { openDatabase } from '../../core/database/open-database.js';
import type { JsonValue, SqlTransaction } from '../../core/plugin-api/index.js';
import { fakeContext } from '../../core/testkit/fakes.js';
import { type DocumentSample, type TestDatabase, testRating } from '../../core/testkit/rating.js';
import hashmap from '../../plugins/rating/hashmap/index.js';
import { rulesToJson } from '../../plugins/rating/hashmap/rules.js';
import { documentOf } from '../unit/hashmap/vector-document.js';
import { frameOf, rulesOf, scopeOf, type VectorCase, vectorCases } from '../unit/hashmap/vectors.js';

const priced = vectorCases.filter((vector) => vector.expected.error === undefined);
/** Worked examples, and a cut through the random ones. */
const chosen = priced.filter((vector, index) => vector.id.startsWith('ex') || index % 20 === 0);

testRating({
  test,
  definition: hashmap,
  samples: chosen.map((vector) => ({
    name: vector.id,
    rules: rulesToJson(rulesOf(vector)),
    scope: scopeOf(vector),
    frame: frameOf(vector),
  })),
  openDatabase: openMemory,
  storeRules,
  documents: chosen.map(toDocumentSample),
});

async function openMemory(): Promise<TestDatabase> {
  const database = await openDatabase('sqlite::memory:');
  return { database, close: () => database.close() };
}

/** Through the document form: services, fields and groups grow with the rules. */
async function storeRules(tx: SqlTransaction, count: number): Promise<void> {
  const document: JsonValue = {
    services: Object.fromEntries(
      Array.from({ length: count }, (_, index) => [
        `metric-${count}-${index}`,
        {
          mappings: [{ cost: '0.5', group: `group-${index % 7}` }],
          thresholds: [{ level: '10', type: 'rate', cost: '0.9' }],
          fields: { flavor: { mappings: [{ value: `m1-${index}`, cost: `0.${index + 1}` }] } },
        },
      ]),
    ),
  };
  const module = hashmap.create({}, fakeContext());
  await module.rulesDocument!.write(document, tx, { mode: 'merge', now: 1_767_225_600, author: 'test' });
}

function toDocumentSample(vector: VectorCase): DocumentSample {
  return {
    name: vector.id,
    document: documentOf(vector),
    scope: scopeOf(vector),
    frame: frameOf(vector),
  };
}
