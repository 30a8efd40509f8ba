/** Up to this size a body is sent whole: the caller learns of a failure by the status, and of the length beforehand. */
const WHOLE_UP_TO = 256 * 1024;

/** A body that comes in parts: as one text when it is short. Of a long one that is not sent (HEAD), nothing is made. */
export async function bodyInParts(
  parts: AsyncGenerator<string, void, void>,
  method: string,
): Promise<string | AsyncIterable<string>> {
  let begin = '';
  while (begin.length < WHOLE_UP_TO) {
    const next = await parts.next();
    if (next.done === true) return begin;
    begin += next.value;
  }
  if (method === 'HEAD') {
    await parts.return();
    return '';
  }
  return continued(begin, parts);
}

async function* continued(
  begin: string,
  rest: AsyncGenerator<string, void, void>,
): AsyncGenerator<string, void, void> {
  yield begin;
  yield* rest;
}
