import type { Notification } from '../../core/plugin-api/index.js';

/** Events by scope, each list in the order of the events. What concerns every scope is a list of its own. */
export function byScope(events: readonly Notification[]): readonly (readonly Notification[])[] {
  const lists = new Map<string, Notification[]>();
  for (const event of events) {
    const { scope } = event;
    const key = scope === undefined ? '' : JSON.stringify([scope.source, scope.key, scope.id]);
    const list = lists.get(key);
    if (list === undefined) lists.set(key, [event]);
    else list.push(event);
  }
  return [...lists.values()];
}
