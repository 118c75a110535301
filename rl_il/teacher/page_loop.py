"""Teaching through the page: the loop that steps the session and sends what happens to the browser."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from rl_il.envs import is_discrete, is_picture, newest_picture
from rl_il.errors import InputError
from rl_il.infrastructure.video import render_frame
from rl_il.report.tables import count
from rl_il.teacher.messages import notice
from rl_il.teacher.server import Server
from rl_il.teacher.session import Session
from rl_il.teacher.teaching import Teaching

JPEG_QUALITY = 85  # without colour subsampling, which would blur an observation of 96 x 96 pixels
UNDO_SECONDS = 5  # one press of Undo removes the labels of this time, measured at the environment's normal speed
IDLE_SECONDS = 0.25  # between two checks of a paused session; its learner may still be training


class PageLoop:
    """The loop behind the page: it steps the session in real time, carries out the page's commands, and sends frames.

    Everything except `welcome` runs in the thread that calls `run`. So only that thread steps and renders the
    environment.

    Args:
      teaching: the session, with its learner and its folder.
      port: the server's port on 127.0.0.1; 0 means any free port.
      token: the secret in the page's address; None means a new random token.
    """

    def __init__(self, teaching: Teaching, port: int, token: str | None = None):
        self.teaching, self.session = teaching, teaching.session
        self.size = picture(self.session).shape[1::-1]
        self.server = Server(port, self.welcome, token)
        teaching.tell = self.server.say
        self.session.paused = True  # until the user presses Start
        self._shown: dict[str, Any] | None = None
        self._was_resting = False

    def run(self, check_signals: Callable[[], None], finished: Callable[[], bool]) -> None:
        """Step the session until `check_signals` raises an error or `finished()` returns true."""
        due = time.monotonic()
        while not finished():
            check_signals()
            self.teaching.learner.check()
            self.obey()
            self.teaching.collect_measurement()
            if self.session.paused:
                while (keys := self.server.inbox.take_keys()) is not None:
                    self.session.hold(keys.held)  # keys that are still held act after the pause
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
            due = max(due + step_seconds, time.monotonic())  # after a late step, no step is faster
            time.sleep(max(0.0, due - time.monotonic()))

    def obey(self) -> None:
        """Carry out the page's commands since the last step."""
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
        """Pause or resume the session."""
        self.session.paused = paused

    def save(self) -> str:
        """Save the running episode too; return the notice for the page."""
        path = self.teaching.save()
        return f"saved: {path}" if path else "No step has been made yet, so nothing was saved."

    def state(self) -> dict[str, Any]:
        """Return what the page shows next to the picture: numbers and texts."""
        saved, unsaved = len(self.teaching.recording.episodes), self.teaching.unsaved_steps
        return {**self.session.state(), "saved_episodes": saved, "unsaved_steps": unsaved}

    def show(self) -> None:
        """Send the state and a frame if a tab is connected, and a notice when training begins to wait for a label."""
        was_resting, self._was_resting = self._was_resting, self.teaching.learner.resting
        if self._was_resting and not was_resting:
            self.server.say(notice("Training waits for a new label."))
        if self.server.watched:
            self._shown = self.state()
            self.server.show(self._shown, jpeg(picture(self.session)))

    def welcome(self) -> dict[str, Any]:
        """Return the first message to a tab: what the page needs to know about the session."""
        session, keys, space = self.session, self.session.keys, self.teaching.env.action_space
        names = keys.names if keys else ()
        axes = None
        if not is_discrete(space):
            names = names or [f"axis {i}" for i in range(space.low.size)]
            bounds = zip(names, space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)
            axes = [{"name": name, "low": low, "high": high} for name, low, high in bounds]
        return {
            "env_name": self.teaching.config.env_name,
            "pixel_observation": is_picture(self.teaching.env.observation_space),
            "width": self.size[0],
            "height": self.size[1],
            "fps": session.fps,
            "modes": list(session.modes) if keys else ["watch"],
            "actions": list(names) if axes is None else None,
            "first_action": int(space.start) if isinstance(space, Discrete) else 0,
            "axes": axes,
            "keys": [{"code": key.code, "label": key.label, "does": key.does} for key in (keys.keys if keys else ())],
            "do_nothing": keys.do_nothing if keys else None,
            "run_folder": str(self.teaching.folder),
            "labels_rule": self.teaching.config.labels,
            "undo_seconds": UNDO_SECONDS,
            "episodes": self.teaching.metrics.history,
            "state": self.state(),
        }


OBEY: dict[str, Callable[[PageLoop, Any], str | None]] = {
    "join": lambda page, value: None,
    "leave": lambda page, value: page.session.release(),
    "mode": lambda page, value: page.session.set_mode(value),
    "pause": PageLoop.pause,
    "undo": lambda page, value: f"{count(page.teaching.undo(value), 'label')} removed",
    "reset": lambda page, value: page.session.reset(),
    "save": lambda page, value: page.save(),
    "speed": lambda page, value: page.session.set_speed(value),
}
"""The function that carries out each command with its value. If it returns a text, the page shows it."""


def picture(session: Session) -> np.ndarray:
    """Return `(height, width, 1 or 3)` uint8: the observation if it is a picture, else a frame of the environment."""
    if is_picture(session.env.observation_space):
        return newest_picture(session.rollout.obs[-1])
    return render_frame(session.env)


def jpeg(picture: np.ndarray) -> bytes:
    """Return the bytes of a JPEG file of the picture, `(height, width, 1 or 3)` uint8."""
    from PIL import Image

    file = io.BytesIO()
    picture = picture[..., 0] if picture.shape[2] == 1 else picture
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
