"""Names, keys and bodies that hold markup stay text."""

import pytest

MARKUP = """<script>window.pwned=1</script><img src=x onerror=window.pwned=2>"'`${window.pwned=3}{{4}}&lt;"""


@pytest.fixture
def hostile(api, channel, unique):
    """Markup wherever a name can stand."""
    name = unique() + MARKUP
    api("PUT", "queues", "/", name, body={"durable": True, "arguments": {"x-dead-letter-exchange": MARKUP}})
    api("PUT", "exchanges", "/", name, body={"type": "topic", "durable": True})
    api("POST", "bindings", "/", "e", name, "q", name, body={"routing_key": MARKUP, "arguments": {"a": MARKUP}})
    api("PUT", "vhosts", name, body={"description": MARKUP, "tags": MARKUP})
    api("PUT", "users", name, body={"password": "x", "tags": "<b>bold</b>"})
    api("PUT", "permissions", "/", name, body={"configure": MARKUP.replace("$", "").replace("{", ""), "write": "", "read": ""})
    api("PUT", "policies", "/", name, body={"pattern": "<script>", "definition": {"dead-letter-exchange": MARKUP}, "apply-to": "queues"})
    api("POST", "exchanges", "/", "amq.default", "publish", body={"properties": {"headers": {MARKUP: MARKUP}, "type": MARKUP}, "routing_key": name, "payload": MARKUP, "payload_encoding": "string"})
    yield name
    for kind in ("queues", "exchanges", "policies"):
        api("DELETE", kind, "/", name)
    api("DELETE", "users", name)
    api("DELETE", "vhosts", name)


def is_safe(screen):
    return screen.run("return window.pwned === undefined && document.querySelectorAll('img, body script, iframe').length === 0 && [...document.querySelectorAll('b')].every((one) => one.innerText !== 'bold')")


def test_markup_in_names_is_shown_and_never_run(screen, hostile):
    pages = [
        (["queues"], "?name=ui-"),
        (["queues", "/", hostile], ""),
        (["queues", "/", hostile], "?tab=bindings"),
        (["exchanges"], "?name=ui-"),
        (["exchanges", "/", hostile], ""),
        (["vhosts"], ""),
        (["vhosts", hostile], ""),
        (["users"], ""),
        (["users", hostile], ""),
        (["policies"], ""),
        (["definitions"], ""),
    ]
    for segments, query in pages:
        screen.open(*segments, query=query)
        assert is_safe(screen), segments
        if hostile in segments:
            assert screen.run("return document.querySelector('main h1').innerText") == hostile
    screen.open("queues", "/", hostile, query="?tab=messages")
    screen.click("Get messages")
    screen.until(lambda: MARKUP in screen.one("#taken pre").text)
    assert is_safe(screen)


def test_an_address_with_markup_shows_no_more_than_text(screen):
    screen.open("queues", "/", MARKUP)
    assert is_safe(screen)
    screen.open("queues", query="?name=%3Cimg%20src=x%20onerror=window.pwned=1%3E&sort=%3Cscript%3E")
    assert is_safe(screen)
    screen.open("<script>window.pwned=1</script>")
    screen.wait_for("There is no such page")
    assert is_safe(screen)


def test_the_policy_lets_no_inline_script_run(screen):
    screen.run("const one = document.createElement('div'); try { one.setAttribute('onclick', 'window.pwned=1') } catch {} document.body.append(one); one.click(); one.remove();")
    assert screen.run("return window.pwned") is None
    refused = "try { document.createElement('div').innerHTML = '<b>x</b>'; return 'parsed' } catch (error) { return error.name }"
    assert screen.run(refused) == "TypeError"
    screen.driver.get_log("browser")  # these refusals are wanted
