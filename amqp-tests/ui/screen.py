"""What somebody sees and does in the browser: fields by their labels, buttons by their words, rows by what they hold."""

import base64
import time
import urllib.parse

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

WAIT_SECONDS = 30
INTERVAL_MS = 1000
SAID_MAX = 4000


def quoted(text):
    """A text as a literal of XPath, whatever quotes it holds."""
    parts = text.split("'")
    return f"'{text}'" if len(parts) == 1 else "concat('" + "', \"'\", '".join(parts) + "')"


class Screen:
    def __init__(self, driver, base):
        self.driver, self.base = driver, base

    # How the browser is.

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def forget(self):
        """The login, with nothing remembered."""
        self.driver.get(self.base + "ui/x/icon.svg")
        self.run("sessionStorage.clear(); localStorage.clear();")
        self.driver.get_log("browser")
        self.driver.get(self.base)
        self.one("#login-user")

    def enter(self, user="guest", password="guest"):
        """Logs in without the form."""
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.run("sessionStorage.setItem('warren.authorization', arguments[0])", f"Basic {token}")
        self.run("localStorage.setItem('warren.settings', JSON.stringify({intervalMs: arguments[0]}))", INTERVAL_MS)
        self.driver.get(self.base)
        self.one("nav.side a")

    def open(self, *segments, query=""):
        """Goes to a page and waits until it has loaded."""
        path = "/".join(urllib.parse.quote(segment, safe="") for segment in segments)
        self.run("location.hash = arguments[0]", f"#/{path}{query}")
        where = "const main = document.querySelector('main'); return main?.dataset.page === arguments[0] && main.ariaBusy === 'false'"
        self.until(lambda: self.run(where, "/".join(segments)), f"page {segments}")

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    # Finding.

    def until(self, ask, what=""):
        """Asks until the answer is true; gives it."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                if answer := ask():
                    return answer
            except StaleElementReferenceException:
                pass  # the page was drawn anew meanwhile
            if time.monotonic() > end:
                raise AssertionError(f"waited too long{': ' + what if what else ''}; the page says:\n{self.text()[:SAID_MAX]}")
            time.sleep(0.05)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css):
        return self.until(lambda: next(iter(self.all(css)), None), css)

    def shown(self, path, what, at=-1):
        """The last one that is shown: dialogs come behind everything else."""
        found = lambda: [one for one in self.driver.find_elements(By.XPATH, path) if one.is_displayed()]
        return self.until(lambda: (found() or [None])[at], what)

    def button(self, words, inside=""):
        here = f"{inside}//button"
        text = quoted(words)
        return self.shown(f"{here}[normalize-space(.)={text} or @aria-label={text}]", f"button {words}")

    def field(self, label):
        text = quoted(label)
        path = f"//*[@id=//label[normalize-space(.)={text}]/@for] | //*[@aria-label={text}] | //label[normalize-space(text()[1])={text}]//select | //label[normalize-space(.)={text}]//input"
        return self.shown(path, f"field {label}")

    def row(self, text):
        return self.shown(f"//main//tbody/tr[.//*[normalize-space(.)={quoted(text)}]]", f"row {text}", 0)

    def rows(self):
        return len(self.all("main tbody tr"))

    def text(self):
        return self.run("return document.body.innerText")

    def has(self, text):
        return text in self.text()

    def wait_for(self, text):
        self.until(lambda: self.has(text), text)

    def wait_without(self, text):
        self.until(lambda: not self.has(text), f"without {text}")

    def tile(self, name):
        """The figure of a tile."""
        return self.shown(f"//dl[contains(@class,'tiles')]/div[dt[normalize-space(.)={quoted(name)}]]/dd", f"tile {name}").text

    # Doing.

    def click(self, words, inside=""):
        """Presses a button; again when the page was drawn anew meanwhile."""
        for _ in range(5):
            try:
                button = self.button(words, inside)
                self.run("arguments[0].scrollIntoView({ block: 'center' })", button)
                return button.click()
            except StaleElementReferenceException:
                continue
            except WebDriverException as problem:
                if "not clickable" not in str(problem):
                    raise
                time.sleep(0.1)
        raise AssertionError(f"{words} cannot be pressed")

    def fill(self, label, text):
        self.write(self.field(label), text)

    @staticmethod
    def write(field, text):
        """What somebody does who writes over what is there: the events are those of keys."""
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.NULL, Keys.DELETE if text == "" else text)

    def choose(self, label, text):
        Select(self.field(label)).select_by_visible_text(text)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def pair(self, add, name, value):
        """Adds an argument, property or header to the form."""
        self.click(add)
        self.press(name)
        at = self.run("return document.activeElement.getAttribute('aria-label')").rsplit(" ", 1)[1]
        control = self.field(f"Value of {name}")
        if control.tag_name == "select":
            Select(control).select_by_visible_text(value)
        else:
            self.write(control, value)
        return at

    def closed(self):
        """Waits until no dialog is open."""
        self.until(lambda: not self.all("dialog[open]"), "the dialog to close")

    def focused(self):
        """What has the focus: its words or label."""
        return self.run("const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText || e.id || e.tagName").strip()

    def tab_to(self, words, most=80, back=False):
        """Presses the tab key until something with these words has the focus."""
        seen = []
        for _ in range(most):
            if self.focused() == words:
                return
            seen.append(self.focused())
            if back:
                ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
            else:
                self.press(Keys.TAB)
        raise AssertionError(f"the tab key does not lead to {words}, but to {seen}")
