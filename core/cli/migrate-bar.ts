import { Presets, SingleBar } from 'cli-progress';
import type { MigrationProgress } from '../migrating/from-cloudkitty.js';

export const silentProgress: MigrationProgress = {
  begin: () => undefined,
  advance: () => undefined,
  end: () => undefined,
};

/** A bar on a terminal for each stretch of the work. */
export function migrationBar(stream: NodeJS.WriteStream): MigrationProgress {
  let bar: SingleBar | undefined;
  return {
    begin(what: string, total: number, done: number) {
      bar = new SingleBar(
        {
          stream,
          format: `${what} {bar} {percentage}% | {value}/{total} ${what === 'reading' ? 'bytes' : 'points'} | {duration_formatted}, {eta_formatted} to go`,
          fps: 8,
          clearOnComplete: true,
          hideCursor: true,
          etaBuffer: 200,
          // Ctrl-C ends the command at once; what is stored is whole.
          gracefulExit: true,
        },
        Presets.shades_classic,
      );
      bar.start(total, done);
    },
    advance: (amount) => bar?.increment(amount),
    end() {
      bar?.stop();
      bar = undefined;
    },
  };
}
