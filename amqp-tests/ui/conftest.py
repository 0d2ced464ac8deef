"""A headless Chromium that is logged in to the broker under test, the broker's API, and unique names."""

import base64
import itertools
import json
import os
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pika
import pytest
from selenium import webdriver

from screen import Screen

AMQP_HOST, AMQP_PORT = os.environ.get("WARREN_TEST_ADDR", "127.0.0.1:5672").rsplit(":", 1)
BASE = f"http://{os.environ.get('WARREN_TEST_MANAGEMENT', '127.0.0.1:15672')}/"
NUMBERS = itertools.count()
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Api:
    """The management API, as the administrator."""

    def __init__(self, user="guest", password="guest"):
        self.token = base64.b64encode(f"{user}:{password}".encode()).decode()

    def __call__(self, method, *segments, body=None, query=""):
        path = "/".join(urllib.parse.quote(segment, safe="") for segment in segments)
        request = urllib.request.Request(f"{BASE}api/{path}{query}", method=method)
        request.add_header("authorization", f"Basic {self.token}")
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error


@pytest.fixture(scope="session")
def api():
    return Api()


def browser_options():
    options = webdriver.ChromeOptions()
    options.binary_location = next(path for path in map(shutil.which, BROWSERS) if path)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.add_argument("--disable-background-networking")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return options


@pytest.fixture(scope="session")
def driver():
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=browser_options(), service=service)
    yield driver
    driver.quit()


@pytest.fixture
def fresh(driver):
    """The page as somebody sees it who comes for the first time."""
    screen = Screen(driver, BASE)
    screen.size(1280, 900)
    screen.colours("light")
    screen.forget()
    yield screen
    complaints = [entry["message"] for entry in driver.get_log("browser") if is_complaint(entry)]
    assert complaints == [], "the console of the browser complains"


def is_complaint(entry):
    """Errors of scripts and violations of the policy; refused calls of the API are told to the user."""
    return entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]


@pytest.fixture
def screen(fresh):
    """Logged in as the administrator; refreshes every second."""
    fresh.enter()
    return fresh


@pytest.fixture
def unique():
    """Makes names that no other test and no earlier run uses."""
    return lambda stem="q": f"ui-{stem}-{time.time_ns():x}-{next(NUMBERS)}"


@pytest.fixture
def connection():
    connection = pika.BlockingConnection(pika.ConnectionParameters(AMQP_HOST, int(AMQP_PORT), blocked_connection_timeout=20))
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def queue(channel, unique):
    """A queue that goes with the test, and that others may work on."""
    name = channel.queue_declare(unique(), auto_delete=True).method.queue
    yield name
    if channel.is_open:
        channel.queue_delete(name)


@pytest.fixture
def shared_queue(api, unique):
    """A durable queue."""
    name = unique()
    api("PUT", "queues", "/", name, body={"durable": True})
    yield name
    api("DELETE", "queues", "/", name)


@pytest.fixture
def traffic():
    """Publishes to a queue, some two hundred messages a second, until the test ends."""
    ended = threading.Event()
    threads = []

    def run(queue):
        parameters = pika.ConnectionParameters(AMQP_HOST, int(AMQP_PORT))
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            while not ended.is_set():
                for _ in range(10):
                    channel.basic_publish("", queue, b"tick")
                connection.process_data_events(0.05)

    def begin(queue):
        threads.append(threading.Thread(target=run, args=(queue,), daemon=True))
        threads[-1].start()

    yield begin
    ended.set()
    for thread in threads:
        thread.join(10)
