/** Characters that roff takes for something else, or that a terminal would show as typographic signs. */
const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\e',
  "'": '\\(aq',
  '"': '\\(dq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
};

/** Running text, as one line of roff. Words that begin with a hyphen are options, whose hyphens can be copied from the page. */
export function prose(text: string): string {
  const words = text.trim().split(/\s+/);
  return guarded(words.map((word) => escaped(word, /^[^\p{L}\p{N}]*-/u.test(word))).join(' '));
}

/** Text that is shown, and can be copied, as it is. */
export function literal(text: string): string {
  return guarded(escaped(text, true));
}

export function bold(text: string): string {
  return text === '' ? '' : `\\fB${escaped(text, true)}\\fR`;
}

/** Prose of Markdown: code and strong text become bold, links keep their words. */
export function markdown(text: string): string {
  const plain = text.replace(/\[((?:`[^`]*`|[^\]])*)\]\([^)]*\)/g, '$1').replace(/\\([|_*])/g, '$1');
  const parts = plain.split(/(`[^`]+`|\*\*[^*]+\*\*)/);
  const line = parts.map((part, index) =>
    index % 2 === 1 ? bold(part.replace(/^(`|\*\*)(.*)\1$/, '$2')) : spaced(part),
  );
  return guarded(line.join('').trim());
}

const LONGEST_LINE = 78;

/** The lines of a page: text folded, no paragraph begun where a heading begins one, no words broken at the margin. */
export function layout(head: string, parts: readonly string[]): string {
  const lines = parts.join('\n').split('\n');
  let isVerbatim = false;
  const laidOut = lines.flatMap((line, index) => {
    if (line === '.nf' || line === '.fi') isVerbatim = line === '.nf';
    if (line === '.PP' && /^\.S[HS] /.test(lines[index - 1] ?? '')) return [];
    return isVerbatim || line.startsWith('.') ? [line] : folded(line);
  });
  return `${[head, '.nh', '.ad l', ...laidOut].join('\n')}\n`;
}

function folded(line: string): readonly string[] {
  const lines: string[] = [];
  for (const word of line.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < LONGEST_LINE)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.map(guarded);
}

/** The first line of a page. */
export function title(page: {
  readonly name: string;
  readonly section: number;
  readonly date: string;
  readonly source: string;
  readonly manual: string;
}): string {
  const { name, section, date, source, manual } = page;
  return `.TH ${argument(name.toUpperCase())} ${section} ${date} ${argument(source)} ${argument(manual)}`;
}

export function heading(text: string): string {
  return `.SH ${argument(text.toUpperCase())}`;
}

export function subheading(text: string): string {
  return `.SS ${argument(text)}`;
}

/** A term with its meaning below, indented. Both are roff already. */
export function item(term: string, meaning: string): string {
  return `.TP\n${guarded(term)}\n${meaning}`;
}

export function paragraph(line: string): string {
  return `.PP\n${line}`;
}

/** Lines that keep their breaks and blanks. */
export function verbatim(lines: readonly string[]): string {
  return ['.PP', '.nf', '.RS 4', ...lines.map(literal), '.RE', '.fi'].join('\n');
}

/** Keeps blanks at both ends, which join the parts of a line. */
function spaced(text: string): string {
  return text
    .split(/(\s+)/)
    .map((word) => (/^\s+$/.test(word) ? ' ' : escaped(word, /^[^\p{L}\p{N}]*-/u.test(word))))
    .join('');
}

function escaped(text: string, hyphensToo: boolean): string {
  const signs = text.replace(/[\\'"`^~]/g, (sign) => ESCAPES[sign]!);
  const hyphens = hyphensToo ? signs.replace(/-/g, '\\-') : signs;
  return hyphens.replace(/\P{ASCII}/gu, (letter) => `\\[u${hexadecimal(letter)}]`);
}

function hexadecimal(letter: string): string {
  return letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
}

/** A line that begins like a request is text all the same. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function argument(text: string): string {
  return `"${escaped(text, true)}"`;
}
