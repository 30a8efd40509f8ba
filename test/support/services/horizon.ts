import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServiceProcess } from './child-process.js';
import { freePort } from './free-port.js';
import { createServiceFolder, removeServiceFolder } from './service-folder.js';
import { createWsgiService } from './uwsgi.js';

const STATIC_FOLDER = '/var/lib/openstack-dashboard/static';

export interface HorizonOptions {
  /** With the version: `http://127.0.0.1:25000/v3`. */
  readonly keystoneUrl: string;
}

export interface Horizon {
  /** Of its pages, without a slash at the end. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Horizon with the Rating panels, of Debian's packages, under uwsgi on a free port; nothing in /etc is changed. */
export async function startHorizon({ keystoneUrl }: HorizonOptions): Promise<Horizon> {
  const folder = createServiceFolder('horizon');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  let process: ServiceProcess;
  try {
    await mkdir(join(folder, 'sessions'));
    await writeFile(join(folder, 'ratecat_dashboard_settings.py'), settings(folder, keystoneUrl));
    process = await createWsgiService({
      name: 'horizon',
      port,
      folder,
      source: WSGI_SOURCE,
      environment: { PYTHONPATH: folder },
      staticFiles: `/static=${STATIC_FOLDER}`,
      probeUrl: `${url}/auth/login/`,
    });
    await process.start();
  } catch (error) {
    await removeServiceFolder(folder);
    throw error;
  }
  return {
    url,
    async stop() {
      await process.stop();
      await removeServiceFolder(folder);
    },
  };
}

function settings(folder: string, keystoneUrl: string): string {
  return `from openstack_dashboard.settings import *

DEBUG = False
ALLOWED_HOSTS = ['127.0.0.1']
OPENSTACK_HOST = '127.0.0.1'
OPENSTACK_KEYSTONE_URL = '${keystoneUrl}'
OPENSTACK_KEYSTONE_MULTIDOMAIN_SUPPORT = False
OPENSTACK_KEYSTONE_DEFAULT_DOMAIN = 'Default'
SESSION_ENGINE = 'django.contrib.sessions.backends.file'
SESSION_FILE_PATH = '${join(folder, 'sessions')}'
CACHES = {'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
CSRF_COOKIE_SECURE = False
SESSION_COOKIE_SECURE = False
SECRET_KEY = 'for tests only'
`;
}

const WSGI_SOURCE = `import os

os.environ['DJANGO_SETTINGS_MODULE'] = 'ratecat_dashboard_settings'
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
`;
