import { humanSeconds } from '../config/human-text.js';
import type { Services } from '../daemon/composition-root.js';
import { type Instant } from '../plugin-api/index.js';
import { isoTime } from '../scopes/iso-time.js';
import { hostOfLeases, isProcess, processOf } from '../scopes/lease-owner.js';
import { type PendingTask, type ReprocessTasks } from '../scopes/reprocess-tasks.js';
import type { ScopeState } from '../scopes/scope-states.js';
import type { Examination, Say } from './examination.js';

/** Whether a process of this machine is there. */
export type IsAlive = (pid: number) => boolean;

export interface ProcessorsParts {
  readonly services: Services | undefined;
  /** As the scopes were when the examination began: what moved since then was moved by a living processor. */
  readonly before: readonly ScopeState[] | undefined;
  readonly due: (state: ScopeState) => boolean;
  readonly isAlive?: IsAlive | undefined;
}

/** Who holds leases, and whether anybody works. */
export async function lookAtProcessors(examination: Examination, parts: ProcessorsParts): Promise<void> {
  const needs = { services: parts.services, scopes: parts.before };
  await examination.look({ area: 'processors', what: 'the leases', needs }, async (got, say) => {
    const after = await got.services.states.list();
    const owners = ownersOf(after);
    for (const [owner, count] of owners) sayOwner(owner, count, parts.isAlive ?? isProcess, say);
    if (owners.size > 0) return;
    if (hasMoved(got.scopes, after)) {
      say.ok('processor-at-work', 'a processor is at work: scopes moved on during this examination');
      return;
    }
    if (!after.some(parts.due)) {
      say.ok('no-work', 'no processor holds a scope, and none is due');
      return;
    }
    say.warn(
      'no-processor',
      'scopes are due, and no processor has touched any of them during this examination',
      {
        fix: "Start one: 'ratecat processor', or 'ratecat up'; for a service, see 'systemctl status ratecat'.",
      },
    );
  });
}

function ownersOf(states: readonly ScopeState[]): ReadonlyMap<string, number> {
  const owners = new Map<string, number>();
  for (const { owner } of states) if (owner !== undefined) owners.set(owner, (owners.get(owner) ?? 0) + 1);
  return owners;
}

function sayOwner(owner: string, count: number, alive: IsAlive, say: Say): void {
  const scopes = `${count} scope${count === 1 ? '' : 's'}`;
  const { host, pid } = processOf(owner) ?? {};
  if (host !== hostOfLeases() || pid === undefined) {
    say.ok('processor-elsewhere', `${owner} holds ${scopes}`);
    return;
  }
  if (alive(pid)) {
    say.ok('processor-alive', `process ${pid} of this machine holds ${scopes}`);
    return;
  }
  say.warn(
    'processor-dead',
    `${scopes} held by process ${pid} of this machine, which is not there any more`,
    {
      fix: 'A running processor takes them over, after processor.lease_seconds at the latest. If none runs, start one.',
    },
  );
}

function hasMoved(before: readonly ScopeState[], after: readonly ScopeState[]): boolean {
  const known = new Map(before.map((state) => [state.row, state]));
  return after.some((state) => {
    const old = known.get(state.row);
    return old === undefined || old.heartbeat !== state.heartbeat || old.fence !== state.fence;
  });
}

/** Reprocessing that is ordered and not finished. */
export async function lookAtReprocessing(
  examination: Examination,
  {
    tasks,
    known,
    now,
  }: {
    readonly tasks: Pick<ReprocessTasks, 'unfinished'> | undefined;
    readonly known: readonly ScopeState[] | undefined;
    readonly now: Instant;
  },
): Promise<void> {
  const needs = { services: tasks, scopes: known };
  await examination.look({ area: 'reprocessing', what: 'the tasks', needs }, async (got, say) => {
    const open = await (got.services as Pick<ReprocessTasks, 'unfinished'>).unfinished();
    if (open.length === 0) {
      say.ok('no-reprocessing', 'no reprocessing is waiting');
      return;
    }
    const states = new Map(got.scopes.map((state) => [state.row, state]));
    for (const task of open as readonly PendingTask[]) sayTask(task, states.get(task.row), now, say);
  });
}

function sayTask(task: PendingTask, state: ScopeState | undefined, now: Instant, say: Say): void {
  const where = `scope '${task.scope.id}' of ${task.source}`;
  const what = `${isoTime(task.begin)} to ${isoTime(task.end)}`;
  if (task.failures > 0) {
    say.warn(
      'reprocessing-fails',
      `reprocessing of ${what} failed ${task.failures} times: ${task.failure ?? 'no reason was noted'}`,
      {
        where,
        fix: 'Mend what the reason names. It is tried again by itself.',
      },
    );
  } else if (state !== undefined && !state.active) {
    say.warn('reprocessing-waits', `reprocessing of ${what} waits, because the scope is switched off`, {
      where,
      fix: 'Switch the scope on again.',
    });
  } else {
    const done = task.current === undefined ? 'not begun' : `done up to ${isoTime(task.current)}`;
    say.ok(
      'reprocessing',
      `reprocessing of ${what}: ${done}, ordered ${humanSeconds(now - task.createdAt)} ago`,
      { where },
    );
  }
}
