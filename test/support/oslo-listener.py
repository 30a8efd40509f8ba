"""Listens like any OpenStack service: prints each notification as one line of JSON, until its standard input ends.

Arguments: transport URL, exchange, topic.
"""
import json
import sys
import threading

import oslo_messaging
from oslo_config import cfg

transport_url, exchange, topic = sys.argv[1:]
lock = threading.Lock()


class Endpoint:
    def _tell(self, priority, context, publisher_id, event_type, payload, metadata):
        line = {
            'priority': priority,
            'publisher_id': publisher_id,
            'event_type': event_type,
            'payload': payload,
            'metadata': metadata,
        }
        with lock:
            print(json.dumps(line), flush=True)

    def info(self, *arguments):
        self._tell('info', *arguments)

    def warn(self, *arguments):
        self._tell('warn', *arguments)

    def error(self, *arguments):
        self._tell('error', *arguments)


configuration = cfg.ConfigOpts()
configuration([])
transport = oslo_messaging.get_notification_transport(configuration, url=transport_url)
configuration.set_override('amqp_durable_queues', True, group='oslo_messaging_rabbit')
listener = oslo_messaging.get_notification_listener(
    transport,
    [oslo_messaging.Target(topic=topic, exchange=exchange)],
    [Endpoint()],
    executor='threading',
)
# One thread: several hand messages over in no order.
listener.start(override_pool_size=1)
sys.stdin.read()
listener.stop()
listener.wait()
