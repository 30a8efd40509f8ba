/** What there is to be told, by the names that `notifications[].events` and receivers know. */
export const NOTIFICATION_TYPES = [
  'rating.period.committed',
  'rating.scope.stuck',
  'rating.scope.recovered',
  'rating.rules.changed',
  'rating.budget.reached',
] as const;

export type NotificationType = (typeof NOTIFICATION_TYPES)[number];
