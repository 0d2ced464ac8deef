"""Queues: declare, find among many, look into, publish, get, purge, delete."""

import pytest
from selenium.webdriver.common.keys import Keys

MANY = 10_000


def test_a_queue_is_declared_with_typed_arguments(screen, api, unique):
    name = unique()
    screen.open("queues")
    screen.click("Declare a queue")
    screen.fill("Name", name)
    screen.pair("Add an argument", "x-max-length", "1000")
    screen.pair("Add an argument", "x-overflow", "reject-publish")
    screen.pair("Add an argument", "x-single-active-consumer", "true")
    screen.click("Declare", "//dialog")
    screen.closed()
    screen.until(lambda: screen.run("return document.querySelector('main h1').innerText") == name)
    screen.wait_for(f"Queue {name} is declared")
    declared = api("GET", "queues", "/", name)
    assert declared["arguments"] == {"x-max-length": 1000, "x-overflow": "reject-publish", "x-single-active-consumer": True}
    assert declared["durable"] is True
    api("DELETE", "queues", "/", name)


def test_a_refused_declaration_says_why_and_keeps_what_was_written(screen, shared_queue):
    screen.open("queues")
    screen.click("Declare a queue")
    screen.fill("Name", shared_queue)
    screen.pair("Add an argument", "x-max-length", "5")
    screen.click("Declare", "//dialog")
    screen.wait_for("inequivalent arg 'x-max-length'")
    assert screen.field("Name").get_attribute("value") == shared_queue
    screen.press(Keys.ESCAPE)
    screen.closed()


def test_what_is_needed_is_asked_for_before_anything_is_sent(screen):
    screen.open("queues")
    screen.click("Declare a queue")
    screen.click("Declare", "//dialog")
    screen.wait_for("This is needed")
    assert screen.run("return document.activeElement.name") == "name"
    assert screen.field("Name").get_attribute("aria-invalid") == "true"


def test_a_message_is_published_and_got_with_its_properties(screen, queue):
    screen.open("queues", "/", queue, query="?tab=messages")
    screen.click("Publish a message")
    screen.fill("Body", '{"a": [1, 2]}')
    screen.pair("Add a property", "content_type", "application/json")
    screen.pair("Add a header", "region", "eu")
    screen.click("Publish", "//dialog")
    screen.closed()
    screen.wait_for("Published")
    screen.click("Get messages")
    screen.one("#taken article")
    message = screen.one("#taken article").text
    assert "region: eu" in message and "content_type: application/json" in message
    assert '"a": [' in message, "JSON is shown readably"
    screen.click("Get messages")
    screen.until(lambda: "redelivered" in screen.one("#taken").text)


def test_messages_are_purged_after_a_question(screen, channel, queue):
    for _ in range(5):
        channel.basic_publish("", queue, b"x")
    screen.open("queues", "/", queue)
    screen.until(lambda: screen.tile("Ready") == "5", "five messages")
    screen.click("Purge")
    assert screen.focused() == "Cancel", "a question of danger begins at its way out"
    screen.click("Purge", "//dialog")
    screen.closed()
    screen.until(lambda: screen.tile("Ready") == "0", "no messages")


def test_a_queue_is_deleted_after_a_question(screen, api, shared_queue):
    screen.open("queues", "/", shared_queue)
    screen.click("Delete")
    screen.click("Cancel")
    screen.closed()
    assert api("GET", "queues", "/", shared_queue)
    screen.click("Delete")
    screen.click("Delete", "//dialog")
    screen.closed()
    screen.wait_for(f"Deleted queue {shared_queue}")
    assert api("GET", "queues", "/", shared_queue) is None


def test_several_queues_are_deleted_at_once(screen, api, unique):
    stem = unique()
    for at in range(3):
        api("PUT", "queues", "/", f"{stem}-{at}", body={"durable": True})
    screen.open("queues", query=f"?name={stem}")
    screen.until(lambda: screen.rows() == 3)
    screen.field("Select all on this page").click()
    screen.wait_for("3 selected")
    screen.click("Delete")
    screen.click("Delete", "//dialog")
    screen.closed()
    screen.wait_for("Deleted 3 queues")
    screen.wait_for("No queues match the filter")


def test_bindings_are_added_and_removed(screen, api, shared_queue):
    screen.open("queues", "/", shared_queue, query="?tab=bindings")
    screen.click("Add a binding")
    screen.fill("From exchange", "amq.topic")
    screen.fill("Routing key", "order.*.paid")
    screen.click("Bind", "//dialog")
    screen.closed()
    screen.row("order.*.paid")
    screen.click(f"Unbind amq.topic from {shared_queue} with order.*.paid")
    screen.click("Remove the binding", "//dialog")
    screen.closed()
    screen.until(lambda: "order.*.paid" not in screen.one("main table").text)
    assert len(api("GET", "queues", "/", shared_queue, "bindings")) == 1


def test_consumers_are_listed_with_their_channel(screen, channel, queue):
    channel.basic_qos(prefetch_count=7)
    channel.basic_consume(queue, lambda *_: None, consumer_tag="the-consumer")
    screen.open("queues", "/", queue, query="?tab=consumers")
    row = screen.row("the-consumer").text
    assert "7" in row and "yes" in row


@pytest.fixture
def many(channel, unique):
    """Ten thousand queues that go with the connection."""
    stem = unique("many")
    for at in range(MANY):
        # Without waiting for each answer: pika's blocking channel has no such way of its own.
        channel._impl.queue_declare(f"{stem}-{at:05}", exclusive=True)
    channel.queue_declare(f"{stem}-00000", exclusive=True)
    return stem


def test_ten_thousand_queues_are_paged_sorted_and_filtered(screen, channel, many):
    channel.basic_publish("", f"{many}-07777", b"x")
    screen.open("queues", query=f"?name={many}")
    screen.wait_for("10,000 of ")
    assert screen.rows() == 100
    screen.click("Next")
    screen.wait_for("Page 2 of 100")
    screen.row(f"{many}-00100")
    screen.click("Last")
    screen.row(f"{many}-09999")
    screen.click("Name")
    screen.until(lambda: "page=" not in screen.driver.current_url)
    screen.row(f"{many}-09999")
    screen.click("Total")
    screen.until(lambda: f"{many}-07777" in screen.one("main tbody tr").text, "the longest queue first")
    assert screen.one("main th[aria-sort]").get_attribute("aria-sort") == "descending"
    screen.field("Regex").click()
    screen.fill("Filter queues by name", f"^{many}-0000[1-3]$")
    screen.wait_for("3 of ")
    screen.until(lambda: screen.rows() == 3)
    largest = screen.run("return Math.max(...performance.getEntriesByType('resource').filter((one) => one.name.includes('/api/queues?')).map((one) => one.encodedBodySize))")
    assert largest < 500_000, "only one page of the list travels"
