"""The page's loop in the corridor: pace, commands, what is shown."""

import io
import stat
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from fakes import picture_of
from PIL import Image

from rl_il.teacher import page as page_module
from rl_il.teacher.display import picture
from rl_il.teacher.messages import Command, Keys
from rl_il.teacher.page import OBEY, Page
from rl_il.teacher.run import opened
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import open_teaching


class FakeServer:
    """Keeps what it is told; somebody watches."""

    watched = True

    def __init__(self, port, welcome, token=None):
        from rl_il.teacher.inbox import Inbox

        self.inbox, self.said, self.shown = Inbox(), [], []

    def say(self, message):
        self.said.append(message)

    def show(self, state, picture):
        self.shown.append((state, picture))


class Clock:
    """Time that passes in sleeps alone, and in `late` seconds at the steps of these numbers."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def open_page(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(page_module, "Server", FakeServer)
    monkeypatch.setattr(page_module, "time", clock)
    with ExitStack() as stack:

        def make(**settings):
            settings = {"env_name": "TimedCorridor-v0", "updates_per_step": 0, "eval_every": -1} | settings
            teaching = open_teaching(stack, TeachConfig(logdir=str(tmp_path / "run"), **settings), inline=False)
            stack.callback(teaching.abandon)
            page = Page(teaching, 0)
            page.clock = clock
            page.session.paused = False
            return page

        yield make


def run(page, turns):
    """So many turns of the loop."""
    left = iter(range(turns))
    page.run(lambda: None, lambda: next(left, None) is None)


def command(page, name, value=None):
    assert page.server.inbox.put(Command(name, value))


def test_it_waits_until_somebody_starts(open_page):
    page = open_page()
    assert Page(page.teaching, 0).session.paused


def test_a_step_takes_its_time_and_the_speed_changes_it(open_page):
    page = open_page()  # ten steps a second
    run(page, 3)
    command(page, "speed", 4)
    run(page, 2)
    assert page.clock.slept == pytest.approx([0.1, 0.1, 0.1, 0.025, 0.025])


def test_a_late_step_is_not_made_up_for(open_page):
    page = open_page()
    step = page.session.step
    delays = iter([0.0, 0.25, 0.0, 0.0])

    def slow_step():
        page.clock.now += next(delays)
        return step()

    page.session.step = slow_step
    run(page, 4)
    assert page.clock.slept == pytest.approx([0.1, 0, 0.1, 0.1])


def test_keys_are_read_at_each_step(open_page):
    page = open_page()
    page.server.inbox.put(Keys(("Digit2",), 5.0))
    run(page, 1)
    page.server.inbox.put(Keys((), 6.0))
    run(page, 1)
    assert page.teaching.env.unwrapped.executed[0] == 2
    assert [state["acting"] for state, _ in page.server.shown] == ["human", "agent"]
    assert [state["keys_stamp"] for state, _ in page.server.shown] == [5.0, 6.0]


def test_each_step_is_shown_as_a_jpeg_of_the_environment(open_page):
    page = open_page()
    run(page, 2)
    for i, (state, frame) in enumerate(page.server.shown, start=1):
        image = np.array(Image.open(io.BytesIO(frame)))
        assert state["step"] == i and image.shape == (20, 30, 3)
        assert abs(int(image[0, 0, 0]) - 10 * i) <= 2


def test_nobody_there_nothing_is_drawn(open_page, monkeypatch):
    page = open_page()
    page.server.watched = False
    monkeypatch.setattr(page_module, "picture", None)
    run(page, 2)
    assert page.server.shown == []


def test_commands_are_obeyed(open_page):
    page = open_page()
    command(page, "mode", "watch")
    run(page, 1)
    assert page.session.mode == "watch"
    command(page, "pause", True)
    page.server.inbox.changed.wait = lambda seconds: None
    run(page, 2)
    assert page.session.paused and len(page.session.acs) == 1
    command(page, "pause", False)
    command(page, "reset")
    run(page, 1)
    assert page.session.episode == 1 and page.server.said[-1]["ended"] == "reset"
    command(page, "mode", "demonstrate")
    run(page, 3)
    command(page, "undo", 0.2)
    command(page, "save")
    run(page, 1)
    undone, saved = page.server.said[-2:]
    assert undone["text"] == "2 labels undone" and undone["level"] == "info"
    assert saved["text"] == f"saved: {page.teaching.folder}"
    assert page.session.labels.counts["human"] == 2


def test_what_cannot_be_done_is_said_and_the_session_goes_on(open_page):
    page = open_page()
    for name, value in (("mode", "dance"), ("undo", -5), ("undo", 1e14), ("speed", 99)):
        command(page, name, value)
    run(page, 1)
    assert [message["level"] for message in page.server.said] == ["error"] * 4
    assert len(page.session.acs) == 1


def test_whoever_leaves_pauses_and_whoever_comes_sees_the_paused_episode(open_page):
    page = open_page()
    page.server.inbox.put(Keys(("Digit2",), None))
    run(page, 1)
    page.server.inbox.leave()
    page.server.inbox.changed.wait = lambda seconds: None
    run(page, 3)
    assert page.session.paused and page.session.held == () and len(page.session.acs) == 1
    shown = len(page.server.shown)
    run(page, 3)
    assert len(page.server.shown) == shown  # nothing changes
    page.server.inbox.join()
    run(page, 3)
    assert len(page.server.shown) == shown + 1
    assert page.server.shown[-1][0]["paused"]


def test_an_episodes_end_is_told(open_page):
    page = open_page()
    run(page, 5)
    (message,) = page.server.said
    expected = {"type": "episode", "episode": 0, "length": 5, "ended": "truncated", "source": "teach"}
    assert message | expected == message
    assert message["return"] == sum(page.teaching.env.unwrapped.executed)
    assert page.server.shown[-1][0]["saved_episodes"] == 1


def test_the_learners_rest_is_said_once(open_page):
    page = open_page()
    page.teaching.learner.since_label = 5000
    run(page, 3)
    assert [message["text"] for message in page.server.said] == ["training rests: no new label for a while"]


def test_what_ends_the_learner_ends_the_loop(open_page):
    page = open_page()
    page.teaching.learner.error = ValueError("planted")
    with pytest.raises(ValueError, match="planted"):
        run(page, 1)


def test_welcome_says_what_the_page_must_know(open_page):
    page = open_page()
    welcome = page.welcome()
    assert (welcome["env_name"], welcome["width"], welcome["height"], welcome["fps"]) == (
        *("TimedCorridor-v0", 30, 20),
        10,
    )
    assert welcome["actions"] == ["action 0", "action 1", "action 2"] and welcome["axes"] is None
    assert welcome["keys"][1] == {"code": "Digit1", "label": "1", "does": "action 1"}
    assert welcome["modes"] == ["demonstrate", "teach", "watch"] and welcome["episodes"] == []


def test_continuous_axes_come_with_their_bounds_and_without_keys_one_can_only_watch(open_page):
    welcome = open_page(env_name="CorridorContinuous-v0", mode="watch").welcome()
    assert welcome["axes"] == [
        {"name": "axis 0", "low": -1.0, "high": 1.0},
        {"name": "axis 1", "low": -2.0, "high": 2.0},
    ]
    assert (welcome["actions"], welcome["keys"], welcome["modes"]) == (None, [], ["watch"])


def test_every_command_is_obeyed_somehow():
    from rl_il.teacher.messages import COMMANDS

    assert OBEY.keys() == COMMANDS.keys()


def test_an_observed_picture_is_shown_as_it_is(open_page):
    page = open_page(env_name="PictureCorridor-v0", mode="watch")
    assert page.welcome()["pixel_observation"]
    assert picture(page.session) is page.session.ob
    assert page.session.env.render_mode is None  # it need not draw another
    run(page, 2)
    image = np.array(Image.open(io.BytesIO(page.server.shown[-1][1])))
    assert np.abs(image[:30].mean((0, 1)) - picture_of(2)[:30].mean((0, 1))).max() < 2


def test_the_browser_is_sent_by_a_file_that_only_its_owner_can_read(monkeypatch):
    seen = []

    def look(address):
        path = Path(url2pathname(urlparse(address).path))
        seen.append((path.read_text(), stat.S_IMODE(path.parent.stat().st_mode)))
        assert "secret" not in address

    monkeypatch.setattr(webbrowser, "open", look)
    with opened("http://127.0.0.1:1/#token=secret"):
        pass
    assert seen == [('<meta http-equiv="refresh" content="0; url=http://127.0.0.1:1/#token=secret">', 0o700)]
