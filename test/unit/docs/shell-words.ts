/** A simple command: its words, quotes taken away. */
export type Call = readonly string[];

const TOKEN =
  /\s+|#.*$|\d*(?:>>|>&|<<<|[<>])&?|&&|\|\||[|;&()]|(?:'[^']*'|"(?:\\.|[^"\\])*"|\$\([^()]*\)|\\.|[^\s'"\\|;&()<>])+/gy;

/** The simple commands of one line of a shell. Enough for documentation; here-documents and nesting are not understood. */
export function shellCalls(line: string): readonly Call[] {
  const calls: string[][] = [[]];
  let isTarget = false;
  for (const [token] of line.matchAll(TOKEN)) {
    if (/^\s/.test(token)) continue;
    if (token.startsWith('#')) break;
    if (/^(&&|\|\||[|;&()])$/.test(token)) calls.push([]);
    else if (/^\d*(>>|>&|<<<|[<>])&?$/.test(token)) isTarget = true;
    else if (isTarget) isTarget = false;
    else calls.at(-1)!.push(unquoted(token));
  }
  return calls.filter((call) => call.length > 0);
}

function unquoted(word: string): string {
  return word.replace(
    /'([^']*)'|"((?:\\.|[^"\\])*)"/g,
    (_, single?: string, double?: string) => single ?? double!.replace(/\\(.)/g, '$1'),
  );
}
