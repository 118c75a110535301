"""The page's loop with the corridor: pace, commands, what is shown."""

import io
import stat
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from fakes import picture_of
from PIL import Image
from systems import WINDOWS

from rl_il.teacher import page_loop as page_module
from rl_il.teacher.messages import COMMANDS, Command, Inbox, Keys
from rl_il.teacher.page_loop import OBEY, PageLoop, picture
from rl_il.teacher.run import opened
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import open_teaching


def fake_server(port, welcome, token=None):
    """Return a server that records what is sent, with a tab connected."""
    server = Mock(watched=True, inbox=Inbox(), said=[], shown=[])
    server.inbox.changed.wait = lambda seconds: None
    server.say = server.said.append
    server.show = lambda state, picture: server.shown.append((state, picture))
    return server


class Clock:
    """A clock that only `sleep` moves."""

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
    monkeypatch.setattr(page_module, "Server", fake_server)
    monkeypatch.setattr(page_module, "time", clock)
    with ExitStack() as stack:

        def make(**settings):
            settings = {"env_name": "TimedCorridor-v0", "updates_per_step": 0, "eval_every": -1} | settings
            teaching = open_teaching(stack, TeachConfig(logdir=str(tmp_path / "run"), **settings))
            stack.callback(teaching.abandon)
            page = PageLoop(teaching, 0)
            page.clock = clock
            page.session.paused = False
            return page

        yield make


def run(page, turns):
    """Run so many turns of the loop."""
    left = iter(range(turns))
    page.run(lambda: None, lambda: next(left, None) is None)


def command(page, name, value=None):
    assert page.server.inbox.put(Command(name, value))


def test_a_step_takes_real_time_divided_by_the_speed(open_page):
    page = open_page()  # ten steps a second
    run(page, 3)
    command(page, "speed", 4)
    run(page, 2)
    assert page.clock.slept == pytest.approx([0.1, 0.1, 0.1, 0.025, 0.025])


def test_the_time_lost_by_a_late_step_is_not_caught_up(open_page):
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


@pytest.mark.parametrize("released, acting", [(False, "human"), (True, "agent")])
def test_after_a_pause_the_keys_that_are_still_held_act(open_page, released, acting):
    page = open_page()
    page.session.paused = True
    page.server.inbox.put(Keys(("Digit2",), 5.0))
    if released:
        page.server.inbox.put(Keys((), 6.0))
    run(page, 1)
    command(page, "pause", False)
    run(page, 1)
    ((state, _),) = page.server.shown[1:]
    assert (state["acting"], state["step"], state["keys_stamp"]) == (acting, 1, None)


def test_the_page_gets_the_totals_of_the_session(open_page):
    page = open_page()
    for held in (("Digit2",), (), ("Digit1",), (), ()):
        page.server.inbox.put(Keys(held, None))
        run(page, 1)
    run(page, 3)  # the start of the second episode, and two steps
    totals = [
        {"Train_EnvstepsSoFar": 5, "Expert_LabelsSoFar": 2, "Expert_ConsultedSoFar": 5},
        {"Train_EnvstepsSoFar": 7, "Expert_LabelsSoFar": 2, "Expert_ConsultedSoFar": 7},
    ]
    totals = [counts | {"Expert_StepsSoFar": 2, "Expert_TakeoversSoFar": 2} for counts in totals]
    assert [message["counts"] for message in page.server.said] == totals[:1]  # about the finished episode
    assert page.server.shown[-1][0]["counts"] == page.welcome()["state"]["counts"] == totals[1]


def test_each_step_is_shown_as_a_jpeg_of_the_environment(open_page):
    page = open_page()
    page.server.watched = False  # no tab is connected, so nothing is drawn
    run(page, 1)
    assert page.server.shown == []
    page.server.watched = True
    run(page, 1)
    ((state, frame),) = page.server.shown
    image = np.array(Image.open(io.BytesIO(frame)))
    assert state["step"] == 2 and image.shape == (20, 30, 3)
    assert abs(int(image[0, 0, 0]) - 20) <= 2


