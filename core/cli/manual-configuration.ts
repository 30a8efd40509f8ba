import { heading, item, markdown, paragraph, subheading, verbatim } from './manual-roff.js';

/** The headings of docs/configuration.md that describe the format. */
const SECTIONS = ['Keys', 'Values from the environment', 'Secrets', 'YAML', 'Metrics files'];

/** The table of exit codes of docs/cli.md. */
export function exitCodeItems(commandLine: string): readonly string[] {
  return rowsBelow(commandLine, 'Exit codes').map(([code = '', meaning = '', who = '']) =>
    item(markdown(`**${code}**`), markdown(who === '' ? meaning : `${meaning} (${who})`)),
  );
}

/** The page of the configuration, from docs/configuration.md. */
export function configurationSections(text: string): readonly string[] {
  return [
    heading('Description'),
    ...blocks(introduction(text)),
    ...SECTIONS.flatMap((name) => [heading(name), ...blocks(sectionOf(text, name))]),
  ];
}

function introduction(text: string): string {
  return text.replace(/^# .*\n/, '').replace(/^## [\s\S]*/m, '');
}

function sectionOf(text: string, name: string): string {
  const [, rest = ''] = text.split(new RegExp(`^## ${name}$`, 'm'));
  if (rest === '') throw new Error(`The documentation has no section '${name}', which the man pages need.`);
  return rest.replace(/^## [\s\S]*/m, '');
}

/** Paragraphs, tables, lists and code, in their order. */
function blocks(text: string): readonly string[] {
  const parts = text.split(/(^```[\s\S]*?^```$)/m);
  return parts.flatMap((part) => (part.startsWith('```') ? [codeBlock(part)] : textBlocks(part)));
}

function codeBlock(fenced: string): string {
  return verbatim(fenced.split('\n').slice(1, -1));
}

function textBlocks(text: string): readonly string[] {
  return text
    .split(/\n\s*\n/)
    .map((block) => block.trim())
    .filter((block) => block !== '')
    .flatMap((block) => {
      if (block.startsWith('### ')) return [subheading(block.slice(4))];
      if (block.startsWith('|')) return tableItems(block);
      if (block.startsWith('- ')) return block.split(/^- /m).filter(Boolean).map(listItem);
      return [paragraph(markdown(oneLine(block)))];
    });
}

function listItem(text: string): string {
  return `.IP \\(bu 2\n${markdown(oneLine(text))}`;
}

/** Key, default, meaning; or key and meaning. */
function tableItems(table: string): readonly string[] {
  return rows(table).map((cells) => {
    const [key = '', ...others] = cells;
    const meaning = others.at(-1) ?? '';
    const standard = others.length > 1 ? others[0]! : '–';
    const first =
      standard === '–' ? '' : standard.includes('required') ? 'Required. ' : `Default: ${standard}. `;
    return item(markdown(key), markdown(`${first}${meaning.replace(/([^.])$/, '$1.')}`));
  });
}

function rowsBelow(text: string, name: string): readonly (readonly string[])[] {
  const table = sectionOf(text, name)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return rows(table.join('\n'));
}

/** Cells of the rows below the head. */
function rows(table: string): readonly (readonly string[])[] {
  return table
    .split('\n')
    .slice(2)
    .map((line) =>
      line
        .replace(/^\||\|$/g, '')
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ');
}
