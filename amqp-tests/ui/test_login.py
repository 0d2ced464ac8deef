"""Logging in and out, and what is shown to whom."""

from selenium.webdriver.common.keys import Keys


def log_in(screen, user, password):
    screen.fill("User name", user)
    screen.fill("Password", password)
    screen.click("Log in")


def test_who_logs_in_sees_the_overview(fresh):
    log_in(fresh, "guest", "guest")
    fresh.until(lambda: fresh.run("return document.activeElement !== null && document.querySelector('main h1')?.innerText === 'Overview'"))
    assert fresh.driver.title == "Overview – Warren"
    assert fresh.has("guest")


def test_a_wrong_password_is_refused_and_told(fresh):
    log_in(fresh, "guest", "wrong")
    fresh.wait_for("Wrong name or password")
    assert fresh.one("#login-note").get_attribute("role") == "alert"
    assert fresh.run("return document.activeElement.id") == "login-password"
    assert fresh.run("return sessionStorage.length") == 0


def test_the_password_is_kept_in_this_tab_alone(fresh):
    log_in(fresh, "guest", "guest")
    fresh.one("nav.side")
    assert fresh.run("return sessionStorage.getItem('warren.authorization')").startswith("Basic ")
    assert "guest" not in fresh.driver.current_url
    assert "Basic" not in fresh.run("return JSON.stringify(localStorage) + document.cookie")
    asked = fresh.run("return performance.getEntriesByType('resource').map((entry) => entry.name).join(' ')")
    assert "guest" not in asked


def test_a_session_survives_a_reload_and_ends_with_logging_out(screen):
    screen.driver.refresh()
    screen.one("nav.side")
    screen.click("Log out")
    screen.one("#login-user")
    assert screen.run("return sessionStorage.length") == 0
    screen.driver.refresh()
    screen.one("#login-user")


def test_a_token_that_is_none_is_refused(fresh):
    fresh.click("Use a token instead")
    fresh.fill("Token", "not.a.token")
    fresh.press(Keys.ENTER)
    fresh.wait_for("The token is not accepted")


def test_who_loses_the_right_comes_back_to_the_login(screen, api, unique):
    user = unique("user")
    api("PUT", "users", user, body={"password": "secret", "tags": "monitoring"})
    screen.enter(user, "secret")
    api("DELETE", "users", user)
    screen.wait_for("Your session is no longer valid")
    screen.one("#login-user")


def test_who_may_little_sees_little(screen, api, unique):
    user = unique("user")
    api("PUT", "users", user, body={"password": "secret", "tags": "management"})
    api("PUT", "permissions", "/", user, body={"configure": ".*", "write": ".*", "read": ".*"})
    try:
        screen.enter(user, "secret")
        pages = [link.text.split("\n")[0] for link in screen.all("nav.side a")]
        assert "Queues" in pages and "Users" not in pages and "Cluster" not in pages
        screen.run("location.hash = '#/users'")
        screen.wait_for("This page needs a user with the tag administrator")
        screen.open("queues")
        assert "could not be refreshed" not in screen.text()
    finally:
        api("DELETE", "users", user)