def test_commands_are_carried_out(open_page):
    assert OBEY.keys() == COMMANDS.keys() | {"join", "leave"}
    page = open_page()
    command(page, "mode", "watch")
    run(page, 1)
    assert page.session.mode == "watch"
    command(page, "pause", True)
    run(page, 2)
    assert page.session.paused and len(page.session.rollout) == 1
    command(page, "pause", False)
    command(page, "reset")
    run(page, 1)
    assert page.session.episode == 1 and page.server.said[-1]["ended"] == "reset"
    assert page.server.shown[-1][0]["saved_episodes"] == 1
    command(page, "mode", "demonstrate")
    run(page, 3)
    command(page, "undo", 0.2)
    command(page, "save")
    run(page, 1)
    undone, saved = page.server.said[-2:]
    assert "2" in undone["text"] and undone["level"] == "info"
    assert str(page.teaching.folder) in saved["text"]
    assert page.session.labels.counts["human"] == 2


def test_a_command_that_fails_gives_a_notice_and_the_session_goes_on(open_page):
    page = open_page()
    command(page, "undo", -5)
    run(page, 1)
    assert [message["level"] for message in page.server.said] == ["error"]
    assert len(page.session.rollout) == 1


def test_leaving_pauses_and_the_next_tab_gets_the_paused_episode(open_page):
    page = open_page()
    page.server.inbox.put(Keys(("Digit2",), None))
    run(page, 1)
    page.server.inbox.leave()
    run(page, 3)
    assert page.session.paused and page.session.person.held == () and len(page.session.rollout) == 1
    shown = len(page.server.shown)
    run(page, 3)
    assert len(page.server.shown) == shown  # nothing has changed
    command(page, "join")
    run(page, 3)
    assert len(page.server.shown) == shown + 1
    assert page.server.shown[-1][0]["paused"]


def test_a_resting_learner_gives_one_notice_and_its_error_is_raised(open_page):
    page = open_page()
    page.teaching.learner.since_label = 5000
    run(page, 3)
    assert [message["type"] for message in page.server.said] == ["notice"]
    page.teaching.learner.error = ValueError("planted")
    with pytest.raises(ValueError, match="planted"):
        run(page, 1)


def test_welcome_describes_the_session(open_page):
    page = open_page()
    welcome = page.welcome()
    expected = {"env_name": "TimedCorridor-v0", "width": 30, "height": 20, "fps": 10}
    assert welcome | expected == welcome
    assert welcome["actions"] == ["action 0", "action 1", "action 2"] and welcome["axes"] is None
    assert welcome["keys"][1] == {"code": "Digit1", "label": "1", "does": "action 1"}
    assert welcome["modes"] == ["demonstrate", "teach", "watch"] and welcome["episodes"] == []
    assert PageLoop(page.teaching, 0).session.paused  # until the user starts


KEYS_OF_TWO_AXES = ["Space", "ArrowLeft", "ArrowRight", "ArrowDown", "ArrowUp"]


def test_continuous_axes_come_with_their_bounds(open_page):
    welcome = open_page(env_name="CorridorContinuous-v0", mode="watch").welcome()
    assert [tuple(axis.values()) for axis in welcome["axes"]] == [("axis 0", -1, 1), ("axis 1", -2, 2)]
    assert (welcome["actions"], [key["code"] for key in welcome["keys"]]) == (None, KEYS_OF_TWO_AXES)


def test_an_observed_picture_is_shown_as_it_is(open_page):
    page = open_page(env_name="PictureCorridor-v0", mode="watch")
    assert page.welcome()["pixel_observation"]
    np.testing.assert_array_equal(picture(page.session), page.session.rollout.obs[-1])
    assert page.session.env.render_mode is None  # no other picture is drawn
    run(page, 2)
    image = np.array(Image.open(io.BytesIO(page.server.shown[-1][1])))
    assert np.abs(image[:30].mean((0, 1)) - picture_of(2)[:30].mean((0, 1))).max() < 2


def test_the_browser_opens_a_file_that_only_its_owner_can_read(monkeypatch):
    seen = []

    def look(address):
        path = Path(url2pathname(urlparse(address).path))
        seen.append((path.read_text(), stat.S_IMODE(path.parent.stat().st_mode)))
        assert "secret" not in address

    monkeypatch.setattr(webbrowser, "open", look)
    with opened("http://127.0.0.1:1/#token=secret"):
        pass
    ((text, mode),) = seen
    assert "http://127.0.0.1:1/#token=secret" in text and (WINDOWS or mode == 0o700)
