"""Work on messages: looked at without a trace, searched, moved, redriven, deleted as jobs."""

import pika


def publish(channel, queue, bodies, **headers):
    for body in bodies:
        channel.basic_publish("", queue, body.encode(), pika.BasicProperties(headers=headers or None))


def depth(api, queue):
    """How many messages can be got, asked of the queue itself: what is counted for lists comes a little later."""
    return api("POST", "queues", "/", queue, "messages", "search", body={"filter": {}, "count": 500})["looked_at"]


def work(screen, action, **fields):
    screen.click(action)
    for label, text in fields.items():
        screen.fill(label.replace("_", " "), text)
    screen.click(action, "//dialog")
    screen.closed()


def test_looking_at_messages_leaves_no_trace(screen, channel, queue):
    publish(channel, queue, ["first", "second"])
    screen.open("queues", "/", queue, query="?tab=messages")
    for _ in range(2):
        screen.click("Look")
        screen.until(lambda: len(screen.all("#look article")) == 2)
        assert "redelivered" not in screen.one("#look article").text
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (method.redelivered, body) == (False, b"first")


def test_messages_are_found_by_what_they_hold(screen, channel, queue):
    publish(channel, queue, ["apple", "pear"], colour="green")
    publish(channel, queue, ["cherry"], colour="red")
    screen.open("queues", "/", queue, query="?tab=messages")
    screen.click("Filter")
    screen.fill("Body holds", "ea")
    screen.click("Search")
    screen.until(lambda: [one.text for one in screen.all("#look pre")] == ["pear"])
    screen.fill("Body holds", "")
    screen.pair("Add a header", "colour", "r*")
    screen.click("Search")
    screen.until(lambda: [one.text for one in screen.all("#look pre")] == ["cherry"])


def test_selected_messages_move_and_the_job_tells(screen, api, channel, queue, shared_queue):
    publish(channel, queue, ["one", "two", "three"])
    screen.open("queues", "/", queue, query="?tab=messages")
    screen.click("Look")
    screen.until(lambda: len(screen.all("#look article")) == 3)
    screen.all("#look article input")[1].click()
    screen.wait_for("1 message selected")
    work(screen, "Move", Queue=shared_queue)
    screen.until(lambda: depth(api, shared_queue) == 1, "the message to arrive")
    assert channel.basic_get(shared_queue, auto_ack=True)[2] == b"two"
    assert depth(api, queue) == 2
    screen.until(lambda: "finished" in screen.one("#jobs tbody tr").text, "the job")
    screen.open("jobs")
    screen.row(queue)


def test_a_dry_run_counts_and_changes_nothing(screen, api, channel, queue):
    publish(channel, queue, ["x"] * 7)
    screen.open("queues", "/", queue, query="?tab=messages")
    screen.click("Look")
    screen.until(lambda: len(screen.all("#look article")) == 7)
    screen.click("Delete", "//*[@id='look']")
    screen.field("Only count").click()
    screen.click("Delete", "//dialog")
    screen.closed()
    row = screen.until(lambda: next((one.text for one in screen.all("#jobs tbody tr") if "finished" in one.text), None))
    assert "dry run" in row and "7" in row
    assert depth(api, queue) == 7
    screen.click("Delete", "//*[@id='look']")
    screen.click("Delete", "//dialog")
    screen.closed()
    screen.until(lambda: depth(api, queue) == 0, "no messages")


def test_dead_letters_go_back_to_where_they_died(screen, api, channel, queue, unique):
    source = unique("source")
    channel.queue_declare(source, auto_delete=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    publish(channel, source, ["try again"])
    method, _, _ = screen.until(lambda: (got := channel.basic_get(source))[0] and got)
    channel.basic_nack(method.delivery_tag, requeue=False)
    screen.until(lambda: depth(api, queue) == 1, "the dead letter")
    screen.open("queues", "/", queue, query="?tab=messages")
    screen.click("Look")
    screen.until(lambda: "x-first-death-queue" in screen.text())
    work(screen, "Redrive")
    screen.until(lambda: depth(api, source) == 1, "the message to be back")
    assert depth(api, queue) == 0
    channel.queue_delete(source)
