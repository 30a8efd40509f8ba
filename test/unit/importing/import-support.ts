import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type ConfigNode,
  type ConfigValue,
  ImportSession,
  Secret,
} from '../../../core/importing/import-session.js';
import { OsloConfig } from '../../../core/importing/oslo-config.js';
import { parseOslo } from '../../../core/importing/oslo-file.js';

export const FIXTURES = fileURLToPath(new URL('../../fixtures/cloudkitty-conf/', import.meta.url));
export const CURRENT_METRICS = join(FIXTURES, 'metrics/current.yml');

/** What imported files hold and no output may show. */
export const SECRETS = [
  'broker-secret',
  'database-secret',
  'keystone-secret',
  'memcache-secret',
  'prometheus-secret',
  'influx-secret',
  'credential-secret',
] as const;

export function sessionOf(text: string): ImportSession {
  return new ImportSession(OsloConfig.of(parseOslo(text, 'cloudkitty.conf')));
}

/** The new configuration as plain data; secrets as `secret:VALUE`. */
export function plain(node: ConfigNode): Record<string, unknown> {
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, plainValue(value)]));
}

function plainValue(value: ConfigValue): unknown {
  if (value instanceof Secret) return `secret:${value.reveal()}`;
  if (typeof value !== 'object' || Array.isArray(value)) return value;
  return plain(value as ConfigNode);
}
