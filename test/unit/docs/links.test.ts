import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

function pages(): readonly string[] {
  const below = (folder: string) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
  const top = readdirSync(root);
  return [...top, ...below('docs'), ...below('examples')].filter(
    (name) => name.endsWith('.md') && !name.includes('node_modules'),
  );
}

function withoutCode(text: string): string {
  return text.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, '·'));
}

/** Anchors as GitHub makes them of headings. */
function anchors(file: string): ReadonlySet<string> {
  const headings = [...withoutFences(readFileSync(file, 'utf8')).matchAll(/^#+ +(.*)$/gm)];
  return new Set(
    headings.map((match) =>
      match[1]!
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replace(/\s/g, '-'),
    ),
  );
}

function withoutFences(text: string): string {
  return text.replace(/^```.*?^```/gms, '');
}

/** Relative targets of links and pictures, in Markdown and in HTML. */
function targets(page: string): readonly string[] {
  const text = withoutCode(readFileSync(join(root, page), 'utf8'));
  const found = [...text.matchAll(/\]\(([^)\s]+)(?:\s[^)]*)?\)|(?:src|href)="([^"]+)"/g)];
  return found.map((match) => match[1] ?? match[2]!).filter((target) => !/^[a-z]+:/i.test(target));
}

function problemOf(page: string, target: string): string | undefined {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? join(root, page) : join(root, dirname(page), path);
  if (!existsSync(file)) return `${page}: ${target} does not exist`;
  if (relative(root, file).startsWith('..')) return `${page}: ${target} leaves the project`;
  if (anchor === undefined || !file.endsWith('.md')) return undefined;
  return anchors(file).has(decodeURIComponent(anchor)) ? undefined : `${page}: ${target} has no such heading`;
}

test('every relative link of README and docs leads to a file, and to a heading that exists', () => {
  const problems = pages().flatMap((page) =>
    targets(page).flatMap((target) => problemOf(page, target) ?? []),
  );
  assert.deepEqual(problems, []);
});

test('a link to nowhere is found', () => {
  assert.match(problemOf('README.md', 'docs/no-such-page.md') ?? '', /does not exist/);
  assert.match(problemOf('README.md', 'docs/errors.md#no-such-heading') ?? '', /no such heading/);
});

test('every page of the documentation is reachable from README.md', () => {
  const reached = new Set<string>();
  const visit = (page: string) => {
    if (reached.has(page)) return;
    reached.add(page);
    for (const target of targets(page)) {
      const path = target.split('#')[0]!;
      if (path.endsWith('.md') && existsSync(join(root, dirname(page), path)))
        visit(join(dirname(page), path));
    }
  };
  visit('README.md');
  const lost = pages().filter((page) => page.startsWith('docs/') && !reached.has(page));
  assert.deepEqual(lost, []);
});
