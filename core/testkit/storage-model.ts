import {
  type AttributeFilter,
  type AttributeValue,
  type Calendar,
  canonicalJson,
  compareText,
  Decimal,
  type Descriptor,
  describedAttribute,
  type Frame,
  type FrameQuery,
  type GroupKey,
  isDecimal,
  type Period,
  type PointQuery,
  type RatedPoint,
  type StoredFrame,
  type TimeUnit,
  type Total,
  type TotalPage,
  type TotalQuery,
} from '../plugin-api/index.js';

interface Row {
  readonly frame: StoredFrame;
  readonly point: RatedPoint;
}

const UNITS: readonly TimeUnit[] = ['period', 'day', 'week', 'month', 'year'];

/** What a storage should answer, computed in the plainest way. */
export class StorageModel {
  readonly #calendar: Calendar;
  #frames = new Map<string, StoredFrame>();

  constructor(calendar: Calendar) {
    this.#calendar = calendar;
  }

  replace(frame: Frame<RatedPoint>, snapshot: string): void {
    const points = frame.points.map((point) => ({
      ...point,
      quantity: point.quantity.toStored(),
      price: point.price.toStored(),
    }));
    const unit = JSON.stringify([frame.source, frame.scope.key, frame.scope.id, frame.period.begin]);
    this.#frames.set(unit, { ...frame, points, snapshot });
  }

  delete(query: PointQuery): void {
    const isWhole = query.metrics === undefined && (query.filters ?? []).length === 0;
    const matching = new Set(this.#rows(query).map((row) => row.point));
    for (const [unit, frame] of this.#frames) {
      if (!isInRange(frame, query) || !isVisible(frame, query)) continue;
      if (isWhole) this.#frames.delete(unit);
      else this.#frames.set(unit, { ...frame, points: frame.points.filter((point) => !matching.has(point)) });
    }
  }

  read(query: FrameQuery): readonly StoredFrame[] {
    const offset = query.offset ?? 0;
    const page = this.#rows(query).slice(offset, offset + (query.limit ?? Number.POSITIVE_INFINITY));
    const isPlain =
      query.offset === undefined && query.limit === undefined && (query.filters ?? []).length === 0;
    return this.#ordered(query).flatMap((frame) => {
      const points = page.filter((row) => row.frame === frame).map((row) => row.point);
      const gaps = frame.gaps.filter((gap) => query.metrics?.includes(gap.metric) ?? true);
      const isTold = isPlain && (query.metrics === undefined || gaps.length > 0);
      return points.length > 0 || isTold ? [{ ...frame, points, gaps }] : [];
    });
  }

  count(query: PointQuery): number {
    return this.#rows(query).length;
  }

  /** `source key id` of scopes with points, sorted. */
  scopes(query: PointQuery): readonly string[] {
    const names = this.#rows(query).map(
      ({ frame }) => `${frame.source} ${frame.scope.key} ${frame.scope.id}`,
    );
    return [...new Set(names)].sort();
  }

  total(query: TotalQuery): TotalPage {
    const groups = new Map<string, Total>();
    for (const row of this.#rows(query)) {
      const group = query.groupby.map((key) => this.#text(row, key));
      const { begin, end } = this.#slice(row.frame, query);
      const key = JSON.stringify(group);
      const sum = groups.get(key);
      groups.set(key, {
        begin,
        end: Math.max(end, sum?.end ?? end),
        quantity: row.point.quantity.plus(sum?.quantity ?? Decimal.ZERO),
        price: row.point.price.plus(sum?.price ?? Decimal.ZERO),
        points: 1 + (sum?.points ?? 0),
        group,
      });
    }
    const rows = [...groups.values()].sort((left, right) => compareGroups(left.group, right.group));
    const offset = query.offset ?? 0;
    return { total: rows.length, rows: rows.slice(offset, offset + (query.limit ?? rows.length)) };
  }

  #ordered(query: PointQuery): readonly StoredFrame[] {
    return [...this.#frames.values()]
      .filter((frame) => isInRange(frame, query) && isVisible(frame, query))
      .sort(
        (left, right) =>
          left.period.begin - right.period.begin ||
          compareText(left.source, right.source) ||
          compareText(left.scope.key, right.scope.key) ||
          compareText(left.scope.id, right.scope.id),
      );
  }

  #rows(query: PointQuery): readonly Row[] {
    const isMatch = matcher(query);
    return this.#ordered(query).flatMap((frame) =>
      frame.points.filter((point) => isMatch(point.descriptor)).map((point) => ({ frame, point })),
    );
  }

  #text({ frame, point }: Row, key: GroupKey): string {
    if (key.kind === 'type') return point.descriptor.metric;
    if (key.kind === 'scope') return frame.scope.id;
    if (key.kind === 'attribute') return attributeText(describedAttribute(point.descriptor, key.name));
    return new Date(this.#unitSlice(frame, key.unit).begin * 1000).toISOString().replace('.000Z', 'Z');
  }

  #slice(frame: StoredFrame, query: TotalQuery): Period {
    const units = query.groupby.flatMap((key) => (key.kind === 'time' ? [key.unit] : []));
    const finest = UNITS.find((unit) => units.includes(unit));
    return finest === undefined ? query : this.#unitSlice(frame, finest);
  }

  #unitSlice(frame: StoredFrame, unit: TimeUnit): Period {
    return unit === 'period' ? frame.period : this.#calendar.slice(frame.period.begin, unit);
  }
}

function isInRange({ period }: StoredFrame, { begin, end }: PointQuery): boolean {
  return begin <= period.begin && period.begin < end;
}

function isVisible({ source, scope }: StoredFrame, { visible }: PointQuery): boolean {
  if (visible === 'all') return true;
  return visible.some(
    (selector) =>
      (selector.source ?? source) === source && selector.key === scope.key && selector.id === scope.id,
  );
}

function matcher({ metrics, filters = [] }: PointQuery): (descriptor: Descriptor) => boolean {
  const tests = filters.map((filter) => ({ filter, texts: new Set(filter.values) }));
  return (descriptor) =>
    (metrics?.includes(descriptor.metric) ?? true) &&
    tests.every(({ filter, texts }) => texts.has(filteredText(descriptor, filter)));
}

function filteredText(descriptor: Descriptor, { name, in: place }: AttributeFilter): string {
  if (place === 'any') return attributeText(describedAttribute(descriptor, name));
  return attributeText(descriptor[place].get(name));
}

function attributeText(value: AttributeValue | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value;
  return isDecimal(value) ? value.toFixedScale() : canonicalJson(value);
}

function compareGroups(left: readonly string[], right: readonly string[]): number {
  for (let place = 0; place < left.length; place++) {
    const order = compareText(left[place]!, right[place]!);
    if (order !== 0) return order;
  }
  return 0;
}
