/** Values by name; a name whose value only a shell could tell has the reason instead. */
export interface OpenrcVariables {
  readonly values: ReadonlyMap<string, string>;
  readonly unknown: ReadonlyMap<string, string>;
}

type Environment = Readonly<Record<string, string | undefined>>;

interface Word {
  /** Undefined when only a shell could tell. */
  readonly text: string | undefined;
  readonly rest: string;
  readonly problem: string;
}

/** Where a command begins: words that only stand there are of the shell. */
const BEGINS = String.raw`(?:^|[;&|(]|\b(?:then|else|do)\b)\s*`;
const OPENS = new RegExp(String.raw`${BEGINS}(?:if|for|while|until|case)(?=\s)|\{\s*$`, 'g');
const CLOSES = new RegExp(String.raw`${BEGINS}(?:fi|done|esac)(?=$|[;\s])|^\s*\}`, 'g');
/** Escaped characters, quoted text, comments. */
const NOT_BARE = /\\.|'[^']*'?|"(?:\\.|[^"\\])*"?|(?<=^|[\s;])#.*$/g;

/**
 * Reads the assignments of a shell file as data: nothing is run. `$NAME` stands for an assignment above it, or for a variable
 * of the environment. Everything that is no assignment is passed over.
 */
export function parseOpenrc(text: string, environment: Environment): OpenrcVariables {
  const values = new Map<string, string>();
  const unknown = new Map<string, string>();
  const lookUp = (name: string) => values.get(name) ?? (unknown.has(name) ? undefined : environment[name]);
  let depth = 0;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const inside = depth > 0;
    const bare = line.replace(NOT_BARE, (piece) => (piece.startsWith('#') ? '' : '_'));
    depth = Math.max(0, depth + count(bare, OPENS) - count(bare, CLOSES));
    for (const name of unsetNames(line)) {
      values.delete(name);
      unknown.delete(name);
    }
    for (const { name, value, problem } of assignments(line, lookUp)) {
      values.delete(name);
      unknown.delete(name);
      const why = inside ? 'stands in a condition or loop, which is not run' : problem;
      if (value === undefined || inside) unknown.set(name, `line ${index + 1}: ${name} ${why}`);
      else values.set(name, value);
    }
  }
  return { values, unknown };
}

function count(line: string, pattern: RegExp): number {
  return [...line.matchAll(pattern)].length;
}

function unsetNames(line: string): readonly string[] {
  const names = /^\s*unset\s+([\w\s]+?)\s*(?:[;#].*)?$/.exec(line)?.[1];
  return names?.split(/\s+/) ?? [];
}

interface Assignment {
  readonly name: string;
  readonly value: string | undefined;
  readonly problem: string;
}

/** `export A=1 B=2`, `A=1; B=2`. `A=1 command` sets A for the command alone, so it is none. */
function assignments(line: string, lookUp: (name: string) => string | undefined): readonly Assignment[] {
  const found: Assignment[] = [];
  let rest = line;
  for (;;) {
    const exported = /^\s*(?:export|declare\s+-x)\s+/.exec(rest);
    rest = rest.slice(exported?.[0].length ?? 0);
    const group: Assignment[] = [];
    for (let match = ASSIGNED.exec(rest); match !== null; match = ASSIGNED.exec(rest)) {
      const word = readWord(rest.slice(match[0].length), lookUp);
      group.push({ name: match[1]!, value: word.text, problem: word.problem });
      rest = word.rest;
    }
    const ended = /^\s*(?:$|#|;)/.exec(rest);
    if (ended !== null || exported !== null) found.push(...group);
    if (ended === null || !ended[0].endsWith(';')) return found;
    rest = rest.slice(ended[0].length);
  }
}

const ASSIGNED = /^\s*([A-Za-z_]\w*)=/;
const WORD_ENDS = /^[\s;&|<>()]/;
const COMPUTED = 'is computed by a command, which is not run';

/** One word with its quotes taken away. */
function readWord(source: string, lookUp: (name: string) => string | undefined): Word {
  let text: string | undefined = '';
  let problem = '';
  let rest = source;
  let quoted = false;
  const add = (piece: string | undefined, why: string) => {
    if (piece === undefined && problem === '') problem = why;
    text = text === undefined || piece === undefined ? undefined : text + piece;
  };
  if (/^~(?=\/|$|\s)/.test(rest)) {
    add(lookUp('HOME'), 'needs HOME, which is not set');
    rest = rest.slice(1);
  }
  while (rest !== '' && (quoted || !WORD_ENDS.test(rest))) {
    const next = rest[0]!;
    if (next === '"') {
      quoted = !quoted;
      rest = rest.slice(1);
    } else if (next === "'" && !quoted) {
      const end = rest.indexOf("'", 1);
      if (end < 0) return { text: undefined, rest: '', problem: 'has a quote that does not end on its line' };
      add(rest.slice(1, end), '');
      rest = rest.slice(end + 1);
    } else if (next === '\\') {
      if (rest.length === 1) return { text: undefined, rest: '', problem: 'goes on on the next line' };
      add(quoted && !/["$`\\]/.test(rest[1]!) ? rest.slice(0, 2) : rest[1], '');
      rest = rest.slice(2);
    } else if (next === '`' || next === '$') {
      const reference = /^\$(?:(\w+)|\{(\w+)\})/.exec(rest);
      if (reference === null && /^\$(?=[\s"]|$)/.test(rest)) {
        add('$', '');
        rest = rest.slice(1);
        continue;
      }
      // Where the command ends is for a shell to say, so what follows on the line is unknown too.
      if (reference === null) return { text: undefined, rest: '', problem: COMPUTED };
      const name = reference[1] ?? reference[2]!;
      add(lookUp(name), `refers to $${name}, which is not set`);
      rest = rest.slice(reference[0].length);
    } else {
      add(next, '');
      rest = rest.slice(1);
    }
  }
  if (quoted) return { text: undefined, rest: '', problem: 'has a quote that does not end on its line' };
  return { text, rest, problem };
}
