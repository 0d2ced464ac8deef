"""Exchanges, their bindings as a drawing, publishing; connections and channels."""

import time

import pika


def test_bindings_are_drawn_and_lead_to_their_ends(screen, channel, queue, unique):
    source, between = unique("source"), unique("between")
    channel.exchange_declare(source, "topic", auto_delete=True)
    channel.exchange_declare(between, "fanout", auto_delete=True)
    channel.queue_bind(queue, between, "")
    channel.exchange_bind(between, source, "order.#")
    screen.open("exchanges", "/", source)
    labels = [node.get_attribute("aria-label") for node in screen.all(".graph a")]
    assert labels == [f"exchange {source}", f"exchange {between}", f"queue {queue}"]
    assert "order.#" in screen.one(".graph").text
    assert len(screen.all(".graph path.edge")) == 2
    screen.run("arguments[0].focus()", screen.all(".graph a")[2])
    screen.press("\ue007")  # enter
    screen.until(lambda: screen.run("return document.querySelector('main h1').innerText") == queue)


def test_an_exchange_is_declared_published_to_and_deleted(screen, api, unique, channel, queue):
    name = unique("x")
    screen.open("exchanges")
    screen.click("Declare an exchange")
    screen.fill("Name", name)
    screen.choose("Type", "topic")
    screen.click("Declare", "//dialog")
    screen.closed()
    screen.until(lambda: screen.run("return document.querySelector('main h1').innerText") == name)
    assert api("GET", "exchanges", "/", name)["type"] == "topic"

    screen.click("Publish a message")
    screen.fill("Routing key", "nobody")
    screen.click("Publish", "//dialog")
    screen.closed()
    screen.wait_for("no queue is bound for it")
    screen.click("Close this message")

    channel.queue_bind(queue, name, "a.*")
    screen.click("Publish a message")
    screen.fill("Routing key", "a.b")
    screen.fill("Body", "hello")
    screen.click("Publish", "//dialog")
    screen.closed()
    assert screen.until(lambda: channel.basic_get(queue, auto_ack=True)[2]) == b"hello"

    screen.click("Delete")
    screen.click("Delete", "//dialog")
    screen.closed()
    assert screen.until(lambda: api("GET", "exchanges", "/", name) is None)


def test_a_connection_is_shown_with_its_channel_and_closed_with_a_reason(screen, api, unique):
    name = unique("client")
    address = [pika.ConnectionParameters(*_address(), client_properties={"connection_name": name})]
    connection = pika.BlockingConnection(address)
    connection.channel()
    found = lambda: next((one for one in api("GET", "connections") or [] if one.get("client_properties", {}).get("connection_name") == name), None)
    end = time.monotonic() + 15
    while not (told := found()) and time.monotonic() < end:
        connection.sleep(0.1)
    screen.open("connections", told["name"])
    screen.wait_for(name)
    screen.wait_for("Channels (1)")
    screen.click("Close")
    screen.fill("Reason", "enough for today")
    screen.click("Close", "//dialog")
    screen.closed()
    closed = None
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            connection.sleep(0.05)
    except pika.exceptions.ConnectionClosed as error:
        closed = error
    assert closed and closed.reply_code == 320 and "enough for today" in closed.reply_text


def _address():
    from conftest import AMQP_HOST, AMQP_PORT

    return AMQP_HOST, int(AMQP_PORT)


def test_a_channel_tells_its_prefetch_and_consumers(screen, api, channel, queue):
    channel.basic_qos(prefetch_count=11)
    channel.basic_consume(queue, lambda *_: None, consumer_tag="tag-11")
    found = lambda: next((one for one in api("GET", "channels") if one.get("prefetch_count") == 11), None)
    told = screen.until(found, "the channel")
    screen.open("channels", told["name"])
    screen.row("tag-11")
    assert screen.has("11")
