"""Users, permissions, virtual hosts, limits, policies, the cluster, definitions."""

import json

import pytest


@pytest.fixture
def user(api, unique):
    name = unique("user")
    api("PUT", "users", name, body={"password": "secret", "tags": "management"})
    yield name
    api("DELETE", "users", name)


@pytest.fixture
def vhost(api, unique):
    name = unique("vhost")
    api("PUT", "vhosts", name, body={})
    yield name
    api("DELETE", "vhosts", name)


def test_a_user_is_added_gets_permissions_and_goes(screen, api, unique):
    name = unique("user")
    screen.open("users")
    screen.click("Add a user")
    screen.fill("User name", name)
    screen.fill("Password", "secret")
    screen.fill("Password, once more", "secret?")
    screen.shown("//dialog//label[starts-with(normalize-space(.), 'monitoring')]/input", "tag").click()
    screen.click("Add", "//dialog")
    screen.wait_for("The two passwords are not the same")
    screen.fill("Password, once more", "secret")
    screen.click("Add", "//dialog")
    screen.closed()
    screen.wait_for("cannot enter any virtual host")

    screen.click("Set permissions")
    screen.fill("Configure", "^mine-.*")
    screen.fill("Write", ".*")
    screen.fill("Read", "")
    screen.click("Set", "//dialog")
    screen.closed()
    screen.row("^mine-.*")
    assert api("GET", "permissions", "/", name) == {"user": name, "vhost": "/", "configure": "^mine-.*", "write": ".*", "read": ""}
    tags = api("GET", "users", name)["tags"]
    assert tags in (["monitoring"], "monitoring")

    screen.click("Delete")
    screen.click("Delete", "//dialog")
    screen.closed()
    assert screen.until(lambda: api("GET", "users", name) is None)


def test_topic_permissions_and_limits_are_set_and_cleared(screen, api, user):
    screen.open("users", user)
    screen.click("Set topic permissions")
    screen.fill("Topic exchange", "amq.topic")
    screen.fill("Write", "^eu\\.")
    screen.click("Set", "//dialog")
    screen.closed()
    screen.row("^eu\\.")
    screen.click(f"Clear the topic permissions of {user} on amq.topic")
    screen.click("Clear", "//dialog")
    screen.closed()
    screen.wait_for("No topic permissions")

    screen.click("Set Connections at most")
    screen.fill("Connections at most", "12")
    screen.click("Set", "//dialog")
    screen.closed()
    screen.wait_for("The limit is set")
    assert api("GET", "user-limits", user)[0]["value"] == {"max-connections": 12}


def test_a_virtual_host_is_added_limited_and_deleted_by_its_name(screen, api, unique):
    name = unique("vhost")
    screen.open("vhosts")
    screen.click("Add a virtual host")
    screen.fill("Name", name)
    screen.fill("Description", "for a test")
    screen.click("Add", "//dialog")
    screen.closed()
    screen.until(lambda: screen.run("return document.querySelector('main h1').innerText") == name)
    screen.click("Set Queues at most")
    screen.fill("Queues at most", "3")
    screen.click("Set", "//dialog")
    screen.closed()
    screen.until(lambda: (api("GET", "vhost-limits", name) or [{}])[0].get("value") == {"max-queues": 3})
    screen.click("Delete")
    screen.fill("To be sure, write its name", "another")
    screen.click("Delete", "//dialog")
    screen.wait_for("This is another name")
    screen.fill("To be sure, write its name", name)
    screen.click("Delete", "//dialog")
    screen.closed()
    assert screen.until(lambda: api("GET", "vhosts", name) is None)


def test_a_policy_is_added_changed_and_deleted(screen, api, unique, shared_queue):
    name = unique("policy")
    screen.open("policies")
    screen.click("Add a policy")
    screen.fill("Name", name)
    screen.fill("Pattern", f"^{shared_queue}$")
    screen.choose("Applies to", "Queues")
    screen.pair("Add a key", "max-length", "77")
    screen.click("Add", "//dialog")
    screen.closed()
    screen.row(name)
    screen.until(lambda: api("GET", "queues", "/", shared_queue).get("policy") == name, "the policy to hold")
    screen.click(f"Change {name}")
    screen.fill("Value of max-length", "88")
    screen.click("Change", "//dialog")
    screen.closed()
    assert api("GET", "policies", "/", name)["definition"] == {"max-length": 88}
    screen.field(f"Select {name}").click()
    screen.click("Delete")
    screen.click("Delete", "//dialog")
    screen.closed()
    assert screen.until(lambda: api("GET", "policies", "/", name) is None)


def test_an_operator_policy_is_added(screen, api, unique):
    name = unique("operator")
    screen.open("policies", query="?tab=operator")
    screen.click("Add an operator policy")
    screen.fill("Name", name)
    screen.fill("Pattern", f"^{name}$")
    screen.pair("Add a key", "expires", "60000")
    screen.click("Add", "//dialog")
    screen.closed()
    screen.row(name)
    assert api("GET", "operator-policies", "/", name)["definition"] == {"expires": 60000}
    api("DELETE", "operator-policies", "/", name)


def test_a_policy_that_is_refused_says_why(screen, unique):
    screen.open("policies")
    screen.click("Add a policy")
    screen.fill("Name", unique("policy"))
    screen.fill("Pattern", "x")
    screen.pair("Add a key", "no-such-key", "1")
    screen.click("Add", "//dialog")
    screen.wait_for("not recognised")


def test_the_cluster_page_shows_every_node(screen, api):
    screen.open("cluster")
    for node in api("GET", "nodes"):
        assert "up" in screen.row(node["name"]).text
    screen.driver.find_element("link text", api("GET", "nodes")[0]["name"]).click()
    screen.wait_for("Free disk space")
    screen.wait_for("File descriptors")


def test_definitions_are_exported_and_imported(screen, api, unique, vhost, tmp_path):
    screen.open("definitions")
    name = unique("imported")
    file = tmp_path / "definitions.json"
    queue = {"name": name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": {}}
    file.write_text(json.dumps({"queues": [queue], "exchanges": [], "bindings": []}))
    screen.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    screen.click("Download definitions")
    saved = screen.until(lambda: [one for one in tmp_path.glob("*.json") if one != file], "the file")
    assert any(one["name"] == vhost for one in json.loads(saved[0].read_text())["vhosts"])
    screen.one("#definitions-file").send_keys(str(file))
    screen.wait_for("In definitions.json")
    screen.click("Import")
    screen.click("Import", "//dialog")
    screen.closed()
    screen.wait_for("The definitions are imported")
    assert api("GET", "queues", vhost, name)["durable"] is True


def test_the_choice_of_a_virtual_host_narrows_the_lists(screen, api, unique, vhost, shared_queue):
    api("PUT", "permissions", vhost, "guest", body={"configure": ".*", "write": ".*", "read": ".*"})
    name = unique()
    api("PUT", "queues", vhost, name, body={})
    screen.driver.refresh()
    screen.open("queues")
    screen.row(shared_queue)
    screen.choose("Virtual host", vhost)
    screen.row(name)
    screen.until(lambda: screen.rows() == 1)
