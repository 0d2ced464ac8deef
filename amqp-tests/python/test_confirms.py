"""Confirms and mandatory returns through pika (behaviours 119, 120, 122, 133-137)."""

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, UnroutableError


def test_a_confirmed_message_is_in_its_queue(channel, queue):
    channel.confirm_delivery()
    for number in range(100):
        channel.basic_publish("", queue, str(number).encode(), mandatory=True)
    assert channel.queue_declare(queue, passive=True).method.message_count == 100


def test_a_mandatory_message_without_a_route_is_returned(channel, unique):
    channel.confirm_delivery()
    properties = pika.BasicProperties(message_id="id", headers={"h": 1})
    key = unique("nobody")
    with pytest.raises(UnroutableError) as error:
        channel.basic_publish("amq.direct", key, b"back", properties, mandatory=True)
    (message,) = error.value.messages
    assert (message.method.reply_code, message.method.reply_text) == (312, "NO_ROUTE")
    assert (message.method.exchange, message.method.routing_key) == ("amq.direct", key)
    assert (message.body, message.properties.message_id, message.properties.headers) == (b"back", "id", {"h": 1})


def test_an_unroutable_message_that_is_not_mandatory_is_confirmed(channel, unique):
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", unique("nobody"), b"dropped")


def test_returns_without_confirms_come_to_the_callback(connection, channel, unique, soon):
    returned = []
    channel.add_on_return_callback(lambda _channel, method, _properties, body: returned.append((method, body)))
    channel.basic_publish("", unique("nobody"), b"back", mandatory=True)
    soon(lambda: returned or None)
    assert (returned[0][0].reply_code, returned[0][1]) == (312, b"back")


def test_a_missing_exchange_closes_the_channel_instead_of_confirming(connection, channel, unique):
    channel.confirm_delivery()
    exchange = unique("missing")
    with pytest.raises(ChannelClosedByBroker) as error:
        channel.basic_publish(exchange, "k", b"m")
    assert error.value.reply_code == 404
    assert error.value.reply_text == f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"
    assert connection.channel().is_open


def test_persistent_messages_to_a_durable_queue_are_confirmed(channel, unique):
    name = unique("durable")
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    for number in range(50):
        channel.basic_publish("", name, str(number).encode(), pika.BasicProperties(delivery_mode=2))
    got = [channel.basic_get(name, auto_ack=True)[2] for _ in range(50)]
    assert got == [str(number).encode() for number in range(50)]
    channel.queue_delete(name)
