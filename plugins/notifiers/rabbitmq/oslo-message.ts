import type { Notification } from '../../../core/plugin-api/index.js';

/**
 * The body of a message in the format of oslo.messaging's driver `messagingv2`: an envelope of version 2.0 around the JSON
 * text of the notification (spec: oslo.messaging, "Notification Driver"). Its listeners drop a message whose `_unique_id`
 * they have just seen, so one that is handed over twice mostly arrives once.
 */
export function osloMessage(event: Notification, publisherId: string): string {
  const message = {
    _unique_id: event.id.replaceAll('-', ''),
    message_id: event.id,
    publisher_id: publisherId,
    event_type: event.type,
    priority: event.severity.toUpperCase(),
    timestamp: osloTimestamp(event.at),
    payload: { ...event.payload, ...(event.scope === undefined ? {} : { scope: event.scope }) },
  };
  return JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) });
}

/** UTC as Python prints it: `2025-01-01 00:00:00.123000`. */
function osloTimestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().replace('T', ' ').slice(0, -1)}000`;
}
