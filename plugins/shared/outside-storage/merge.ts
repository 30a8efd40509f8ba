/** Two ordered sequences as one; of equal items that of `left` comes first. */
export async function* merge<T>(
  left: AsyncIterable<T>,
  right: AsyncIterable<T>,
  compare: (left: T, right: T) => number,
): AsyncGenerator<T> {
  const lefts = left[Symbol.asyncIterator]();
  const rights = right[Symbol.asyncIterator]();
  try {
    let one = await lefts.next();
    let other = await rights.next();
    while (one.done !== true || other.done !== true) {
      if (other.done === true || (one.done !== true && compare(one.value, other.value) <= 0)) {
        if (one.done === true) return;
        yield one.value;
        one = await lefts.next();
      } else {
        yield other.value;
        other = await rights.next();
      }
    }
  } finally {
    await lefts.return?.();
    await rights.return?.();
  }
}
