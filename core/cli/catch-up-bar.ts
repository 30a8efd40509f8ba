import { Writable } from 'node:stream';
import { Presets, SingleBar } from 'cli-progress';
import type { BarDrawing } from '../daemon/progress.js';

/** A bar on a terminal. */
export function terminalBar(stream: NodeJS.WriteStream): BarDrawing {
  const bar = new SingleBar(
    {
      stream,
      format:
        'catching up {bar} {percentage}% | {value}/{total} periods | {duration_formatted}, {eta_formatted} to go',
      fps: 8,
      clearOnComplete: true,
      hideCursor: true,
      etaBuffer: 200,
      // Signals are the daemon's business.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  return {
    start: (total, done) => bar.start(total, done),
    update(total, done) {
      bar.setTotal(total);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}

/** Passes lines on; while `isDrawn`, each first takes the place of the bar, which is drawn again below it. */
export function aboveBar(stream: NodeJS.WriteStream, isDrawn: () => boolean): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _encoding, done) {
      const text = String(chunk);
      stream.write(isDrawn() ? `\r\x1b[K${text}` : text, () => done());
    },
  });
}
