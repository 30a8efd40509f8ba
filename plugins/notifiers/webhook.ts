import { createHmac } from 'node:crypto';
import { z } from 'zod';
import {
  type Clock,
  DataError,
  definePlugin,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  isRatecatError,
  type Notification,
  type Notifier,
  type PluginContext,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import { excerpt, refusal, upstreamClient, upstreamShape } from '../../core/upstream/index.js';
import { byScope } from '../shared/event-order.js';

const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9a-z-]+$/i, { error: 'is not a name of an HTTP header' });
const headerValue = z
  .string()
  .regex(/^[\t\x20-\x7e]*$/, { error: 'must be printable ASCII, as HTTP headers are' });

const options = z.strictObject({
  ...upstreamShape,
  timeout: upstreamShape.timeout.default(10),
  url: z.url({ protocol: /^https?$/, error: 'must be a URL that begins with https:// or http://' }),
  secret: z
    .string()
    .min(1, { error: 'must not be empty' })
    .refine((secret) => keyOf(secret).length >= 16, { error: 'must hold at least 16 bytes' })
    .optional(),
  headers: z.record(headerName, headerValue).default({}),
  concurrency: z.int().min(1).max(100).default(4),
});

type Options = z.output<typeof options>;

/** Posts events as JSON, signed as https://www.standardwebhooks.com says. */
export default definePlugin({
  kind: 'notifier',
  name: 'webhook',
  options,
  // Receivers put keys into their URLs.
  secretOptions: ['url', 'secret', 'headers'],
  create: (options, context) => new WebhookNotifier(options, context),
});

/** This event will never be taken; others may be. */
const REFUSES_EVENT = new Set([400, 409, 413, 415, 422]);

class WebhookNotifier implements Notifier {
  readonly #options: Options;
  readonly #http: HttpClient;
  readonly #clock: Clock;
  /** Events of a batch that failed elsewhere: they are not posted again with the next attempt. */
  readonly #confirmed = new Set<string>();

  constructor(options: Options, context: PluginContext) {
    this.#options = options;
    this.#http = upstreamClient(options, context, options.concurrency);
    this.#clock = context.clock;
  }

  /** Scopes side by side, the events of each one after the other. */
  async publish(events: readonly Notification[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const lists = [...byScope(events)];
    const failures: unknown[] = [];
    const post = async () => {
      for (let list = lists.shift(); list !== undefined; list = lists.shift()) {
        try {
          await this.#postList(list, signal);
        } catch (error) {
          failures.push(error);
          // What is down for one is down for all.
          if (!isRatecatError(error) || error.kind !== 'data') lists.length = 0;
        }
      }
    };
    await Promise.all(Array.from({ length: this.#options.concurrency }, post));
    if (failures.length > 0) {
      signal.throwIfAborted();
      throw failures.find((error) => !isRatecatError(error) || error.kind !== 'data') ?? failures[0];
    }
    for (const { id } of events) this.#confirmed.delete(id);
  }

  async stop(): Promise<void> {
    await this.#http.close();
  }

  async #postList(list: readonly Notification[], signal: AbortSignal): Promise<void> {
    for (const event of list) {
      if (this.#confirmed.has(event.id)) continue;
      await this.#post(event, signal);
      this.#confirmed.add(event.id);
    }
  }

  async #post(event: Notification, signal: AbortSignal): Promise<void> {
    const { url, secret, headers } = this.#options;
    const body = webhookBody(event);
    const timestamp = String(Math.floor(this.#clock.now() / 1000));
    const response = await this.#exchange(
      {
        method: 'POST',
        url,
        headers: {
          ...headers,
          'content-type': 'application/json',
          'idempotency-key': event.id,
          'webhook-id': event.id,
          'webhook-timestamp': timestamp,
          ...(secret === undefined
            ? {}
            : { 'webhook-signature': webhookSignature(secret, event.id, timestamp, body) }),
        },
        body,
      },
      signal,
    );
    if (response.status >= 200 && response.status < 300) return;
    const call = `POST ${new URL(url).origin}`;
    if (!REFUSES_EVENT.has(response.status)) throw refusal(call, withoutPath(response, url), secret);
    const said = excerpt(response.body, secret);
    throw new DataError(
      'RATECAT_NOTIFICATION_REFUSED',
      `${call} refused a notification of type '${event.type}' with ${response.status}${said === '' ? '' : `: ${said}`}. Check what the receiver expects.`,
      { details: { status: response.status } },
    );
  }

  /** No answer says nothing about the event: it stays. The path of the URL may be a secret, so messages do without it. */
  async #exchange(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    try {
      return await this.#http.request(request, signal);
    } catch (error) {
      if (signal.aborted || !isRatecatError(error)) throw error;
      const { origin, pathname } = new URL(request.url);
      const message = error.message.replaceAll(`${origin}${pathname}`, origin);
      throw new UnavailableError(error.code, message);
    }
  }
}

/** Where a redirect leads to may be as secret as where it began. */
function withoutPath(response: HttpResponse, url: string): HttpResponse {
  const { location } = response.headers;
  if (location === undefined) return response;
  const shown = URL.canParse(location, url) ? new URL(location, url).origin : '';
  return { ...response, headers: { ...response.headers, location: shown } };
}

/** What the receiver reads. */
export function webhookBody({ id, type, at, severity, scope, payload }: Notification): string {
  return JSON.stringify({ id, type, timestamp: new Date(at).toISOString(), severity, scope, data: payload });
}

/** HMAC-SHA256 over id, time and body: `v1,<base64>`. The time keeps an old request from being sent again by others. */
export function webhookSignature(secret: string, id: string, timestamp: string, body: string): string {
  const signature = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64');
  return `v1,${signature}`;
}

/** `whsec_` is followed by the key in base64; anything else is the key itself. */
function keyOf(secret: string): Buffer {
  return secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
}
