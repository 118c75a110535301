"""Teaching through the page: the loop that steps the session, and shows what happens."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rl_il.envs import is_discrete, is_picture
from rl_il.errors import InputError
from rl_il.teacher.display import UNDO_SECONDS, picture
from rl_il.teacher.messages import Command, notice
from rl_il.teacher.server import Server
from rl_il.teacher.teaching import Teaching

JPEG_QUALITY = 85  # with every pixel's own colour: an observation of 96 x 96 would smear otherwise
IDLE_SECONDS = 0.25  # between two looks at a paused session: the learner goes on for a while


class Page:
    """Steps the session at the pace of its environment, obeys the page, sends it frames.

    Everything here runs in the thread that calls `run`: the environment is stepped and drawn there alone.
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
        """Until `check_signals` raises or `finished()`."""
        due = time.monotonic()
        while not finished():
            check_signals()
            self.teaching.learner.check()
            self.obey()
            self.teaching.collect_measurement()
            if self.session.paused:
                self.show_changes()
                self.server.inbox.changed.wait(IDLE_SECONDS)
                due = time.monotonic()
                continue
            self.hold_keys()
            self.session.step()
            self.show()
            step_seconds = 1 / (self.session.fps * self.session.speed)
            due = max(due + step_seconds, time.monotonic())  # a late step is not made up for
            time.sleep(max(0.0, due - time.monotonic()))

    def hold_keys(self) -> None:
        """The session holds what the page's keys are now."""
        keys = self.server.inbox.take_keys()
        if keys is not None:
            self.session.hold(keys.held, keys.stamp)

    # What the page asks for -----------------------------------------------------------------------------------

    def obey(self) -> None:
        """Does what the page asked for since the last step."""
        left, joined, commands = self.server.inbox.take()
        if left:
            self.session.release()
        for command in commands:
            try:
                text = OBEY[command.name](self, command)
            except InputError as error:
                self.server.say(notice(str(error), "error"))
            else:
                if text:
                    self.server.say(notice(text))
        if joined or commands:
            self._shown = None

    def pause(self, command: Command) -> None:
        """`pause`."""
        self.session.paused = command.value

    def undo(self, command: Command) -> str:
        """`undo`."""
        return f"{self.teaching.undo(command.value):,} labels undone"

    def save(self, command: Command) -> str:
        """`save`."""
        path = self.teaching.save()
        return f"saved: {path}" if path else "there is nothing to save yet"

    # What the page is shown -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the page shows beside the picture."""
        saved = {
            "saved_episodes": len(self.teaching.recording.episodes),
            "unsaved_steps": self.teaching.unsaved_steps,
        }
        return self.session.state() | saved

    def show(self) -> None:
        """Sends a frame, if anybody is there."""
        was_resting, self._was_resting = self._was_resting, self.teaching.learner.resting
        if self._was_resting and not was_resting:
            self.server.say(notice("training rests: no new label for a while"))
        if self.server.watched:
            self._shown = self.state()
            self.server.show(self._shown, jpeg(picture(self.session)))

    def show_changes(self) -> None:
        """Sends a frame, if anything is not as it was shown last."""
        if self.state() != self._shown:
            self.show()

    def welcome(self) -> dict[str, Any]:
        """What a tab is told first."""
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
            "modes": session.modes if keys else ["watch"],
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


OBEY: dict[str, Callable[[Page, Command], str | None]] = {
    "mode": lambda page, command: page.session.set_mode(command.value),
    "pause": Page.pause,
    "undo": Page.undo,
    "reset": lambda page, command: page.session.reset(),
    "save": Page.save,
    "speed": lambda page, command: page.session.set_speed(command.value),
}
"""What each command of the page does; a text is shown there."""


def jpeg(picture: np.ndarray) -> bytes:
    """`(height, width, 1 or 3)` uint8 as a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    picture = picture[..., 0] if picture.shape[2] == 1 else picture
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
