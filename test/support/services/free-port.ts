import { createServer } from 'node:net';

/**
 * Below Linux's ephemeral range (32768 and up): no outgoing connection takes the port between this check and the
 * service's start, or while a test keeps the service down before it starts it again on the same port.
 */
const FIRST_PORT = 15_000;
const PORT_COUNT = 17_000;
const ATTEMPTS = 100;

const handedOut = new Set<number>();

/** A TCP port that nothing listens on at 127.0.0.1 and that this process was not given before. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORT_COUNT);
    if (!handedOut.has(port) && (await canListen(port))) {
      handedOut.add(port);
      return port;
    }
  }
  throw new Error(`no free port found on 127.0.0.1 between ${FIRST_PORT} and ${FIRST_PORT + PORT_COUNT - 1}`);
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
