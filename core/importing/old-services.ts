import { Decimal } from '../plugin-api/index.js';

/** A definition of a metrics file, as it is written. */
export interface WrittenMetric {
  readonly unit: string;
  readonly alt_name: string;
  readonly factor?: string;
  readonly offset?: string;
  readonly groupby: readonly string[];
  readonly metadata?: readonly string[];
  readonly mutate?: 'NUMBOOL';
  readonly extra_args?: Readonly<Record<string, string | number>>;
}

interface Service {
  /** Name in the data source. */
  readonly metric: string;
  readonly unit: string;
  readonly factor?: string;
  readonly groupby?: readonly string[];
  readonly metadata?: readonly string[];
  /** The service counts what exists; the measure only tells that it does. */
  readonly counts?: true;
}

interface GnocchiService extends Service {
  readonly resourceType: string;
  /** CloudKitty took the counter's maximum; its rate over the period is what was used. */
  readonly isTraffic?: true;
  readonly granularity?: number;
}

const TAP = ['instance_host', 'mac', 'host', 'vnic_name', 'instance_id'];

/**
 * What was measured for `[collect] services` until release 7, with the names that attributes had in rules. How a meter
 * counts is known to the collector. Source: collectors.md §5.3 and §5.4.
 */
const IN_CEILOMETER: Readonly<Record<string, Service>> = {
  compute: {
    metric: 'cpu',
    unit: 'instance',
    groupby: ['instance_id', 'user_id'],
    metadata: ['name', 'flavor', 'vcpus', 'memory', 'image_id', 'availability_zone', 'metadata'],
    counts: true,
  },
  image: {
    metric: 'image.size',
    unit: 'MB',
    factor: '1/1048576',
    groupby: ['image_id', 'user_id'],
    metadata: [
      'container_format',
      'deleted',
      'disk_format',
      'is_public',
      'name',
      'protected',
      'size',
      'status',
    ],
  },
  volume: {
    metric: 'volume.size',
    unit: 'GB',
    groupby: ['volume_id', 'user_id'],
    metadata: ['name', 'availability_zone', 'size'],
  },
  'network.bw.in': {
    metric: 'network.incoming.bytes',
    unit: 'MB',
    factor: '1/1000000',
    groupby: ['interface_id', 'user_id'],
    metadata: TAP,
  },
  'network.bw.out': {
    metric: 'network.outgoing.bytes',
    unit: 'MB',
    factor: '1/1000000',
    groupby: ['interface_id', 'user_id'],
    metadata: TAP,
  },
  'network.floating': {
    metric: 'ip.floating',
    unit: 'ip',
    groupby: ['floatingip_id', 'user_id'],
    metadata: [
      'status',
      'router_id',
      'floating_network_id',
      'fixed_ip_address',
      'floating_ip_address',
      'port_id',
    ],
    counts: true,
  },
  'radosgw.usage': {
    metric: 'radosgw.objects.size',
    unit: 'GiB',
    factor: '1/1073741824',
    groupby: ['radosgw_id', 'user_id'],
  },
};

/** The same in Gnocchi, with the names that attributes have there. Source: collectors.md §6 and metrics-conf.md §6. */
const IN_GNOCCHI: Readonly<Record<string, GnocchiService>> = {
  compute: {
    metric: 'cpu',
    unit: 'instance',
    resourceType: 'instance',
    metadata: ['flavor_name', 'flavor_id', 'vcpus'],
    counts: true,
    granularity: 300,
  },
  image: {
    metric: 'image.size',
    unit: 'MiB',
    factor: '1/1048576',
    resourceType: 'image',
    metadata: ['container_format', 'disk_format'],
    granularity: 300,
  },
  volume: {
    metric: 'volume.size',
    unit: 'GiB',
    resourceType: 'volume',
    metadata: ['volume_type'],
    granularity: 300,
  },
  'network.bw.in': {
    metric: 'network.incoming.bytes',
    unit: 'MB',
    factor: '1/1000000',
    resourceType: 'instance_network_interface',
    metadata: ['instance_id'],
    isTraffic: true,
  },
  'network.bw.out': {
    metric: 'network.outgoing.bytes',
    unit: 'MB',
    factor: '1/1000000',
    resourceType: 'instance_network_interface',
    metadata: ['instance_id'],
    isTraffic: true,
  },
  'network.floating': {
    metric: 'ip.floating',
    unit: 'ip',
    resourceType: 'network',
    metadata: ['state'],
    counts: true,
  },
  'radosgw.usage': {
    metric: 'radosgw.objects.size',
    unit: 'GiB',
    factor: '1/1073741824',
    resourceType: 'ceph_account',
  },
};

