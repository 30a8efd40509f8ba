import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';

/** How the caller addressed the server. */
export interface RequestOrigin {
  /** `https://rating.example:8889`, without a slash at the end. */
  readonly origin: string;
  /** What a trusted proxy cut off the path. */
  readonly prefix: string;
  readonly clientAddress: string;
}

export type OriginOf = (request: IncomingMessage) => RequestOrigin;

/** What a proxy says about the request that it got. */
interface Forwarded {
  readonly scheme: string | undefined;
  readonly host: string | undefined;
  /** From the caller to the last proxy but one. */
  readonly addresses: readonly string[];
}

/**
 * Headers of proxies count only when the connection comes from one of these addresses or networks (`loopback`: this
 * machine). `Forwarded` goes before the `X-Forwarded-` headers, and as in oslo.middleware its first element says how the
 * caller asked. The caller's address is the last one that no trusted proxy has: what stands before it anybody can write.
 */
export function proxyOrigins(trusted: readonly string[]): OriginOf {
  const proxies = trustedNetworks(trusted);
  const isTrusted = (address: string) => {
    const family = isIP(address);
    return family !== 0 && proxies.check(address, family === 4 ? 'ipv4' : 'ipv6');
  };
  return ({ headers, socket }) => {
    const peer = plainAddress(socket.remoteAddress ?? '');
    const ownScheme = 'encrypted' in socket ? 'https' : 'http';
    const ownHost = hostOf(headers.host) ?? localHost(socket);
    if (!isTrusted(peer)) return { origin: `${ownScheme}://${ownHost}`, prefix: '', clientAddress: peer };
    const forwarded =
      headers.forwarded === undefined ? fromXHeaders(headers) : fromForwarded(headers.forwarded);
    return {
      origin: `${schemeOf(forwarded.scheme) ?? ownScheme}://${hostOf(forwarded.host) ?? ownHost}`,
      prefix: prefixOf(textOf(headers, 'x-forwarded-prefix')),
      clientAddress: callerOf(forwarded.addresses, peer, isTrusted),
    };
  };
}

function trustedNetworks(trusted: readonly string[]): BlockList {
  const networks = new BlockList();
  for (const entry of trusted.flatMap((each) => (each === 'loopback' ? ['127.0.0.0/8', '::1'] : [each]))) {
    const [address = '', bits] = entry.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    if (bits === undefined) networks.addAddress(address, family);
    else networks.addSubnet(address, Number(bits), family);
  }
  return networks;
}

/** An IPv4 address that an IPv6 socket reports is the same address, and a zone says only how it is reached. */
function plainAddress(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address.replace(/%.*$/s, '');
}

function fromXHeaders(headers: IncomingHttpHeaders): Forwarded {
  return {
    scheme: firstOf(textOf(headers, 'x-forwarded-proto')),
    host: firstOf(textOf(headers, 'x-forwarded-host')),
    addresses: listOf(textOf(headers, 'x-forwarded-for')).map(nodeAddress),
  };
}

/** RFC 7239. Separators inside of quotes, which no address or host holds, make the element unreadable and thus unheard. */
function fromForwarded(header: string): Forwarded {
  const elements = listOf(header).map(pairsOf);
  const [first] = elements;
  return {
    scheme: first?.get('proto'),
    host: first?.get('host'),
    addresses: elements.map((pairs) => nodeAddress(pairs.get('for') ?? '')),
  };
}

function pairsOf(element: string): ReadonlyMap<string, string> {
  return new Map(
    element.split(';').map((pair) => {
      const [name = '', value = ''] = pair.split(/=(.*)/s);
      return [name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/s, '$1')];
    }),
  );
}

/** The address without port and brackets; what is none stays what it is, trusted by nobody. */
function nodeAddress(node: string): string {
  const bracketed = /^\[([^\]]*)\](:\d+)?$/.exec(node)?.[1];
  if (bracketed !== undefined) return plainAddress(bracketed);
  return plainAddress(/^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(node)?.[1] ?? node);
}

function callerOf(
  addresses: readonly string[],
  peer: string,
  isTrusted: (address: string) => boolean,
): string {
  const caller = addresses.findLast((address) => !isTrusted(address)) ?? addresses[0];
  return caller !== undefined && isIP(caller) !== 0 ? caller : peer;
}

/** A name or address with an optional port, and nothing that could end a header, a URL's host or a page's text. */
function hostOf(host: string | undefined): string | undefined {
  const text = host?.trim() ?? '';
  if (text.length > 255) return undefined;
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?)(?::(\d{1,5}))?$/.exec(
    text,
  );
  if (match === null || Number(match[2] ?? 0) > 65_535) return undefined;
  return match[1]!.startsWith('[') && isIP(match[1]!.slice(1, -1)) !== 6 ? undefined : text;
}

function schemeOf(scheme: string | undefined): string | undefined {
  const lower = scheme?.toLowerCase();
  return lower === 'http' || lower === 'https' ? lower : undefined;
}

function localHost({ localAddress, localPort }: Socket): string {
  const address = plainAddress(localAddress ?? '');
  const host = isIP(address) === 6 ? `[${address}]` : address;
  return host === '' ? 'localhost' : `${host}:${localPort}`;
}

/** `/rating`; empty for everything that is no plain path. */
function prefixOf(prefix: string | undefined): string {
  const path = firstOf(prefix) ?? '';
  if (path.length > 1024) return '';
  return /^((?:\/[\w.~%!$&()*+;=:@-]+)+)\/*$/.exec(path)?.[1] ?? '';
}

function textOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}

function listOf(text: string | undefined): readonly string[] {
  return text === undefined ? [] : text.split(',').map((part) => part.trim());
}

function firstOf(text: string | undefined): string | undefined {
  return listOf(text)[0];
}
