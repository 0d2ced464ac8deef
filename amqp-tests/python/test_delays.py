"""The delay example: a durable delay queue whose expired messages move on (behaviours 186, 188, 191-196)."""

import time

import pika
import pytest

LATE_MAX_S = 0.1
GRAIN_S = 0.002  # clocks are read in milliseconds on both sides


def run(channel, unique, delays_ms):
    """Publishes with these delays; gives how late the latest came. None may be early."""
    exchange, delay, target = unique("x"), unique("delay"), unique("target")
    channel.exchange_declare(exchange, "direct", durable=True)
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "due"}
    channel.queue_declare(delay, durable=True, arguments=arguments)
    channel.queue_declare(target, durable=True)
    channel.queue_bind(delay, exchange, "wait")
    channel.queue_bind(target, exchange, "due")
    sent = []
    for number, delay_ms in enumerate(delays_ms):
        before = time.monotonic()
        properties = pika.BasicProperties(delivery_mode=2, expiration=str(delay_ms))
        channel.basic_publish(exchange, "wait", str(number).encode(), properties, mandatory=True)
        sent.append((before, time.monotonic()))
    late_s, arrived = 0.0, []
    for method, properties, body in channel.consume(target, inactivity_timeout=20):
        assert method, f"only {len(arrived)} of {len(sent)} came"
        now, number = time.monotonic(), int(body)
        before, after = sent[number]
        delay_ms = delays_ms[number]
        assert now - before + GRAIN_S >= delay_ms / 1000, f"{number} is early"
        late_s = max(late_s, now - after - delay_ms / 1000)
        check_death(method, properties, exchange, delay, delay_ms)
        channel.basic_ack(method.delivery_tag)
        arrived.append(number)
        if len(arrived) == len(sent):
            break
    channel.cancel()
    assert sorted(arrived) == list(range(len(sent)))
    channel.queue_delete(delay)
    channel.queue_delete(target)
    channel.exchange_delete(exchange)
    return late_s


def check_death(method, properties, exchange, delay, delay_ms):
    assert (method.exchange, method.routing_key, method.redelivered) == (exchange, "due", False)
    assert (properties.expiration, properties.delivery_mode) == (None, 2)
    (death,) = properties.headers["x-death"]
    assert death.pop("time")
    assert death == {
        "count": 1,
        "reason": "expired",
        "queue": delay,
        "exchange": exchange,
        "routing-keys": ["wait"],
        "original-expiration": str(delay_ms),
    }
    assert properties.headers["x-first-death-queue"] == delay
    assert properties.headers["x-first-death-reason"] == "expired"
    assert properties.headers["x-first-death-exchange"] == exchange


@pytest.mark.parametrize(
    "delays_ms", [[1500, 300, 900, 100, 600, 1200, 300, 2000, 50, 700], [400] * 10], ids=["mixed", "equal"]
)
def test_each_delayed_message_comes_at_its_time(channel, unique, delays_ms):
    channel.confirm_delivery()
    late_s = []
    for _ in range(3):  # on a busy machine one run may be late, the broker may not be
        late_s.append(run(channel, unique, delays_ms))
        if late_s[-1] <= LATE_MAX_S:
            return
    raise AssertionError(f"late by {late_s} seconds")
