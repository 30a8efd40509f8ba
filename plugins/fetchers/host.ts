import { z } from 'zod';
import {
  definePlugin,
  describeError,
  type Fetcher,
  isRatecatError,
  UnavailableError,
} from '../../core/plugin-api/index.js';
import { hostMachine, hostMachineOptions, hostScopes, toScope } from '../shared/host-machine.js';

/** The scopes of the machine that Ratecat runs on: the machine, its systemd slices, or its users' slices. */
export default definePlugin({
  kind: 'fetcher',
  name: 'host',
  options: z.strictObject(hostMachineOptions).prefault({}),
  create(options, context): Fetcher {
    const machine = hostMachine(options);
    const key = context.pipeline?.scopeKey ?? '';
    return {
      async fetchScopes(signal) {
        signal.throwIfAborted();
        try {
          return (await hostScopes(machine)).map((scope) => toScope(scope, key));
        } catch (error) {
          if (isRatecatError(error)) throw error;
          throw new UnavailableError(
            'RATECAT_HOST_UNREADABLE',
            `The scopes of this machine cannot be read: ${describeError(error)}`,
            { cause: error },
          );
        }
      },
    };
  },
});
