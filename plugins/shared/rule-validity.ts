/** What may happen to a rule before, while and after it is in force; the same for mappings and scripts. */
import type { Instant } from '../../core/plugin-api/index.js';
import { badRequest } from './config-call.js';
import { spacedDate } from './rule-dates.js';

export function checkNotPast(start: Instant | undefined, now: Instant): void {
  if (start === undefined || start >= now) return;
  const dates = `start=[${spacedDate(start)}] current time=[${spacedDate(now)}]`;
  throw badRequest(`Cannot create a rule with start in the past. ${dates}.`);
}

export function checkOrder(start: Instant, end: Instant | null): void {
  if (end === null || end >= start) return;
  const dates = `start=[${spacedDate(start)}] end=[${spacedDate(end)}]`;
  throw badRequest(`Cannot create a rule with start after end. ${dates}.`);
}

/**
 * A rule that has rated periods may only end. Gives the new end, or undefined when it is as requested already: clients repeat
 * a change, and the repetition must not be an error.
 */
export function endOfRunning(
  stored: { readonly start: Instant; readonly end: Instant | null },
  requested: { readonly end: Instant | undefined; readonly differs: boolean },
  now: Instant,
): { readonly end: Instant | null } | undefined {
  const { end, differs } = requested;
  if (!differs && stored.end !== null && end === stored.end) return undefined;
  if (stored.end !== null)
    throw badRequest('Cannot update a rule that was already processed and has a defined end date.');
  if (differs) {
    throw badRequest(
      'You are allowed to update only the attribute [end] as this rule is already running as it started on ' +
        `[${spacedDate(stored.start)}]`,
    );
  }
  if (end !== undefined && end < now) {
    const dates = `end=[${spacedDate(end)}] current time=[${spacedDate(now)}]`;
    throw badRequest(`End date must be in the future. ${dates}`);
  }
  return { end: end ?? null };
}
