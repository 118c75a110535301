"""Teaching through the page: the loop that steps the session, and shows what happens."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rl_il.envs import is_discrete, is_picture
from rl_il.errors import InputError
from rl_il.infrastructure.video import render_frame
from rl_il.teacher.messages import notice
from rl_il.teacher.server import Server
from rl_il.teacher.session import Session
from rl_il.teacher.teaching import Teaching

JPEG_QUALITY = 85  # with every pixel's own colour: an observation of 96 x 96 would smear otherwise
UNDO_SECONDS = 5  # of the environment's time, taken back by one press of the button
IDLE_SECONDS = 0.25  # between two looks at a paused session: the learner goes on for a while


class Page:
    """Steps the session at the pace of its environment, obeys the page, sends it frames.

    Everything but `welcome` runs in the thread that calls `run`: the environment is stepped and drawn only there.
    """

    def __init__(self, teaching: Teaching, port: int, token: str | None = None):
        self.teaching, self.session = teaching, teaching.session
        self.size = picture(self.session).shape[1::-1]
        self.server = Server(port, self.welcome, token)
        teaching.tell = self.server.say
        self.session.paused = True  # until somebody is there, and starts
        self._shown: dict[str, Any] | None = None
        self._was_resting = False

    def run(self, check_signals: Callable[[], None], finished: Callable[[], bool]) -> None:
        """Step the session until `check_signals` raises or `finished()`."""
        due = time.monotonic()
        while not finished():
            check_signals()
            self.teaching.learner.check()
            self.obey()
            self.teaching.collect_measurement()
            if self.session.paused:
                if self.state() != self._shown:
                    self.show()
                self.server.inbox.changed.wait(IDLE_SECONDS)
                due = time.monotonic()
                continue
            keys = self.server.inbox.take_keys()
            if keys is not None:
                self.session.hold(keys.held, keys.stamp)
            self.session.step()
            self.show()
            step_seconds = 1 / (self.session.fps * self.session.speed)
            due = max(due + step_seconds, time.monotonic())  # a late step is not made up for
            time.sleep(max(0.0, due - time.monotonic()))

    def obey(self) -> None:
        """Do what the page asked for since the last step."""
        for command in self.server.inbox.take():
            self._shown = None
            try:
                text = OBEY[command.name](self, command.value)
            except InputError as error:
                self.server.say(notice(str(error), "error"))
            else:
                if text:
                    self.server.say(notice(text))

    def pause(self, paused: bool) -> None:
        """Pause the session, or go on."""
        self.session.paused = paused

    def save(self) -> str:
        """Save the running episode too; return what is said about it."""
        path = self.teaching.save()
        return f"saved: {path}" if path else "there is nothing to save yet"

    def state(self) -> dict[str, Any]:
        """Return what the page shows next to the picture."""
        saved, unsaved = len(self.teaching.recording.episodes), self.teaching.unsaved_steps
        return {**self.session.state(), "saved_episodes": saved, "unsaved_steps": unsaved}

    def show(self) -> None:
        """Send a frame, if anybody is there."""
        was_resting, self._was_resting = self._was_resting, self.teaching.learner.resting
        if self._was_resting and not was_resting:
            self.server.say(notice("training rests: no new label for a while"))
        if self.server.watched:
            self._shown = self.state()
            self.server.show(self._shown, jpeg(picture(self.session)))

    def welcome(self) -> dict[str, Any]:
        """Return what a tab is told first."""
        session, keys, space = self.session, self.session.keys, self.teaching.env.action_space
        names = keys.names if keys else ()
        axes = None
        if not is_discrete(space):
            names = names or [f"axis {i}" for i in range(len(space.low))]
            bounds = zip(names, space.low.tolist(), space.high.tolist(), strict=True)
            axes = [{"name": name, "low": low, "high": high} for name, low, high in bounds]
        return {
            "env_name": self.teaching.config.env_name,
            "pixel_observation": is_picture(self.teaching.env.observation_space),
            "width": self.size[0],
            "height": self.size[1],
            "fps": session.fps,
            "modes": list(session.modes) if keys else ["watch"],
            "actions": list(names) if axes is None else None,
            "axes": axes,
            "keys": [{"code": key.code, "label": key.label, "does": key.does} for key in (keys.keys if keys else ())],
            "do_nothing": keys.do_nothing if keys else None,
            "run_folder": str(self.teaching.folder),
            "labels_rule": self.teaching.config.labels,
            "undo_seconds": UNDO_SECONDS,
            "episodes": self.teaching.metrics.history,
            "state": self.state(),
        }


OBEY: dict[str, Callable[[Page, Any], str | None]] = {
    "join": lambda page, value: None,
    "leave": lambda page, value: page.session.release(),
    "mode": lambda page, value: page.session.set_mode(value),
    "pause": Page.pause,
    "undo": lambda page, value: f"{page.teaching.undo(value):,} labels undone",
    "reset": lambda page, value: page.session.reset(),
    "save": lambda page, value: page.save(),
    "speed": lambda page, value: page.session.set_speed(value),
}
"""What each command does with its value; a text that it returns is shown on the page."""


def picture(session: Session) -> np.ndarray:
    """Return what the session looks like, `(height, width, 3)` uint8: what it observes, if that is a picture."""
    return session.rollout.obs[-1] if is_picture(session.env.observation_space) else render_frame(session.env)


def jpeg(picture: np.ndarray) -> bytes:
    """Return the picture, `(height, width, 1 or 3)` uint8, as a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    picture = picture[..., 0] if picture.shape[2] == 1 else picture
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
