import { after, before, test } from 'node:test';
import { httpFactory } from '../../core/loading/http-client.js';
import { testNotifier } from '../../core/testkit/notifier.js';
import webhook from '../../plugins/notifiers/webhook.js';
import { HttpDouble, json } from '../support/http-double.js';
import { freePort } from '../support/services/free-port.js';

let receiver: HttpDouble;
let nobody: number;
let read = 0;

before(async () => {
  receiver = await HttpDouble.start(() => json({}));
  nobody = await freePort();
});
after(() => receiver?.stop());

testNotifier({
  test,
  definition: webhook,
  options: () => ({ url: `${receiver?.url ?? 'http://localhost'}/hook`, secret: 'a secret of some length' }),
  context: { http: httpFactory },
  async received() {
    const fresh = receiver.requests.slice(read);
    read = receiver.requests.length;
    return fresh.map(({ headers }) => String(headers['idempotency-key']));
  },
  unreachable: () => ({ url: `http://127.0.0.1:${nobody}/hook` }),
});