/** The six that CloudKitty collected without being told. */
export const DEFAULT_SERVICES = [
  'compute',
  'image',
  'volume',
  'network.bw.in',
  'network.bw.out',
  'network.floating',
] as const;

/** What a metrics file of release 7 says about a service. */
export interface ServiceDetails {
  readonly metric?: string | undefined;
  readonly counts?: boolean | undefined;
  readonly unit?: string | undefined;
  readonly factor?: string | undefined;
  readonly offset?: string | undefined;
  readonly resourceType?: string | undefined;
  readonly aggregation?: string | undefined;
}

export interface ServiceMetric {
  /** Name in the data source. */
  readonly name: string;
  readonly definition: WrittenMetric;
}

/** The metric behind a service under the service's name, so that rules find it; undefined for one that says too little. */
export function metricOfService(
  service: string,
  details: ServiceDetails,
  facts: { readonly collector: string; readonly periodSeconds: number },
): ServiceMetric | undefined {
  return facts.collector === 'ceilometer'
    ? inCeilometer(service, details)
    : inGnocchi(service, details, facts.periodSeconds);
}

function inCeilometer(service: string, details: ServiceDetails): ServiceMetric | undefined {
  const known = Object.hasOwn(IN_CEILOMETER, service) ? IN_CEILOMETER[service]! : undefined;
  // Where a service counts what exists, units alone do not name the meter that tells so.
  const name = known?.counts ? known.metric : (details.metric ?? known?.metric);
  const unit = details.unit ?? known?.unit;
  if (name === undefined || unit === undefined) return undefined;
  const groupby = known?.groupby ?? ['resource_id', 'user_id'];
  return {
    name,
    definition: { unit, alt_name: service, ...conversion(details, known), groupby, ...metadataOf(known) },
  };
}

function inGnocchi(
  service: string,
  details: ServiceDetails,
  periodSeconds: number,
): ServiceMetric | undefined {
  const known = Object.hasOwn(IN_GNOCCHI, service) ? IN_GNOCCHI[service]! : undefined;
  const metric = details.metric ?? known?.metric;
  const resourceType = details.resourceType ?? known?.resourceType;
  const unit = details.unit ?? known?.unit;
  if (metric === undefined || resourceType === undefined || unit === undefined) return undefined;
  const counts = details.counts ?? known?.counts === true;
  const isTraffic = known?.isTraffic === true && metric.endsWith('.bytes');
  const converted = counts ? {} : conversion(details, known);
  const { factor } = converted;
  return {
    name: isTraffic ? `${metric}.rate` : metric,
    definition: {
      unit,
      alt_name: service,
      ...converted,
      ...(isTraffic ? { factor: times(factor ?? '1', periodSeconds) } : {}),
      groupby: ['id', 'project_id', 'user_id'],
      ...metadataOf(known),
      ...(counts ? { mutate: 'NUMBOOL' as const } : {}),
      extra_args: {
        resource_type: resourceType,
        aggregation_method: counts || isTraffic ? 'mean' : (details.aggregation ?? 'max'),
        ...(known?.granularity === undefined ? {} : { force_granularity: known.granularity }),
      },
    },
  };
}

function conversion(
  details: ServiceDetails,
  known: Service | undefined,
): { readonly factor?: string; readonly offset?: string } {
  const factor = details.factor ?? known?.factor;
  return {
    ...(factor === undefined ? {} : { factor }),
    ...(details.offset === undefined ? {} : { offset: details.offset }),
  };
}

function metadataOf(known: Service | undefined): { readonly metadata?: readonly string[] } {
  return known?.metadata === undefined ? {} : { metadata: known.metadata };
}

/** The rate is per second, the quantity per period. */
function times(factor: string, seconds: number): string {
  const [above = '', below] = factor.trim().split('/');
  const product = Decimal.parse(above)
    .times(Decimal.parse(String(seconds)))
    .toString();
  return below === undefined ? product : `${product}/${below}`;
}
