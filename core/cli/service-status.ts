import { humanSeconds } from '../config/human-text.js';
import type { PipelineWork } from '../daemon/life-signs.js';

/** The daemon in one line, as `systemctl status` shows it. */
export function workStatus(work: readonly PipelineWork[]): string {
  if (work.every(({ scopes }) => scopes === undefined)) return 'scopes are asked for';
  const sum = (count: (each: PipelineWork) => number) => work.reduce((total, each) => total + count(each), 0);
  const due = sum(({ duePeriods }) => duePeriods);
  const lag = Math.max(0, ...work.map(({ lagSeconds }) => lagSeconds));
  return [
    counted(
      sum(({ scopes }) => scopes ?? 0),
      'scope',
    ),
    due === 0 ? 'nothing due' : `${counted(due, 'period')} due, the oldest for ${humanSeconds(lag)}`,
    `${counted(
      sum(({ ratedPeriods }) => ratedPeriods),
      'period',
    )} rated since the start`,
  ].join('; ');
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
