/** Longer names are not compared: the distance costs length × length. */
const COMPARED_CHARACTERS = 64;

/** The candidate that was most likely meant, or undefined when none is close. */
export function nearestKey(key: string, candidates: Iterable<string>): string | undefined {
  const wanted = comparable(key);
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const name of candidates) {
    if (name === key) continue;
    const distance = likeness(wanted, comparable(name));
    if (distance !== undefined && (best === undefined || distance < best.distance)) best = { name, distance };
  }
  return best?.name;
}

/** «did you mean 'wait_periods'?», or undefined. */
export function didYouMean(key: string, candidates: Iterable<string>): string | undefined {
  const nearest = nearestKey(key, candidates);
  return nearest === undefined ? undefined : `did you mean '${nearest}'?`;
}

/** waitPeriods, wait-periods and Wait_Periods are the same slip. Invisible characters are dropped. */
function comparable(name: string): string {
  return name
    .replace(/[\p{Cc}\p{Cf}\s]/gu, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[-. ]/g, '_')
    .toLowerCase()
    .slice(0, COMPARED_CHARACTERS);
}

/** Edit distance when it is small for the length; a whole word of the candidate counts as two slips. */
function likeness(wanted: string, name: string): number | undefined {
  const distance = editDistance(wanted, name);
  const allowed = Math.min(3, Math.max(1, Math.floor(Math.max(wanted.length, name.length) / 3)));
  if (distance <= allowed) return distance;
  const shares = wanted.length >= 3 && (`_${name}_`.includes(`_${wanted}_`) || name.startsWith(wanted));
  return shares ? allowed + 1 : undefined;
}

/** Insertions, deletions, replacements and swaps of neighbours. */
export function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const row = [i];
    for (let j = 1; j <= right.length; j++) {
      const same = left[i - 1] === right[j - 1] ? 0 : 1;
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[right.length]!;
}
