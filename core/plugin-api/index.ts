export {
  Attributes,
  type AttributeValue,
  canonicalJson,
  compareText,
  isDecimal,
} from './attributes.js';
export * from './contract.js';
export type {
  BulkInsert,
  ConflictRule,
  Migration,
  SqlDatabase,
  SqlDialect,
  SqlReader,
  SqlResult,
  SqlRow,
  SqlTransaction,
  SqlValue,
} from './database.js';
export {
  Decimal,
  divideRounded,
  type RoundingMode,
  SIGNIFICANT_DIGITS,
  STORED_INTEGER_DIGITS,
  STORED_PLACES,
} from './decimal.js';
export * from './errors.js';
export * from './model.js';
export type { JsonValue, Schema, SchemaIssue, SchemaResult } from './schema.js';
export { eachInSlices, mapInSlices, Slice } from './slice.js';
