import { z } from 'zod';
import { type CompiledRating, definePlugin, type RatingModule } from '../../core/plugin-api/index.js';

const unpriced: CompiledRating = {
  rate(frame, signal) {
    signal.throwIfAborted();
    return frame;
  },
  explain: (point) => [{ text: 'noop leaves the price as it is', price: point.price }],
};

/** Leaves every price as it is, so that usage is stored while no other module is enabled. */
export default definePlugin({
  kind: 'rating',
  name: 'noop',
  options: z.strictObject({}),
  create(): RatingModule {
    return {
      description: 'Dummy test module.',
      hotConfig: false,
      alwaysEnabled: true,
      compile: () => unpriced,
    };
  },
});
