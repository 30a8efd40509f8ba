import { Writable } from 'node:stream';
import { EXIT } from '../../daemon/exit-codes.js';
import { main, type Surroundings } from '../main.js';

/** As oslo.upgradecheck ends: the worst of all results. */
const RESULTS = ['Success', 'Warning', 'Failure'] as const;

interface Check {
  readonly name: string;
  /** Of RESULTS, and the exit code that stands for it. */
  readonly result: 0 | 1 | 2;
  readonly details: string;
}

/** Whether Ratecat can start with this configuration and database. Changes nothing. */
export async function upgradeCheck(file: string, world: Surroundings): Promise<number> {
  const configuration = await checked('Configuration', ['config', 'check'], file, world);
  const checks = [configuration];
  if (configuration.result === 0) checks.push(await checked('Database', ['dbsync', 'status'], file, world));
  world.stdout.write(table(checks));
  return Math.max(...checks.map(({ result }) => result));
}

async function checked(
  name: string,
  command: readonly string[],
  file: string,
  world: Surroundings,
): Promise<Check> {
  const said = new Collected();
  const code = await main([...command, '--config', file], { ...world, stdout: said, stderr: said });
  const result = code === EXIT.ok ? 0 : code === EXIT.no ? 1 : 2;
  return { name, result, details: result === 0 ? 'None' : said.text.trim() };
}

class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** The table that programs which read `upgrade check` know. */
function table(checks: readonly Check[]): string {
  const blocks = checks.map(({ name, result, details }) => [
    `Check: ${name}`,
    `Result: ${RESULTS[result]}`,
    ...`Details: ${details}`.split('\n'),
  ]);
  const width = Math.max(...blocks.flat().map((line) => line.length), 'Upgrade Check Results'.length);
  const rule = `+${'-'.repeat(width + 2)}+`;
  const rows = [['Upgrade Check Results'], ...blocks].map((lines) =>
    lines.map((line) => `| ${line.padEnd(width)} |`).join('\n'),
  );
  return `${rule}\n${rows.join(`\n${rule}\n`)}\n${rule}\n`;
}
