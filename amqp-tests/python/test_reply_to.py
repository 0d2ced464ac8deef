"""Requests and replies through pika, without a queue for the replies (behaviours 223, 224)."""

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

REPLY_TO = "amq.rabbitmq.reply-to"


def test_a_request_gets_its_reply(dial, channel, queue, fetch):
    asking, got = dial(), []
    requests = asking.channel()
    requests.basic_consume(REPLY_TO, lambda *reply: got.append(reply[1:]), auto_ack=True)
    properties = pika.BasicProperties(reply_to=REPLY_TO, correlation_id="7")
    requests.basic_publish("", queue, b"2 + 2", properties)
    _method, asked, body = fetch(queue)
    assert (body, asked.correlation_id) == (b"2 + 2", "7")
    assert asked.reply_to.startswith(REPLY_TO + ".")
    channel.confirm_delivery()
    answer = pika.BasicProperties(correlation_id=asked.correlation_id)
    channel.basic_publish("", asked.reply_to, b"4", answer, mandatory=True)
    asking.process_data_events(time_limit=20)
    [(method, properties, body)] = got
    assert (method.exchange, method.routing_key, method.delivery_tag) == ("", asked.reply_to, 1)
    assert (properties.correlation_id, body) == ("7", b"4")


def test_a_request_without_somebody_who_waits_is_refused(channel, queue):
    channel.basic_publish("", queue, b"m", pika.BasicProperties(reply_to=REPLY_TO))
    with pytest.raises(ChannelClosedByBroker) as error:
        channel.queue_declare(queue, passive=True)
    expected = (406, "PRECONDITION_FAILED - fast reply consumer does not exist")
    assert (error.value.reply_code, error.value.reply_text) == expected
