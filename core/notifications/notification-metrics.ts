/** What becomes of events; the daemon turns it into metrics. Never blocks, never throws. */
export interface NotificationMetrics {
  /** Events that a receiver confirmed. */
  delivered(notifier: string, events: number): void;
  deliveryFailed(notifier: string, code: string): void;
  /** Events that will not be delivered: the receiver refused them, or was away for longer than they are kept. */
  lost(notifier: string, why: 'refused' | 'overflow', events: number): void;
  /** Events that wait. */
  waiting(notifier: string, events: number): void;
}

export const noNotificationMetrics: NotificationMetrics = {
  delivered: () => undefined,
  deliveryFailed: () => undefined,
  lost: () => undefined,
  waiting: () => undefined,
};
