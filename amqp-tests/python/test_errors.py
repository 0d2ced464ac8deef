"""Errors as pika's exceptions show them (behaviours 8, 18, 68, 70, 78, 92, 96, 121, 123, 150, 165, 175)."""

import pika
import pytest
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)


@pytest.fixture
def refused(connection):
    """Does something on a channel of its own that the broker refuses; gives code and text."""

    def attempt(action):
        channel = connection.channel()
        with pytest.raises(ChannelClosedByBroker) as error:
            action(channel)
            channel.queue_declare("", exclusive=True)  # waits for the error of an asynchronous method
        assert connection.is_open
        return error.value.reply_code, error.value.reply_text

    return attempt


def test_missing_things_are_404(refused, unique):
    name = unique()
    no_queue = (404, f"NOT_FOUND - no queue '{name}' in vhost '/'")
    no_exchange = (404, f"NOT_FOUND - no exchange '{name}' in vhost '/'")
    assert refused(lambda c: c.queue_declare(name, passive=True)) == no_queue
    assert refused(lambda c: c.basic_consume(name, lambda *_: None)) == no_queue
    assert refused(lambda c: c.basic_get(name)) == no_queue
    assert refused(lambda c: c.queue_purge(name)) == no_queue
    assert refused(lambda c: c.exchange_declare(name, passive=True)) == no_exchange
    assert refused(lambda c: c.exchange_bind(name, "amq.direct", "k")) == no_exchange
    assert refused(lambda c: c.basic_publish(name, "k", b"m")) == no_exchange


def test_unlike_declarations_are_406(refused, channel, queue, unique):
    code, text = refused(lambda c: c.queue_declare(queue, exclusive=True, auto_delete=True))
    assert (code, text) == (
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '{queue}' in vhost '/': "
        "received 'true' but current is 'false'",
    )
    code, text = refused(lambda c: c.exchange_declare("amq.direct", "fanout", durable=True))
    assert (code, text) == (
        406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': "
        "received 'fanout' but current is 'direct'",
    )


def test_reserved_names_are_403(refused):
    assert refused(lambda c: c.queue_declare("amq.mine"))[0] == 403
    assert refused(lambda c: c.exchange_declare("amq.mine"))[0] == 403
    assert refused(lambda c: c.exchange_delete("amq.topic"))[0] == 403


def test_an_exclusive_queue_is_405_elsewhere(dial, queue):
    channel = dial().channel()
    with pytest.raises(ChannelClosedByBroker) as error:
        channel.queue_declare(queue, exclusive=True)
    assert error.value.reply_code == 405
    assert error.value.reply_text.startswith(f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}'")


def test_an_exclusive_consumer_is_403_to_others(refused, channel, queue):
    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    code, text = refused(lambda c: c.basic_consume(queue, lambda *_: None))
    assert (code, text) == (403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use")


def test_unknown_delivery_tags_are_406(refused):
    unknown = (406, "PRECONDITION_FAILED - unknown delivery tag 7")
    assert refused(lambda c: c.basic_ack(7)) == unknown
    assert refused(lambda c: c.basic_nack(7)) == unknown
    assert refused(lambda c: c.basic_reject(7)) == unknown


def test_a_bad_expiration_is_406(refused):
    code, text = refused(lambda c: c.basic_publish("", "q", b"m", pika.BasicProperties(expiration="soon")))
    assert (code, text) == (406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer")


def test_a_prefetch_size_is_540_on_the_connection(channel):
    with pytest.raises(ConnectionClosedByBroker) as error:
        channel.basic_qos(prefetch_size=1)
    assert (error.value.reply_code, error.value.reply_text) == (540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)")


def test_a_wrong_password_is_an_authentication_error(dial):
    with pytest.raises(ProbableAuthenticationError) as error:
        dial(credentials=pika.PlainCredentials("guest", "wrong"))
    assert "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN." in str(error.value)


def test_a_missing_vhost_is_an_access_error(dial):
    with pytest.raises((ProbableAccessDeniedError, ConnectionClosedByBroker)) as error:
        dial(virtual_host="no such")
    assert "530" in str(error.value)
