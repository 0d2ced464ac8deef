"""The overview: rates that live, charts, refreshing, colours."""

import time


def requests(screen):
    return screen.run("return performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/api/overview')).length")


def test_rates_and_depth_change_while_messages_flow(screen, queue, traffic):
    screen.open()
    traffic(queue)
    screen.until(lambda: screen.tile("Publish") != "0/s", "a rate")
    depth = screen.tile("Ready")
    screen.until(lambda: screen.tile("Ready") != depth, "another depth")
    label = screen.one("figure.chart svg").get_attribute("aria-label")
    assert label.startswith("Message rates: Publish ") and "Publish 0/s" not in label


def test_charts_draw_lines_and_are_read_with_the_keyboard(screen, queue, traffic):
    traffic(queue)
    screen.open()
    screen.until(lambda: screen.run("return [...document.querySelectorAll('figure.chart path')].some((path) => path.getAttribute('d').split('L').length > 3)"), "a line")
    chart = screen.one("figure.chart svg")
    screen.run("arguments[0].focus()", chart)
    screen.press("\ue012")  # arrow left
    screen.until(lambda: screen.run("return document.querySelector('figure.chart .tip:not([hidden])')?.innerText"), "a reading")


def test_a_line_of_a_chart_can_be_switched_off(screen):
    screen.open()
    legend = screen.one(".legend button")
    assert legend.get_attribute("aria-pressed") == "true"
    legend.click()
    screen.until(lambda: screen.one(".legend button").get_attribute("aria-pressed") == "false")


def test_every_node_is_listed_with_its_state(screen, api):
    screen.open()
    for node in api("GET", "nodes"):
        assert "up" in screen.row(node["name"]).text


def test_refreshing_pauses_and_goes_on(screen):
    screen.open()
    before = requests(screen)
    screen.until(lambda: requests(screen) > before, "a refresh")
    screen.click("Pause refreshing")
    assert screen.button("Pause refreshing").get_attribute("aria-pressed") == "true"
    time.sleep(0.5)
    paused = requests(screen)
    time.sleep(1.6)
    assert requests(screen) == paused
    screen.click("Pause refreshing")
    screen.until(lambda: requests(screen) > paused, "a refresh")


def background(screen):
    return screen.run("return getComputedStyle(document.body).backgroundColor")


def test_dark_and_light_follow_the_system_and_the_switch(screen):
    light = background(screen)
    screen.colours("dark")
    dark = background(screen)
    assert dark != light
    screen.click("Colours: as the system says")
    assert background(screen) == light, "the switch wins"
    screen.click("Colours: light")
    assert background(screen) == dark
    screen.colours("light")
    assert background(screen) == dark
    screen.driver.refresh()
    screen.one("nav.side")
    assert background(screen) == dark, "the choice is remembered"


def test_nothing_is_loaded_from_elsewhere(screen):
    for page in ([], ["queues"], ["exchanges"], ["cluster"]):
        screen.open(*page)
    elsewhere = screen.run("return performance.getEntriesByType('resource').map((one) => one.name).filter((name) => !name.startsWith(location.origin))")
    assert elsewhere == []
