import { DataError } from '../../core/plugin-api/index.js';

const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** A PromQL string literal: whatever the text is, it stays one literal. */
export function promqlString(text: string): string {
  if (/\p{Cs}/u.test(text)) {
    throw new DataError(
      'RATECAT_TEXT_NOT_UNICODE',
      'A value for a PromQL query has half of a surrogate pair and cannot be sent. Check the scope id and the filters.',
    );
  }
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `"${escaped}"`;
}

/** `metric{label="value", …}`. Names that PromQL does not take bare are written in the quoted form of Prometheus 3. */
export function promqlSelector(metric: string, matchers: ReadonlyArray<readonly [string, string]>): string {
  const parts = matchers.map(([label, value]) => `${promqlLabel(label)}=${promqlString(value)}`);
  if (METRIC_NAME.test(metric)) return parts.length === 0 ? metric : `${metric}{${parts.join(', ')}}`;
  return `{${[promqlString(metric), ...parts].join(', ')}}`;
}

/** A label where PromQL expects a name. */
export function promqlLabel(label: string): string {
  return LABEL_NAME.test(label) ? label : promqlString(label);
}
