"""The window, drawn by pygame into nothing."""

import fakes  # noqa: F401  (registers the corridors)
import numpy as np
import pytest

from rl_il.datasets import load_trajectories
from rl_il.errors import InputError, Interrupted
from rl_il.teacher import demos, window
from rl_il.teacher.demos import record_human_demos
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.window import check_display, key_codes

pygame = pytest.importorskip("pygame")


@pytest.fixture
def screen(monkeypatch):
    """No display is needed, and no time passes. `screen[n]` are the events before the nth look."""
    events = {}
    looks = iter(range(10**6))
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(demos, "check_display", lambda: None)
    monkeypatch.setattr(window.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(pygame.event, "get", lambda: events.get(next(looks), []))
    return events


def key(kind, code):
    return pygame.event.Event(kind, key=code)


def down(*codes):
    return [key(pygame.KEYDOWN, code) for code in codes]


def record(tmp_path, n=1, **settings):
    config = TeachConfig("TimedCorridor-v0", mode="demonstrate", updates_per_step=0, eval_every=-1)
    config = TeachConfig(**vars(config) | {"logdir": str(tmp_path / "run")})
    return record_human_demos(config, tmp_path / "mine.npz", n, local=True, **settings)


def test_keys_become_labels_and_only_whole_episodes_are_kept(screen, tmp_path):
    screen[0] = down(pygame.K_2)
    screen[2] = [key(pygame.KEYUP, pygame.K_2), *down(pygame.K_1)]
    (trajectory,) = record(tmp_path)
    assert trajectory.acs.tolist() == [2, 2, 1, 1, 1]
    assert trajectory.labelled_steps.all() and trajectory.truncated
    np.testing.assert_array_equal(load_trajectories(tmp_path / "mine.npz")[0].acs, trajectory.acs)


def test_it_goes_on_until_enough_episodes_are_good(screen, tmp_path):
    screen[6] = down(pygame.K_2)  # the first episode is idle
    kept = record(tmp_path, n=2, min_return=3)
    assert [t.episode_return for t in kept] == [10, 10]
    assert len(load_trajectories(tmp_path / "run")) == 3


def test_pause_and_undo_have_keys_and_losing_the_focus_lets_go(screen, tmp_path):
    screen[0] = down(pygame.K_2)
    screen[1] = [pygame.event.Event(pygame.WINDOWFOCUSLOST)]
    screen[3] = down(pygame.K_p)
    screen[5] = down(pygame.K_BACKSPACE)
    (trajectory,) = record(tmp_path)
    assert trajectory.acs.tolist() == [2, 0, 0, 0, 0]
    assert trajectory.labelled_steps.tolist() == [False] * 3 + [True] * 2


@pytest.mark.parametrize("event", [pygame.event.Event(pygame.QUIT), *down(pygame.K_ESCAPE)])
def test_a_closed_window_ends_it(screen, tmp_path, event):
    screen[2] = [event]
    with pytest.raises(InputError, match="closed before an episode was finished"):
        record(tmp_path)
    assert not (tmp_path / "mine.npz").exists()


def test_ctrl_c_keeps_what_there_is(screen, tmp_path, monkeypatch):
    screen[7] = None  # not iterable: stands for the signal
    monkeypatch.setattr(pygame.event, "get", interrupting(pygame.event.get))
    with pytest.raises(Interrupted, match=r"mine\.npz holds 1 episodes"):
        record(tmp_path, n=3)
    assert len(load_trajectories(tmp_path / "mine.npz")) == 1


def interrupting(get):
    def get_or_stop():
        events = get()
        if events is None:
            raise KeyboardInterrupt
        return events

    return get_or_stop


@pytest.mark.parametrize(
    "settings, visible", [({}, False), ({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "w"}, True)]
)
def test_without_a_display_it_is_refused(monkeypatch, settings, visible):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(window.sys, "platform", "linux")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if visible:
        check_display()
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.raises(InputError, match="there is no display here"):
        check_display()


def test_keys_have_the_names_that_browsers_give_them():
    codes = key_codes(pygame)
    assert codes[pygame.K_LEFT] == "ArrowLeft" and codes[pygame.K_7] == "Digit7" and codes[pygame.K_SPACE] == "Space"
    assert pygame.K_p not in codes and len({*codes.values()}) == len(codes) == 40
