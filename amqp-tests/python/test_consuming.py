"""Consuming, acknowledging and rejecting through pika (behaviours 147-182)."""

import os

import pika


def test_consume_and_ack_takes_messages_in_order(channel, queue):
    for number in range(20):
        channel.basic_publish("", queue, str(number).encode())
    channel.basic_qos(prefetch_count=3)
    got = []
    for method, _properties, body in channel.consume(queue, inactivity_timeout=20):
        assert method and not method.redelivered
        got.append(int(body))
        channel.basic_ack(method.delivery_tag)
        if len(got) == 20:
            break
    assert got == list(range(20))
    assert channel.cancel() == 0
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_nack_brings_a_message_back_marked(channel, queue):
    channel.basic_publish("", queue, b"m")
    times = 0
    for method, _properties, _body in channel.consume(queue, inactivity_timeout=20):
        assert method.redelivered == (times > 0)
        times += 1
        if times == 3:
            channel.basic_ack(method.delivery_tag)
            break
        channel.basic_nack(method.delivery_tag, requeue=True)
    channel.cancel()
    assert channel.basic_get(queue) == (None, None, None)


def test_reject_and_nack_without_requeue_drop(channel, queue, fetch):
    for _ in range(3):
        channel.basic_publish("", queue, b"m")
    channel.basic_reject(fetch(queue, auto_ack=False)[0].delivery_tag, requeue=False)
    fetch(queue, auto_ack=False)
    channel.basic_nack(fetch(queue, auto_ack=False)[0].delivery_tag, multiple=True, requeue=False)
    assert channel.basic_get(queue) == (None, None, None)


def test_a_rejected_message_is_dead_lettered(channel, unique, queue, fetch):
    source = unique()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    channel.queue_declare(source, exclusive=True, arguments=arguments)
    channel.basic_publish("", source, b"m", pika.BasicProperties(headers={"mine": 1}))
    channel.basic_reject(fetch(source, auto_ack=False)[0].delivery_tag, requeue=False)
    _method, properties, body = fetch(queue)
    death = properties.headers["x-death"][0]
    assert (body, properties.headers["mine"]) == (b"m", 1)
    assert (death["reason"], death["queue"], death["count"]) == ("rejected", source, 1)


def test_multiple_acks_cover_all_before(connection, channel, queue, fetch):
    for number in range(5):
        channel.basic_publish("", queue, str(number).encode())
    tags = [fetch(queue, auto_ack=False)[0].delivery_tag for _ in range(4)]
    channel.basic_ack(tags[2], multiple=True)
    channel.basic_recover(requeue=True)
    again, _, body = fetch(queue)
    assert (again.redelivered, body) == (True, b"3")
    assert fetch(queue)[2] == b"4"


def test_a_closed_channel_gives_its_messages_back(connection, channel, queue, fetch):
    channel.basic_publish("", queue, b"held")
    other = connection.channel()
    method, _, _ = other.basic_get(queue)
    assert method and not method.redelivered
    other.close()
    method, _, body = fetch(queue)
    assert (method.redelivered, body) == (True, b"held")


def test_a_deleted_queue_cancels_its_consumer(connection, channel, queue, soon):
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    connection.channel().queue_delete(queue)
    soon(lambda: cancelled or None)
    assert cancelled == [tag]


def test_all_properties_and_header_types_pass(channel, queue, fetch):
    headers = {"i": 1, "l": 2**40, "b": True, "s": "ü", "x": b"\x00\xff", "n": None, "t": {"a": [1, "two", {"d": 1}]}}
    properties = pika.BasicProperties(
        content_type="a/b",
        content_encoding="gzip",
        headers=headers,
        delivery_mode=2,
        priority=5,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
    )
    channel.basic_publish("", queue, b"m", properties)
    got = fetch(queue)[1]
    assert got == properties


def test_large_bodies_come_back_whole(channel, queue, fetch):
    for size in (0, 131064, 131065, 5_000_000):
        body = os.urandom(size)
        channel.basic_publish("", queue, body)
        assert fetch(queue)[2] == body
