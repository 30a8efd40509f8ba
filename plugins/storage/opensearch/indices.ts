import type { SearchClient } from './client.js';
import { unfitIndex } from './failures.js';
import { type Flavour, OWN_FIELD, OWN_PROPERTIES, PERIOD_MAPPINGS, pointMappings } from './layout.js';

export interface IndexNames {
  readonly points: string;
  readonly periods: string;
}

interface Mapping {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Mapping>>;
}

/** Makes the two indices, or checks and completes those that are there. */
export async function prepareIndices(
  client: SearchClient,
  { points, periods }: IndexNames,
  flavour: Flavour,
  signal: AbortSignal,
): Promise<void> {
  const mapping = await madeMapping(client, points, pointMappings(flavour), signal);
  if (mapping.properties?.[OWN_FIELD]?.properties === undefined)
    await client.addMapping(points, OWN_PROPERTIES, signal);
  else requireTypes(points, mapping.properties[OWN_FIELD], OWN_PROPERTIES[OWN_FIELD]);
  requireTypes(periods, await madeMapping(client, periods, PERIOD_MAPPINGS, signal), PERIOD_MAPPINGS);
}

async function madeMapping(
  client: SearchClient,
  index: string,
  mappings: unknown,
  signal: AbortSignal,
): Promise<Mapping> {
  const found = await client.mappings(index, signal);
  if (found !== undefined) return onlyMapping(index, found);
  await client.createIndex(index, mappings, signal);
  return onlyMapping(index, (await client.mappings(index, signal)) ?? {});
}

function onlyMapping(name: string, found: Readonly<Record<string, unknown>>): Mapping {
  const indices = Object.keys(found);
  const [index] = indices;
  if (index === undefined || indices.length > 1)
    throw unfitIndex(
      name,
      `the name stands for ${indices.length} indices (${indices.slice(0, 5).join(', ')}).`,
    );
  if (index.startsWith('.ds-'))
    throw unfitIndex(
      name,
      'it is a data stream, whose documents cannot be replaced. Name another index; reports include what is in a data stream with reference.index_name.',
    );
  const { mappings = {} } = found[index] as { readonly mappings?: Readonly<Record<string, unknown>> };
  if (mappings.properties === undefined && Object.keys(mappings).includes('_doc'))
    throw unfitIndex(name, 'the server is older than Elasticsearch 7.');
  return mappings as Mapping;
}

function requireTypes(index: string, mapping: Mapping, wanted: Mapping): void {
  for (const [name, { type }] of Object.entries(wanted.properties ?? {})) {
    const found = mapping.properties?.[name]?.type;
    if (found !== type)
      throw unfitIndex(index, `its field '${name}' has the type ${found ?? 'none'} instead of ${type}.`);
  }
}
