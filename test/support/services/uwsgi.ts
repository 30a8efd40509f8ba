import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, findProgram, ServiceProcess } from './child-process.js';

export interface WsgiService {
  readonly name: string;
  readonly port: number;
  readonly folder: string;
  /** Python source that sets `application`. */
  readonly source: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Folder served as it is below a path: `/static=/var/lib/x`. */
  readonly staticFiles?: string;
  /** Asked until it answers at all; any status will do. */
  readonly probeUrl: string;
}

/** A Python web service under Debian's uwsgi; it is not started yet. */
export async function createWsgiService(service: WsgiService): Promise<ServiceProcess> {
  const file = join(service.folder, `${service.name}.wsgi`);
  await writeFile(file, service.source);
  return new ServiceProcess(uwsgiCommand(service, file), async () => {
    const response = await fetch(service.probeUrl);
    await response.arrayBuffer();
    return response.status < 500;
  });
}

function uwsgiCommand(service: WsgiService, file: string): Command {
  const { name, port, folder, staticFiles, environment = {} } = service;
  return {
    name,
    program: findProgram('uwsgi', 'uwsgi'),
    arguments: [
      ...['--plugins', 'python3', '--wsgi-file', file, '--need-app', '--lazy-apps'],
      ...['--http-socket', `127.0.0.1:${port}`, '--buffer-size', '65535'],
      // The plain http socket closes after each answer: tell clients, or they reuse a dead connection.
      ...['--add-header', 'Connection: close'],
      ...['--master', '--processes', '1', '--threads', '4', '--enable-threads'],
      ...['--die-on-term', '--no-orphans'],
      ...(staticFiles === undefined ? [] : ['--static-map', staticFiles]),
    ],
    folder,
    environment,
  };
}
