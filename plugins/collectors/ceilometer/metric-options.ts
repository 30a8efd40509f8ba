import { z } from 'zod';
import type { CollectRequest, Metric } from '../../../core/plugin-api/index.js';

/** How the samples of one resource become its quantity. */
const QUANTITIES = ['presence', 'max', 'min', 'avg', 'sum', 'count', 'increase'] as const;
export type Quantity = (typeof QUANTITIES)[number];

const name = z.string().min(1, 'must not be empty');
const fields = z.array(name).min(1, 'needs at least one field');

/** `extra_args` of a metric. What is left out follows from the meter, see `MeterPlan`. */
export const ceilometerMetricOptions = z.strictObject({
  quantity: z.enum(QUANTITIES, { error: `must be one of ${QUANTITIES.join(', ')}` }).optional(),
  /** Attribute that holds the id of the resource. */
  resource_key: name.optional(),
  /** Attribute: fields of the resource's metadata, of which the first that exists counts. */
  attributes: z.record(name, fields).optional(),
});

export type CeilometerMetricOptions = z.output<typeof ceilometerMetricOptions>;
export type CeilometerRequest = CollectRequest<CeilometerMetricOptions>;

type AttributeFields = Readonly<Record<string, readonly string[]>>;

/** All that decides how a meter is read. */
export interface MeterPlan {
  readonly quantity: Quantity;
  readonly resourceKey: string;
  readonly attributes: AttributeFields;
  /** Attribute that holds all user metadata as one map. */
  readonly userMetadata: string | undefined;
}

interface KnownMeter {
  readonly quantity: Quantity;
  /** The increase of a cumulative counter, where the reference takes its greatest value. */
  readonly counter?: boolean;
  readonly resourceKey?: string;
  /** The reference takes this attribute from metadata, which not every resource has; the resource's id is the same. */
  readonly betterResourceKey?: string;
  readonly attributes: AttributeFields;
  readonly userMetadata?: string;
}

const sameName = (...names: readonly string[]): AttributeFields =>
  Object.fromEntries(names.map((field) => [field, [field]]));

const NETWORK_TAP: KnownMeter = {
  quantity: 'max',
  counter: true,
  resourceKey: 'interface_id',
  attributes: sameName('instance_host', 'mac', 'host', 'vnic_name', 'instance_id'),
};

/** The services of CloudKitty 5.0.0 and 7.0.0 by their meter. Source: collectors.md §5.3 and §5.4. */
const KNOWN_METERS: ReadonlyMap<string, KnownMeter> = new Map<string, KnownMeter>([
  [
    'cpu',
    {
      quantity: 'presence',
      resourceKey: 'instance_id',
      attributes: {
        ...sameName('vcpus'),
        name: ['display_name'],
        flavor: ['flavor.name', 'instance_type'],
        memory: ['memory_mb'],
        image_id: ['image.id', 'image_meta.base_image_ref'],
        availability_zone: ['availability_zone', 'OS-EXT-AZ.availability_zone'],
      },
      userMetadata: 'metadata',
    },
  ],
  [
    'image.size',
    {
      quantity: 'max',
      resourceKey: 'image_id',
      attributes: sameName(
        'container_format',
        'deleted',
        'disk_format',
        'is_public',
        'name',
        'protected',
        'size',
        'status',
      ),
    },
  ],
  [
    'volume.size',
    {
      quantity: 'max',
      betterResourceKey: 'volume_id',
      attributes: { ...sameName('volume_id', 'availability_zone', 'size'), name: ['display_name'] },
    },
  ],
  ['network.incoming.bytes', NETWORK_TAP],
  ['network.outgoing.bytes', NETWORK_TAP],
  [
    'ip.floating',
    {
      quantity: 'presence',
      resourceKey: 'floatingip_id',
      attributes: sameName(
        'status',
        'router_id',
        'floating_network_id',
        'fixed_ip_address',
        'floating_ip_address',
        'port_id',
      ),
    },
  ],
  ['radosgw.objects.size', { quantity: 'max', resourceKey: 'radosgw_id', attributes: {} }],
]);

const UNKNOWN_METER: KnownMeter = { quantity: 'max', attributes: {} };

/** Attribute with the id of the resource, whatever `resource_key` is. */
export const RESOURCE_ID = 'resource_id';

export function planOf(metric: Metric<CeilometerMetricOptions>, strict: boolean): MeterPlan {
  const { quantity, resource_key: resourceKey, attributes } = metric.options;
  const known = KNOWN_METERS.get(metric.name) ?? UNKNOWN_METER;
  const better = strict ? undefined : known.betterResourceKey;
  return {
    quantity: quantity ?? (known.counter === true && !strict ? 'increase' : known.quantity),
    resourceKey: resourceKey ?? better ?? known.resourceKey ?? RESOURCE_ID,
    attributes: { ...known.attributes, ...attributes },
    userMetadata: known.userMetadata,
  };
}
