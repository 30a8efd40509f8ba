import { readdirSync, readFileSync } from 'node:fs';

/** The living processes of a session (see setsid(2)). Zombies do not count: in a container nobody may ever reap them. */
export function sessionMembers(sessionId: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => sessionOf(pid) === sessionId);
}

/** Sends the signal to each living process of the session. */
export function signalSession(sessionId: number, signal: NodeJS.Signals): void {
  for (const pid of sessionMembers(sessionId)) signalProcess(pid, signal);
}

export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function sessionOf(pid: number): number | undefined {
  const stat = readStat(pid);
  // "pid (name) state parent group session …": the name may itself hold blanks and parentheses.
  const [state, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return isDead(pid, state) ? undefined : Number(session);
}

/** A killed process is a zombie from its first thread's end on; until the last thread ends it still holds its sockets. */
function isDead(pid: number, state: string | undefined): boolean {
  return state === 'X' || (state === 'Z' && threadCount(pid) <= 1);
}

function threadCount(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}

function readStat(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return ''; // gone since the folder was listed
  }
}
