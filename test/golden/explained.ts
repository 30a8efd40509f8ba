/**
 * Recorded exchanges that we answer differently, by reason. The recording is of release 17; `docs/compatibility.md` tells users
 * what differs. A name that no longer differs fails the test, as does one that is not here.
 */
type Reasons = Readonly<Record<string, readonly string[]>>;

const RULES: Reasons = {
  "bad input is the caller's fault (400), not the server's (500), and says what is wrong": [
    'hm-map-field-too-big-cost',
    'hm-map-bad-cost',
    'hm-map-nan-cost',
    'hm-thr-bad-level',
    'quote-bad-volume',
    'quote-no-body',
    'quote-no-volume',
    'py-create-no-data',
    'py-update-name-only',
  ],
  'two mappings of one value, tenant, parent and group must not be valid at one time; release 17 leaves that to a key of the database, which nulls escape':
    ['hm-map-service-duplicate', 'hm-map-field-duplicate', 'hm-map-field-tenant-duplicate-no-group'],
  'lists without a parent give everything; release 17 fails': [
    'hm-maps',
    'hm-maps-no-group',
    'hm-thrs',
    'hm-thrs-no-group',
  ],
  'a rule that has begun may only be ended, as in releases after 17': [
    'hm-map-update',
    'hm-map-update-cost-only',
    'hm-map-update-with-id',
    'hm-map-update-duplicate',
    'py-update',
    'py-update-to-duplicate',
  ],
  'other rules are stored, because of the two reasons above': [
    'hm-maps-field',
    'hm-maps-service',
    'hm-maps-group',
    'hm-maps-field-no-group',
    'hm-maps-filter-tenant-none',
    'hm-map-updated',
    'hm-map-updated-with-id',
    'hm-group-mappings',
    'hm-group-mappings-path',
    'hm-maps-after-group-delete',
    'hm-maps-final',
    'py-updated',
    'py-updated-name-only',
    'py-after-update-to-duplicate',
    'quote-flat',
    'quote-flat-volume',
    'quote-groupby-field',
    'quote-demo',
  ],
  'zero is written without an exponent': ['quote-rate'],
};

const VERSION_2: Reasons = {
  ...RULES,
  'points of one frame are ordered by metric, not by the series of InfluxDB, so that pages hold others': [
    'v2-df-limit',
    'v2-df-limit-offset',
    'v1-df-type',
  ],
  'metadata can be grouped by; InfluxDB gives an empty text': ['v2-sum-metadata'],
  'hours without points give no row, as in releases after 17': ['v2-sum-time', 'v2-sum-time-type'],
  'calendar groups are those of releases after 17': ['v2-sum-time-d', 'v2-sum-time-m', 'v2-sum-time-y'],
  'an unknown format, or a field that cannot be computed, is refused (400)': [
    'v2-sum-bad-format',
    'v2-sum-custom-bad',
    'v2-reproc-bad-order',
  ],
  'a reset is done before it is answered; no processor ran beside the recorded API, so that there it is never done':
    ['v2-reproc-after-state', 'v2-reproc-start-after-state'],
  'a reset to an instant after what is rated would skip periods, and is refused; release 17 skips them': [
    'v2-scope-put-state',
    'v2-scope-after-put-state',
    'v2-scope-after-patch-off',
    'v2-scope-after-patch-off-any',
  ],
  'scopes can be changed and created; release 17 fails': [
    'v2-scope-patch-off',
    'v2-scope-patch-string-off',
    'v2-scope-patch-on',
    'v2-scope-patch-collector',
    'v2-scope-patch-nothing',
    'v2-scope-post',
    'v2-scope-post-with-time',
  ],
  'a script with a syntax error does not remove its module from the list': ['v2-modules', 'v2-modules-demo'],
  'modules can be changed through version 2, as in releases after 17': ['v2-module-put'],
};

/** We always answer as an installation with version 2 storage does. */
const VERSION_1: Reasons = {
  ...RULES,
  '/v2 is there': ['root', 'root-admin'],
  'the scopes that are known are listed, whatever the period': ['v1-tenants', 'v1-tenants-default'],
  'the version 1 storage keeps binary floats of single precision': [
    'v1-total',
    'v1-total-own',
    'v1-total-tenant',
    'v1-total-service',
  ],
  'a group is named only when it was asked for, rows come in the order of their names, and no data is no row':
    [
      'v1-summary-tenant',
      'v1-summary-restype',
      'v1-summary-both',
      'v1-summary-service',
      'v1-summary-one',
      'v1-summary-unknown-tenant',
      'v1-summary-own',
      'v1-summary-default',
    ],
  'points of one period are one frame, and do not repeat the tenant': [
    'v1-df',
    'v1-df-tenant',
    'v1-df-type',
    'v1-df-one-hour',
    'v1-df-demo',
  ],
};

function byName(reasons: Reasons): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(reasons).flatMap(([reason, names]) => names.map((name) => [name, reason])),
  );
}

export const EXPLAINED_V2 = byName(VERSION_2);
export const EXPLAINED_V1 = byName(VERSION_1);
