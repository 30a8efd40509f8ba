import { openDatabase } from '../../core/database/open-database.js';
import { Decimal } from '../../core/plugin-api/index.js';

export interface StoredPrice {
  readonly source: string;
  readonly scope: string;
  readonly begin: number;
  readonly metric: string;
  readonly id: string;
  readonly quantity: string;
  readonly price: string;
}

/** Every stored point, read with plain SQL: nothing of the code under test helps to read what it wrote. */
export async function storedPrices(url: string): Promise<readonly StoredPrice[]> {
  const database = await openDatabase(url);
  try {
    const rows = await database.query(
      `SELECT s.source, s.scope_id, f.period_begin, d.metric, d.groupby, p.quantity, p.price
       FROM ratecat_sql_points p JOIN ratecat_sql_frames f ON f.id = p.frame
       JOIN ratecat_sql_scopes s ON s.id = f.scope JOIN ratecat_sql_descriptors d ON d.id = p.descriptor
       ORDER BY f.period_begin, s.scope_id, d.metric, p.ordinal`,
    );
    return rows.map(([source, scope, begin, metric, groupby, quantity, price]) => ({
      source: String(source),
      scope: String(scope),
      begin: Number(begin),
      metric: String(metric),
      id: attribute(String(groupby), 'id'),
      // MySQL pads decimals to the scale of the column.
      quantity: Decimal.parse(String(quantity)).toString(),
      price: Decimal.parse(String(price)).toString(),
    }));
  } catch (error) {
    if (/no such table|doesn't exist/.test(String((error as Error).cause ?? error))) return [];
    throw error;
  } finally {
    await database.close();
  }
}

/** Attributes are stored as one list: name, value, name, value, … */
function attribute(text: string, name: string): string {
  const list = JSON.parse(text) as readonly string[];
  return String(list[list.indexOf(name) + 1]);
}

/** Waits until `count` rows that match are stored; gives all of them. */
export async function waitForPrices(
  url: string,
  count: number,
  matches: (row: StoredPrice) => boolean,
  timeoutMs = 60_000,
): Promise<readonly StoredPrice[]> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = (await storedPrices(url).catch(() => [])).filter(matches);
    if (found.length >= count) return found;
    if (Date.now() > deadline) throw new Error(`only ${found.length} of ${count} rows were stored in time`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
