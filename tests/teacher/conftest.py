"""Fixtures: a server, and the page in a real Chromium."""

import re

import pytest
from browsing import ServedTeaching, Tab, chromium
from talking import TOKEN

from rl_il.teacher.server import Server


@pytest.fixture
def server():
    server = Server(0, lambda: {"env_name": "Corridor-v0"}, TOKEN)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def teach(tmp_path):
    """Yield a function that makes sessions which serve their page."""
    teachers = []

    def make(env_name="MountainCar-v0", **settings):
        teachers.append(ServedTeaching(tmp_path / f"run_{len(teachers)}", env_name=env_name, **settings))
        return teachers[-1]

    yield make
    for teacher in teachers:
        teacher.close()


@pytest.fixture
def tabs(browser):
    """Yield a function that makes tabs. Their consoles must stay empty, and they may only request the server."""
    opened = []

    def make(**context):
        opened.append(Tab(browser, **context))
        return opened[-1]

    yield make
    for tab in opened:
        tab.context.close()
        assert tab.said == []
        assert {re.sub(r":\d+/.*", "", address) for address in tab.asked} <= {"http://127.0.0.1", "ws://127.0.0.1"}


@pytest.fixture
def lesson(teach, tabs):
    """Return a function that makes a session and a tab with its page."""

    def make(*args, **settings):
        teacher = teach(*args, **settings)
        return teacher, tabs().open(teacher)

    return make
