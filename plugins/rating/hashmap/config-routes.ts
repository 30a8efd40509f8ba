import type { ConfigRoute } from '../../../core/plugin-api/index.js';
import { type NumberReading, ok, toConfigRoute, type WireRoute } from '../../shared/config-call.js';
import { mappingRoutes, mappingsOfGroup, mappingsOfService } from './mapping-routes.js';
import { fieldRoutes, fieldsOfService, groupRoutes, serviceRoutes } from './name-routes.js';
import { thresholdRoutes, thresholdsOfGroup } from './threshold-routes.js';

const types: WireRoute = {
  method: 'GET',
  path: '/types',
  shape: {},
  handle: async () => ok(['flat', 'rate']),
};

/**
 * The configuration API below `/v1/rating/module_config/hashmap`. Routes with fixed words come before those with a
 * parameter in the same place, for hosts that take the first that fits.
 */
export function configRoutes(numbers: NumberReading): readonly ConfigRoute[] {
  const belowServices = (route: WireRoute) => ({ ...route, path: `/services${route.path}` });
  const routes = [
    types,
    ...fieldRoutes.map(belowServices),
    ...mappingRoutes.map(belowServices),
    fieldsOfService,
    mappingsOfService,
    ...mappingsOfGroup,
    ...thresholdsOfGroup,
    ...serviceRoutes,
    ...fieldRoutes,
    ...groupRoutes,
    ...mappingRoutes,
    ...thresholdRoutes,
  ];
  return routes.map((route) => toConfigRoute(route, numbers));
}
