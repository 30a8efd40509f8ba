import { Readable } from 'node:stream';
import { z } from 'zod';
import type { Instant, VisibleScopes } from '../../plugin-api/index.js';
import { isoTime } from '../../scopes/iso-time.js';
import { visibleScopes } from '../access.js';
import type { ApiServices, SourceFacts } from '../services.js';
import { OwnFault } from './own-fault.js';
import { type OwnAnswer, type OwnCall, type OwnRoute, ownRoute } from './own-route.js';
import { ProgressFeed, type ProgressListener, type ScopeProgress } from './progress-feed.js';
import type { LagOf } from './scope-states.js';
import { isVisible } from './visibility.js';

const QUERY = z.strictObject({});

const MOST_LISTENERS = 64;
/** One caller's browser tabs; others must find room too. */
const MOST_PER_USER = 8;
/** So that proxies and clients see that the connection lives. */
const HEARTBEAT_MS = 5_000;
/** Then the client asks again, with a token that is checked again. */
const LONGEST_MS = 300_000;
/** Text that waits for a slow reader; while it does, newer events are left out: each one says everything. */
const MOST_WAITING = 64 * 1024;

const DESCRIPTION =
  'Server-sent events. progress: per source the scopes, due periods that are not rated, the age of the oldest, stuck scopes ' +
  'and the periods rated since the connection began; sent at once and whenever it changes. unavailable: the database does ' +
  'not answer. The connection ends after five minutes; clients of server-sent events ask again by themselves.';

/** `GET /progress`: what the processors are doing, live. */
export class Progress {
  readonly #services: ApiServices;
  readonly #feed: ProgressFeed;
  readonly #users = new Map<string, number>();

  constructor(services: ApiServices, lagOf: LagOf) {
    this.#services = services;
    const { states, clock, logger } = services;
    this.#feed = new ProgressFeed({ states, clock, logger, lagOf });
  }

  get routes(): readonly OwnRoute[] {
    return [
      ownRoute({
        method: 'GET',
        path: '/progress',
        summary: 'What is being rated, live',
        description: DESCRIPTION,
        rule: 'summary:get_summary',
        query: QUERY,
        answer: { type: 'string' },
        answerType: 'text/event-stream; charset=utf-8',
        answerHeaders: { 'cache-control': 'no-store', 'x-accel-buffering': 'no', connection: 'close' },
        handle: (call) => this.#open(call),
      }),
    ];
  }

  async #open({ identity, signal, keepOpen }: OwnCall<z.output<typeof QUERY>>): Promise<OwnAnswer> {
    const leave = this.#enter(identity.userId);
    keepOpen();
    const events = new EventStream(signal, LONGEST_MS);
    const view = new View(events, visibleScopes(identity, this.#services.sources), this.#services.sources);
    const stop = this.#feed.listen(view);
    events.stream.once('close', () => {
      stop();
      leave();
    });
    return events.stream;
  }

  /** @throws OwnFault 503 */
  #enter(userId: string | undefined): () => void {
    const user = userId ?? '';
    const own = this.#users.get(user) ?? 0;
    if (this.#feed.listeners >= MOST_LISTENERS || (user !== '' && own >= MOST_PER_USER)) {
      throw new OwnFault(
        503,
        'RATECAT_REQUEST_TOO_MANY_LISTENERS',
        `At most ${MOST_LISTENERS} callers, and ${MOST_PER_USER} times each of them, follow the progress. Close another one.`,
        { 'retry-after': '10' },
      );
    }
    this.#users.set(user, own + 1);
    return () => {
      const left = (this.#users.get(user) ?? 1) - 1;
      if (left === 0) this.#users.delete(user);
      else this.#users.set(user, left);
    };
  }
}

/** What one listener gets to see. */
class View implements ProgressListener {
  readonly #events: EventStream;
  readonly #visible: VisibleScopes;
  readonly #sources: readonly SourceFacts[];
  #ratedBefore: ReadonlyMap<string, number> | undefined;
  #last = '';

  constructor(events: EventStream, visible: VisibleScopes, sources: readonly SourceFacts[]) {
    this.#events = events;
    this.#visible = visible;
    this.#sources = sources;
  }

  progress(all: readonly ScopeProgress[], now: Instant): void {
    const scopes = all.filter((scope) => isVisible(this.#visible, scope));
    const rated = new Map(this.#sources.map(({ name }) => [name, ratedSeconds(scopes, name)]));
    this.#ratedBefore ??= rated;
    const before = this.#ratedBefore;
    const sources = this.#sources.map(({ name, periodSeconds }) => ({
      ...backlogOf(scopes, name),
      periods_rated: Math.floor((rated.get(name)! - (before.get(name) ?? 0)) / periodSeconds),
    }));
    const text = JSON.stringify(sources);
    // The age of what waits grows by the second, which is no news.
    const news = JSON.stringify(sources.map(({ seconds_behind: _, ...rest }) => rest));
    if (news === this.#last) return;
    if (this.#events.send('progress', `{"at":"${isoTime(now)}","sources":${text}}`)) this.#last = news;
  }

  unavailable(code: string): void {
    if (this.#events.send('unavailable', JSON.stringify({ code }))) this.#last = '';
  }
}

function ratedSeconds(scopes: readonly ScopeProgress[], name: string): number {
  return scopes.reduce((sum, scope) => sum + (scope.source === name ? scope.ratedSeconds : 0), 0);
}

function backlogOf(scopes: readonly ScopeProgress[], name: string) {
  const own = scopes.filter(({ source }) => source === name);
  return {
    source: name,
    scopes: own.length,
    periods_behind: own.reduce((sum, { periodsBehind }) => sum + periodsBehind, 0),
    seconds_behind: own.reduce((most, { secondsBehind }) => Math.max(most, secondsBehind), 0),
    stuck: own.filter(({ condition }) => condition === 'stuck').length,
  };
}

/** Events in the text form of the HTML standard, until the caller leaves, the process stops or the time is over. */
class EventStream {
  readonly stream: Readable;
  #isOver = false;
  readonly #end = () => {
    if (!this.#isOver) this.stream.push(null);
    this.#isOver = true;
  };

  constructor(signal: AbortSignal, longestMs: number) {
    const heartbeat = setInterval(() => this.#write(': alive\n\n'), HEARTBEAT_MS).unref();
    const limit = setTimeout(this.#end, longestMs).unref();
    this.stream = new Readable({
      encoding: 'utf8',
      read: () => undefined,
      destroy(error, done) {
        clearInterval(heartbeat);
        clearTimeout(limit);
        done(error);
      },
    });
    signal.addEventListener('abort', this.#end, { once: true });
    if (signal.aborted) this.#end();
    else this.stream.push('retry: 2000\n\n');
  }

  /** False when nobody can take it. */
  send(event: string, data: string): boolean {
    return this.#write(`event: ${event}\ndata: ${data}\n\n`);
  }

  #write(text: string): boolean {
    const { stream } = this;
    if (this.#isOver || stream.destroyed || stream.readableLength > MOST_WAITING) return false;
    stream.push(text);
    return true;
  }
}
