/** A process that pushes one point after the other: `url scopes prefix count [keyed]`. Tells what is done, a line each. */

import { billingCalendar } from '../../../core/daemon/billing-calendar.js';
import { systemClock } from '../../../core/daemon/system-clock.js';
import { openDatabase } from '../../../core/database/open-database.js';
import { idempotentCall } from '../../../core/scopes/idempotency-keys.js';
import { PushedFrames } from '../../../core/scopes/pushed-frames.js';
import { SqlStorage } from '../../../plugins/storage/sql/sql-storage.js';
import { pushedPoints } from './pushed-points.js';

const [url, scopes, prefix, count, keyed] = process.argv.slice(2);
const database = await openDatabase(url!);
const storage = new SqlStorage(database, billingCalendar('UTC'));
const pushed = new PushedFrames(database, storage, systemClock);
const { signal } = new AbortController();
for (let serial = 0; serial < Number(count); serial++) {
  const id = `${prefix}${serial}`;
  const call = keyed === undefined ? undefined : idempotentCall(['child'], id, Buffer.from(id));
  await pushed.push({ frames: pushedPoints(scopes!.split(','), id), call }, signal);
  process.stdout.write(`${id}\n`);
}
await database.close();
