"""Sends notifications as nova and cinder do, through oslo.messaging.

Argument: transport URL. Each line of standard input is JSON with exchange, publisher, event, at (UTC, ISO), payload and
perhaps priority.
"""
import datetime
import json
import sys

import oslo_messaging
from oslo_config import cfg
from oslo_utils import timeutils

transports = {}


def notifier(exchange, publisher):
    if exchange not in transports:
        configuration = cfg.ConfigOpts()
        configuration([])
        oslo_messaging.set_transport_defaults(exchange)
        transports[exchange] = oslo_messaging.get_notification_transport(configuration, url=sys.argv[1])
    return oslo_messaging.Notifier(
        transports[exchange], publisher, driver='messagingv2', topics=['notifications']
    )


for line in sys.stdin:
    note = json.loads(line)
    timeutils.set_time_override(datetime.datetime.fromisoformat(note['at']))
    send = getattr(notifier(note['exchange'], note['publisher']), note.get('priority', 'info'))
    send({}, note['event'], note['payload'])
for transport in transports.values():
    transport.cleanup()
