import { basename, dirname, join, resolve } from 'node:path';
import type { ImportedConfig } from './import-config.js';
import { renderConfig, secretNames } from './render-config.js';

/** A file of the result. */
export interface PlannedFile {
  readonly path: string;
  readonly text: string;
  readonly holdsSecret: boolean;
}

/**
 * The result as files: the configuration at `output`, its metrics file beside it, and each secret in a file of its own in a
 * folder beside it. The configuration comes last.
 */
export function asFiles(imported: ImportedConfig, output: string): readonly PlannedFile[] {
  const stem = basename(output).replace(/\.ya?ml$/, '');
  const metrics = `${stem}.metrics.yml`;
  const folder = `${stem}.secrets`;
  const root = withMetrics(imported, `./${metrics}`);
  const names = secretNames(root, fileName);
  const config = renderConfig(root, (secret) => ({
    suffix: '_file',
    text: `./${folder}/${names.get(secret.reveal())}`,
  }));
  const beside = (...path: readonly string[]) => join(dirname(output), ...path);
  return [
    ...[...names].map(([value, name]) => ({
      path: beside(folder, name),
      text: `${value}\n`,
      holdsSecret: true,
    })),
    { path: beside(metrics), text: imported.metrics.text, holdsSecret: false },
    { path: output, text: head(imported) + config, holdsSecret: false },
  ];
}

/** The configuration alone, for standard output: secrets are variables of the environment. */
export interface PrintedConfig {
  readonly text: string;
  /** Names of the variables. */
  readonly variables: readonly string[];
}

export function asText(imported: ImportedConfig): PrintedConfig {
  const { source, isConverted } = imported.metrics;
  const root = withMetrics(
    imported,
    isConverted || source === undefined ? './ratecat.metrics.yml' : resolve(source),
  );
  const names = secretNames(root, variableName);
  const config = renderConfig(root, (secret) => ({ suffix: '', text: `\${${names.get(secret.reveal())}}` }));
  return { text: head(imported) + config, variables: [...names.values()] };
}

function withMetrics({ root }: ImportedConfig, metrics: string): ImportedConfig['root'] {
  const collect = typeof root.collect === 'object' ? root.collect : {};
  return { ...root, collect: { ...collect, metrics } };
}

function head({ files }: ImportedConfig): string {
  const names = files.map((file) => basename(file).replace(/[\p{Cc}\p{Cf}]/gu, '?')).join(', ');
  return `# Made by \`ratecat config import\` from ${names}. Keys that are left out have their defaults.\n`;
}

function fileName(name: string): string {
  return name.replace(/[^\w.-]/g, '_').replace(/^\.+/, '_');
}

function variableName(name: string): string {
  return `RATECAT_${name.replace(/[^A-Za-z0-9]/g, '_').toUpperCase()}`;
}
