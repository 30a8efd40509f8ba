/** One broker of a transport URL. */
export interface BrokerHost {
  readonly host: string;
  readonly port: number | undefined;
  readonly username: string;
  readonly password: string;
}

export interface TransportUrl {
  /** In the order in which they are tried; at least one. */
  readonly hosts: readonly BrokerHost[];
  readonly virtualHost: string;
  /** Driver options behind the question mark, as oslo.messaging takes them: `ssl=1`. */
  readonly query: ReadonlyMap<string, string>;
  /** The scheme asks for TLS. */
  readonly isSecure: boolean;
}

/** What the AMQP drivers call themselves; `amqps` is RabbitMQ's own. */
const SCHEMES = new Set(['rabbit', 'kombu', 'amqp', 'amqps']);

/** What is wrong with a URL, in words that do not show it. */
export class BadTransportUrl extends Error {}

/**
 * Reads `rabbit://user:password@host1:5672,user:password@host2:5672/vhost?ssl=1` as oslo.messaging does: hosts are parted
 * by commas, each with credentials of its own (`guest` without), names and passwords percent-encoded, a missing virtual host
 * is `/`.
 * @throws BadTransportUrl
 */
export function parseTransportUrl(url: string): TransportUrl {
  const parts = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/i.exec(url);
  const scheme = parts?.[1]?.toLowerCase();
  if (parts === null || scheme === undefined)
    throw new BadTransportUrl(
      'must be like rabbit://user:password@host:5672/vhost; in names and passwords write / ? # @ : , and % percent-encoded',
    );
  if (!SCHEMES.has(scheme))
    throw new BadTransportUrl(`'${scheme}' is none of the supported transports: ${[...SCHEMES].join(', ')}`);
  const hosts = parts[2]!
    .split(',')
    .filter((text) => text !== '')
    .map(parseHost);
  if (hosts.length === 0) throw new BadTransportUrl('names no host');
  const path = decoded((parts[3] ?? '/').slice(1));
  return {
    hosts,
    virtualHost: path === '' ? '/' : path,
    query: new Map(new URLSearchParams(parts[4] ?? '')),
    isSecure: scheme === 'amqps',
  };
}

function parseHost(text: string): BrokerHost {
  const at = text.lastIndexOf('@');
  const [name, ...password] = at < 0 ? [] : text.slice(0, at).split(':');
  const address = /^(?:\[([0-9a-f:.%]+)\]|([^[\]:@\s]+))(?::(\d*))?$/i.exec(text.slice(at + 1));
  if (address === null)
    throw new BadTransportUrl('one of the hosts is not written as host, host:port or [IPv6]:port');
  const port = address[3] === undefined || address[3] === '' ? undefined : Number(address[3]);
  if (port !== undefined && (port < 1 || port > 65_535))
    throw new BadTransportUrl('the port of a host must lie between 1 and 65535');
  return {
    host: address[1] ?? address[2]!,
    port,
    username: name === undefined || name === '' ? 'guest' : decoded(name),
    password: password.length === 0 ? 'guest' : decoded(password.join(':')),
  };
}

/** Percent signs that encode nothing stay, as they do in the reference. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (encoded) =>
      Buffer.from(encoded.replaceAll('%', ''), 'hex').toString(),
    );
  }
}
