import type { CompiledQuery, LogEntry, StreamLabels } from './logql.js';

interface Stream {
  readonly labels: StreamLabels;
  entries: LogEntry[];
  readonly known: Set<string>;
  /** Of all entries that came, as long as the stream is in memory. */
  highest: bigint;
}

export interface DeleteRequest {
  readonly query: CompiledQuery;
  /** Milliseconds, both inclusive. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** The streams of one tenant. */
export class LogStore {
  readonly #streams = new Map<string, Stream>();
  readonly deleteRequests: DeleteRequest[] = [];

  /** The reason why it is not taken. An entry that is there already is dropped without a word. */
  append(labels: StreamLabels, entry: LogEntry, outOfOrderWindow: bigint): string | undefined {
    const key = JSON.stringify(Object.entries(labels).sort());
    const stream = this.#streams.get(key) ?? {
      labels,
      entries: [],
      known: new Set<string>(),
      highest: entry.time,
    };
    this.#streams.set(key, stream);
    if (entry.time < stream.highest - outOfOrderWindow)
      return `entry with timestamp ${entry.time} ignored, reason: 'entry too far behind, oldest acceptable timestamp is: ${stream.highest - outOfOrderWindow}'`;
    if (entry.time > stream.highest) stream.highest = entry.time;
    const identity = `${entry.time} ${entry.line}`;
    if (stream.known.has(identity)) return undefined;
    stream.known.add(identity);
    stream.entries.push(entry);
    return undefined;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Whether a stream with these labels is there. */
  has(labels: StreamLabels): boolean {
    return this.#streams.has(JSON.stringify(Object.entries(labels).sort()));
  }

  /** Matching entries of the range by stream. */
  find(query: CompiledQuery, from: bigint, to: bigint): readonly Stream[] {
    return [...this.#streams.values()]
      .filter(({ labels }) => query.matches(labels))
      .map((stream) => ({
        ...stream,
        entries: stream.entries.filter(({ time, line }) => time >= from && time < to && query.keeps(line)),
      }))
      .filter(({ entries }) => entries.length > 0);
  }

  /** What the compactor does when it gets to it. */
  runDeletions(): void {
    for (const { query, from, to } of this.deleteRequests.splice(0)) {
      for (const stream of this.#streams.values()) {
        if (!query.matches(stream.labels)) continue;
        stream.entries = stream.entries.filter(({ time, line }) => {
          const milliseconds = Number(time / 1_000_000n);
          return milliseconds < from || milliseconds > to || !query.keeps(line);
        });
      }
    }
  }

  /** Removes entries, as retention or another program does. */
  drop(isDropped: (labels: StreamLabels, entry: LogEntry) => boolean): void {
    for (const stream of this.#streams.values())
      stream.entries = stream.entries.filter((entry) => !isDropped(stream.labels, entry));
  }

  /** Every entry with its labels. */
  all(): readonly (LogEntry & { readonly labels: StreamLabels })[] {
    return [...this.#streams.values()].flatMap(({ labels, entries }) =>
      entries.map((entry) => ({ ...entry, labels })),
    );
  }
}
