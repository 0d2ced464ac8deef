"""Connections to the broker under test, and unique names."""

import itertools
import os
import time

import pika
import pytest

HOST, PORT = os.environ.get("WARREN_TEST_ADDR", "127.0.0.1:5672").rsplit(":", 1)
NUMBERS = itertools.count()


def parameters(**more):
    return pika.ConnectionParameters(HOST, int(PORT), blocked_connection_timeout=20, socket_timeout=10, **more)


@pytest.fixture
def dial():
    """Opens connections that end with the test."""
    connections = []

    def open_one(**more):
        connections.append(pika.BlockingConnection(parameters(**more)))
        return connections[-1]

    yield open_one
    for connection in connections:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(dial):
    return dial()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def unique():
    """Makes names that no other test and no earlier run uses."""
    return lambda stem="q": f"py-{stem}-{time.time_ns():x}-{next(NUMBERS)}"


@pytest.fixture
def queue(channel, unique):
    """An exclusive queue."""
    return channel.queue_declare(unique(), exclusive=True).method.queue


@pytest.fixture
def soon(connection):
    """Asks until there is an answer, for up to 20 seconds."""

    def ask_until(ask):
        end = time.monotonic() + 20
        while (answer := ask()) is None:
            assert time.monotonic() < end, "waited too long"
            connection.sleep(0.01)
        return answer

    return ask_until


@pytest.fixture
def fetch(channel, soon):
    """Gets the next message of a queue, waiting for it to be there: (method, properties, body)."""

    def fetch_from(name, auto_ack=True):
        def ask():
            got = channel.basic_get(name, auto_ack=auto_ack)
            return got if got[0] else None

        return soon(ask)

    return fetch_from
