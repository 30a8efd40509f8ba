import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { definePlugin, type PluginContext } from '../../../core/plugin-api/index.js';
import { RabbitmqNotifier, type RabbitmqSettings } from './rabbitmq-notifier.js';
import { BadTransportUrl, parseTransportUrl } from './transport-url.js';

const file = z.string().min(1).optional();
const name = z
  .string()
  .min(1, { error: 'must not be empty' })
  .max(200, { error: 'must be at most 200 characters' });

const options = z.strictObject({
  transport_url: z.string().superRefine((url, context) => {
    try {
      parseTransportUrl(url);
    } catch (error) {
      if (!(error instanceof BadTransportUrl)) throw error;
      context.addIssue({ code: 'custom', message: error.message, input: url });
    }
  }),
  exchange: name.default('cloudkitty'),
  topics: z.array(name).min(1, { error: 'must name at least one topic' }).default(['notifications']),
  publisher_id: name.optional(),
  durable: z.boolean().default(true),
  queue_type: z.enum(['classic', 'quorum']).default('classic'),
  heartbeat: z.int().min(1).max(3600).default(60),
  connect_timeout: z.int().min(1).max(300).default(10),
  ssl: z.boolean().optional(),
  cafile: file,
  certfile: file,
  keyfile: file,
  insecure: z.boolean().default(false),
});

type Options = z.output<typeof options>;

/** Notifications for OpenStack's message bus, in the format of oslo.messaging's driver `messagingv2`. */
export default definePlugin({
  kind: 'notifier',
  name: 'rabbitmq',
  options,
  secretOptions: ['transport_url'],
  create: (options, context) => new RabbitmqNotifier(settings(options, context)),
});

/** What the query of the URL says fills in what the options leave open, as it does in the reference. */
function settings(options: Options, { configFolder }: PluginContext): RabbitmqSettings {
  const url = parseTransportUrl(options.transport_url);
  const path = (option: string | undefined, key: string) => {
    const named = option ?? url.query.get(key);
    return named === undefined || named === '' ? undefined : resolve(configFolder, named);
  };
  const usesTls = options.ssl ?? (url.isSecure || isTrue(url.query.get('ssl')));
  return {
    broker: {
      hosts: url.hosts,
      virtualHost: url.virtualHost,
      tls: usesTls
        ? {
            caFile: path(options.cafile, 'ssl_ca_file'),
            certFile: path(options.certfile, 'ssl_cert_file'),
            keyFile: path(options.keyfile, 'ssl_key_file'),
            insecure: options.insecure,
          }
        : undefined,
      heartbeatSeconds: options.heartbeat,
      connectTimeoutMs: options.connect_timeout * 1000,
    },
    exchange: options.exchange,
    topics: options.topics,
    publisherId: options.publisher_id ?? `ratecat.${hostname()}`,
    queues: { durable: options.durable, queueType: options.queue_type },
  };
}

function isTrue(text: string | undefined): boolean {
  return text !== undefined && /^(1|true|yes|on)$/i.test(text);
}
