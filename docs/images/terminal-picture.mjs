// Draws the captured output of a terminal as a picture: `node docs/images/terminal-picture.mjs`. The texts beside it are what
// `tmux capture-pane -p` gave of a terminal of 116 columns.
import { readFileSync, writeFileSync } from 'node:fs';

const SCREENS = [
  { title: 'rating this machine', file: 'terminal-up.txt' },
  { title: 'what it costs, and why', file: 'terminal-summary.txt' },
];
const COLUMNS = 116;
const CELL = { width: 8.4, height: 19 };
const MARGIN = 18;
const BAR = 30;
const WIDTH = COLUMNS * CELL.width + 2 * MARGIN;

function escaped(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function colourOf(line) {
  if (line.startsWith('$ ')) return '#e6edf3';
  if (line.startsWith('> ')) return '#8b949e';
  return '#c9d1d9';
}

/** `textLength` keeps columns in line whatever monospaced font the reader has. */
function textLine(line, y) {
  if (line === '') return '';
  const indent = line.length - line.trimStart().length;
  const text = line.trimStart();
  const x = MARGIN + indent * CELL.width;
  const length = (text.length * CELL.width).toFixed(1);
  const weight = line.startsWith('$ ') ? ' font-weight="bold"' : '';
  return `<text x="${x.toFixed(1)}" y="${y}" textLength="${length}" lengthAdjust="spacingAndGlyphs" fill="${colourOf(line)}"${weight} xml:space="preserve">${escaped(text)}</text>\n`;
}

function screen({ title, file }, top) {
  const lines = readFileSync(new URL(file, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n');
  const height = BAR + lines.length * CELL.height + 2 * MARGIN;
  const dots = ['#ff5f57', '#febc2e', '#28c840']
    .map((fill, index) => `<circle cx="${MARGIN + 4 + index * 18}" cy="${top + 15}" r="5.5" fill="${fill}"/>`)
    .join('');
  const rows = lines.map((line, index) => textLine(line, top + BAR + MARGIN + 8 + index * CELL.height));
  return {
    bottom: top + height,
    drawing: `<rect x="0.5" y="${top + 0.5}" width="${WIDTH - 1}" height="${height - 1}" rx="8" fill="#0d1117" stroke="#30363d"/>
${dots}<text x="${WIDTH / 2}" y="${top + 20}" text-anchor="middle" fill="#8b949e">${title}</text>
${rows.join('')}`,
  };
}

let top = 0;
const drawings = SCREENS.map((one) => {
  const { bottom, drawing } = screen(one, top);
  top = bottom + 14;
  return drawing;
});
const height = top - 14;
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Two terminals: npm start rates this machine every ten seconds; ratecat summary and ratecat explain show the prices" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">
${drawings.join('\n')}</svg>
`;
writeFileSync(new URL('terminal.svg', import.meta.url), svg);
