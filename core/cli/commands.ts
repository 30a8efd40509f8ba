import type { CommandModule } from './cli.js';

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<CommandModule>;
}

/** Every command, in the order of the help. The modules are loaded on demand, so that a small command starts fast. */
export const COMMANDS: readonly CommandEntry[] = [
  { name: 'up', summary: 'prepare the database and rate, in one command', load: () => import('./up.js') },
  {
    name: 'processor',
    summary: 'rate, on a prepared database',
    load: () => import('./processor.js'),
  },
  { name: 'api', summary: 'serve the HTTP API, on a prepared database', load: () => import('./api.js') },
  {
    name: 'status',
    summary: 'how far each scope is rated, and what is wrong',
    load: () => import('./status.js'),
  },
  {
    name: 'doctor',
    summary: 'find what is wrong, and what to do about it',
    load: () => import('./doctor.js'),
  },
  { name: 'summary', summary: 'what usage costs, in sums', load: () => import('./summary.js') },
  { name: 'dataframes', summary: 'every rated point', load: () => import('./dataframes.js') },
  { name: 'explain', summary: 'how stored prices come about', load: () => import('./explain.js') },
  {
    name: 'rate',
    summary: 'try a price list on a file of usage, without a database',
    load: () => import('./rate.js'),
  },
  { name: 'rules', summary: 'import, export and list prices', load: () => import('./rules.js') },
  { name: 'modules', summary: 'switch rating modules and order them', load: () => import('./modules.js') },
  { name: 'scopes', summary: 'rate a scope anew, or erase it', load: () => import('./scopes.js') },
  {
    name: 'retention',
    summary: 'drop old points and keep their sums',
    load: () => import('./retention.js'),
  },
  {
    name: 'config',
    summary: "check the configuration, or take over CloudKitty's",
    load: () => import('./config.js'),
  },
  {
    name: 'migrate',
    summary: "take over CloudKitty's data",
    load: () => import('./migrate.js'),
  },
  {
    name: 'shadow',
    summary: 'compare with a CloudKitty that runs beside',
    load: () => import('./shadow.js'),
  },
  { name: 'plugins', summary: 'list plugins', load: () => import('./plugins.js') },
  {
    name: 'keystone',
    summary: 'make user, roles, service and endpoints in Keystone',
    load: () => import('./keystone.js'),
  },
  {
    name: 'dbsync',
    summary: 'create the database, create or upgrade the tables',
    load: () => import('./dbsync.js'),
  },
  {
    name: 'backup',
    summary: 'copy the SQLite database while it is in use',
    load: () => import('./backup.js'),
  },
  {
    name: 'storage-init',
    summary: 'create the tables (same as dbsync upgrade)',
    load: () => import('./storage-init.js'),
  },
];
