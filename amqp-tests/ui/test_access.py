"""Usable with a keyboard, by a screen reader, on a phone."""

import pytest
from selenium.webdriver.common.keys import Keys

PAGES = [[], ["connections"], ["channels"], ["exchanges"], ["exchanges", "/", "amq.topic"], ["queues"], ["cluster"], ["policies"], ["vhosts"], ["vhosts", "/"], ["users"], ["users", "guest"], ["definitions"], ["admin"]]

# What tools for accessibility look for, as far as a script can tell.
FAULTS = r"""
const faults = [];
const say = (what, node) => faults.push(`${what}: ${node.outerHTML.slice(0, 160)}`);
const textOf = (ids) => (ids || '').split(' ').map((id) => document.getElementById(id)?.innerText || '').join('').trim();
const nameOf = (node) => (node.getAttribute('aria-label') || textOf(node.getAttribute('aria-labelledby')) || [...(node.labels || [])].map((label) => label.innerText).join('') || node.innerText || node.querySelector?.('title')?.textContent || '').trim();
const isShown = (node) => node.checkVisibility({ checkOpacity: false, visibilityProperty: true });
for (const node of document.querySelectorAll('button, a[href], input, select, textarea, [role=img], [role=region], [role=group], dialog, nav')) if (isShown(node) && !nameOf(node)) say('no name', node);
for (const node of document.querySelectorAll('[id]')) if (document.querySelectorAll(`[id="${CSS.escape(node.id)}"]`).length > 1) say('id twice', node);
for (const name of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for']) for (const node of document.querySelectorAll(`[${name}]`)) for (const id of node.getAttribute(name).split(' ')) if (!document.getElementById(id)) say(`${name} names nothing`, node);
for (const node of document.querySelectorAll('[tabindex]')) if (Number(node.getAttribute('tabindex')) > 0) say('tabindex', node);
for (const node of document.querySelectorAll('th')) if (!node.scope) say('header without scope', node);
for (const node of document.querySelectorAll('table:not([role=presentation])')) if (!node.caption) say('table without caption', node);
for (const tag of ['main', 'header.head', 'nav']) if (!document.querySelector(tag)) faults.push(`no ${tag}`);
if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
if (!document.documentElement.lang || !document.title) faults.push('no language or title');
const channel = (value) => { const part = value / 255; return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; };
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = (node) => { for (let at = node; at; at = at.parentElement) { const color = rgba(getComputedStyle(at).backgroundColor); if (color[3] > 250) return color; } return [255, 255, 255]; };
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !isShown(node) || node.closest('svg, option, :disabled, .quiet, .zero, [aria-pressed=false]')) continue;
    const [x, y] = [luminance(rgba(getComputedStyle(node).color)), luminance(behind(node))];
    const contrast = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    if (contrast < 4.5) say(`contrast ${contrast.toFixed(2)}`, node);
}
return faults;
"""


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_has_names_landmarks_and_contrast(screen, colours):
    screen.colours(colours)
    for segments in PAGES:
        screen.open(*segments)
        assert screen.run(FAULTS) == [], segments


def test_dialogs_have_names_and_contrast_too(screen):
    screen.open("queues")
    screen.click("Declare a queue")
    screen.click("Add an argument")
    assert screen.run(FAULTS) == []
    screen.press(Keys.ESCAPE)
    screen.closed()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways(screen, width):
    screen.size(width, 844)
    for segments in PAGES:
        screen.open(*segments)
        assert screen.run("return document.documentElement.scrollWidth") <= width, segments


def test_on_a_phone_the_menu_opens_and_closes(screen):
    screen.size(390, 844)
    assert not screen.one("nav.side").is_displayed()
    menu = screen.button("Menu")
    assert menu.get_attribute("aria-expanded") == "false"
    menu.click()
    screen.until(lambda: screen.one("nav.side").is_displayed())
    screen.shown("//nav//a[.//span='Queues']", "Queues").click()
    screen.until(lambda: screen.run("return document.querySelector('main h1').innerText") == "Queues")
    assert not screen.one("nav.side").is_displayed()


def test_all_of_it_goes_with_the_keyboard_alone(fresh, api, unique):
    name = unique()
    assert fresh.run("return document.activeElement.id") == "login-user"
    fresh.press("guest", Keys.TAB, "guest", Keys.ENTER)
    fresh.until(lambda: fresh.run("return document.querySelector('main h1')?.innerText") == "Overview")
    fresh.run("document.activeElement.blur()")
    fresh.press(Keys.TAB)
    assert fresh.focused() == "Skip to the content"
    assert fresh.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is seen"
    fresh.press(Keys.ENTER)
    assert fresh.run("return document.activeElement.tagName") == "H1"

    fresh.press("/")  # nothing to filter here: nothing happens
    fresh.run("document.querySelector('nav.side a').focus()")
    fresh.until(lambda: "Queues" in fresh.focused() or fresh.press(Keys.TAB))
    fresh.press(Keys.ENTER)
    fresh.until(lambda: fresh.run("return document.activeElement.innerText") == "Queues", "the title to have the focus")
    fresh.tab_to("Declare a queue")
    fresh.press(Keys.ENTER)
    fresh.until(lambda: fresh.all("dialog[open]"))
    for _ in range(30):  # around, and never out of the dialog
        fresh.press(Keys.TAB)
        assert fresh.run("return document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
    fresh.press(Keys.ESCAPE)
    fresh.closed()
    assert fresh.focused() == "Declare a queue", "the focus is back where it was"
    fresh.press(Keys.ENTER)
    fresh.until(lambda: fresh.all("dialog[open]"))
    fresh.run("document.querySelector('dialog [name=name]').focus()")
    fresh.press(name, Keys.ENTER)
    fresh.closed()
    fresh.until(lambda: fresh.run("return document.activeElement.innerText") == name, "the title to have the focus")
    fresh.until(lambda: fresh.run("return document.activeElement.id") == "tab-overview" or fresh.press(Keys.TAB), "the tabs")
    fresh.press(Keys.ARROW_RIGHT)
    fresh.until(lambda: "tab=messages" in fresh.driver.current_url)
    assert fresh.focused() == "Messages"
    api("DELETE", "queues", "/", name)


def test_the_filter_is_one_key_away(screen):
    screen.open("queues")
    screen.press("/")
    assert screen.focused() == "Filter queues by name"


def test_a_refresh_keeps_the_focus_and_what_is_being_written(screen, shared_queue):
    screen.open("queues", query=f"?name={shared_queue}")
    screen.row(shared_queue)
    before = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/api/queues')).length"
    screen.field(f"Select {shared_queue}").click()
    seen = screen.run(f"return {before}")
    screen.until(lambda: screen.run(f"return {before}") > seen + 1, "two refreshes")
    assert screen.focused() == f"Select {shared_queue}"
    assert screen.field(f"Select {shared_queue}").is_selected()


def test_what_failed_is_told_with_the_reason(screen, unique):
    screen.open("queues", "/", unique("missing"))
    screen.until(lambda: screen.all("main [role=alert]"), "an alert")
    assert "404" in screen.one("main [role=alert]").text or "GET /api/queues/" in screen.one("main [role=alert]").text
