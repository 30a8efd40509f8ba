/** Published as `ratecat/testkit`: conformance suites for plugins, and what tests of plugins need. Depends on no test runner. */
export * from './collector.js';
export * from './definition.js';
export * from './fakes.js';
export * from './fetcher.js';
export { HOSTILE_TEXTS } from './hostile-texts.js';
export * from './http-faults.js';
export * from './lifecycle.js';
export * from './notifier.js';
export * from './rating.js';
export * from './samples.js';
export * from './storage.js';
