import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  ConfigError,
  definePlugin,
  describeError,
  type PluginContext,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import { type HostMachine, hostMachine, hostMachineOptions, hostScopes } from '../shared/host-machine.js';
import { HostCollector, type HostMetricOptions } from './host/host-collector.js';
import { Journal } from './host/journal.js';
import { MachineReader } from './host/machine-reader.js';
import { Sampler } from './host/sampler.js';

const LONGEST_INTERVAL_SECONDS = 5;
const READINGS_PER_PERIOD = 5;
/** A daemon that is busy for this long is not away. */
const SHORTEST_ABSENCE_MS = 15_000;
/** Folder of readings in this form; a release that reads more from the machine starts another one. */
const JOURNAL_FORM = 'v1';

const options = z
  .strictObject({
    ...hostMachineOptions,
    /** Seconds between readings; at least five readings are taken in each period. */
    interval_seconds: z.number().min(0.1).max(3600).default(LONGEST_INTERVAL_SECONDS),
    /** Days that readings are kept: how long the daemon can fall behind without a gap. */
    keep_days: z.number().min(0.05).max(3660).default(7),
  })
  .prefault({});

/** Real usage of the machine that Ratecat runs on: processor, memory, file systems, disks, network. */
export default definePlugin<'collector', z.infer<typeof options>>({
  kind: 'collector',
  name: 'host',
  options,
  create(given, context) {
    const machine = hostMachine(given);
    const journal = new Journal(journalFolder(machine, context));
    const period = context.pipeline?.periodSeconds ?? 3600;
    const intervalMs = Math.max(
      100,
      Math.floor(Math.min(given.interval_seconds, period / READINGS_PER_PERIOD) * 1000),
    );
    const reader = new MachineReader(machine, () => context.clock.now());
    const sampler = new Sampler(reader, journal, context.clock, context.logger, {
      intervalMs,
      keepDays: given.keep_days,
    });
    return new HostCollector({
      machine,
      journal,
      sampler,
      logger: context.logger,
      longestStretchMs: Math.max(3 * intervalMs, SHORTEST_ABSENCE_MS),
      start: () => start(machine, journal, sampler, context),
    });
  },
});

export type { HostMetricOptions };

/** Readings of other scopes or under another name are another journal: their counters must not be compared. */
function journalFolder(machine: HostMachine, context: PluginContext): string {
  const pipeline = encodeURIComponent(context.pipeline?.name ?? 'default');
  const name = encodeURIComponent(`${machine.scopes}-${machine.host}`);
  return join(context.dataFolder, 'host', JOURNAL_FORM, pipeline, name);
}

async function start(
  machine: HostMachine,
  journal: Journal,
  sampler: Sampler,
  context: PluginContext,
): Promise<void> {
  try {
    await access(join(machine.root, 'proc/stat'));
  } catch (error) {
    throw new ConfigError(
      'RATECAT_HOST_UNSUPPORTED',
      `The host collector reads Linux's /proc, and ${join(machine.root, 'proc/stat')} cannot be read. Check the option 'root', or use another collector.`,
      { cause: error },
    );
  }
  await hostScopes(machine);
  try {
    await journal.open();
  } catch (error) {
    throw folderUnusable(context.dataFolder, error);
  }
  await sampler.start();
}

function folderUnusable(folder: string, error: unknown): Error {
  const message = `The host collector cannot keep its readings in '${folder}': ${describeError(error)}. The data folder must be writable for the daemon's user and have room.`;
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new UnavailableError('RATECAT_HOST_FOLDER_UNUSABLE', message, { cause: error })
    : new ConfigError('RATECAT_HOST_FOLDER_UNUSABLE', message, { cause: error });
}
