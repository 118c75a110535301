"""Keyboard keys and their actions in each environment, for the teaching page and the scripted teacher."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rl_il.errors import InputError


@dataclass(frozen=True)
class Key:
    """A key. `code` is the `KeyboardEvent.code` of browsers: the position on the keyboard, not the letter."""

    code: str
    label: str  # the text on the key
    does: str  # its effect, in words
    value: float  # the action if actions are integers, else the value of `axis` while it is held
    axis: int | None = None  # the dimension of a continuous action; None: the key makes all dimensions idle


@dataclass(frozen=True)
class KeyMap:
    """The keys of one environment.

    Args:
      keys: all keys. Several keys may have the same action.
      names: the names of the actions, from the smallest integer on, or of the axes if actions are continuous.
      idle: the action that is executed if a person must act and presses no key.
      do_nothing: the key for the idle action, if the task has an action that does nothing. Pressing it is a decision,
        so it gives a label. If no key is pressed, the agent acts.
    """

    keys: tuple[Key, ...]
    names: tuple[str, ...]
    idle: int | tuple[float, ...]
    do_nothing: str | None = None

    @property
    def discrete(self) -> bool:
        """Return whether actions are integers."""
        return isinstance(self.idle, int)

    @property
    def idle_action(self) -> np.ndarray:
        """Return the idle action: int64, or float32 if actions are continuous."""
        return np.array(self.idle, np.int64 if self.discrete else np.float32)[()]

    def action(self, held: Sequence[str]) -> np.ndarray | None:
        """Return the action for the keys `held`, which are in the order of pressing, or None if none has an action.

        An integer action is that of the key pressed last. For a continuous action, each key sets the value of its
        axis. If two keys have the same axis, the key pressed last counts.
        """
        codes = {key.code: key for key in self.keys}
        pressed = [codes[code] for code in held if code in codes]
        if not pressed:
            return None
        if self.discrete:
            return np.int64(pressed[-1].value)
        action = self.idle_action
        for key in pressed:
            if key.axis is None:
                action = self.idle_action
            else:
                action[key.axis] = key.value
        return action

    def nearest(self, action: np.ndarray) -> tuple[str, ...]:
        """Return the keys whose action is nearest to this one, or `()` for an integer action without a key."""
        if self.discrete:
            return next(((key.code,) for key in self.keys if key.value == action), ())
        return min(self._combinations(), key=lambda codes: float(np.sum((self.action(codes) - action) ** 2)))

    def _combinations(self) -> list[tuple[str, ...]]:
        """Return all combinations of at most one key per axis. The empty one becomes `do_nothing`, if that exists."""
        axes = [[None, *(key.code for key in self.keys if key.axis == axis)] for axis in range(len(self.names))]
        found = [tuple(code for code in codes if code) for codes in itertools.product(*axes)]
        nothing = (self.do_nothing,) if self.do_nothing else None
        return [codes or nothing for codes in found if codes or nothing]

    def adjusted(self, text: str) -> KeyMap:
        """Return the map with other values of some keys. An example of `text` is `ArrowUp=0.4,ArrowLeft=-0.3`.

        Raise `InputError` for a key without an axis, and for a value that is not a finite number.
        """
        keys = {key.code: key for key in self.keys}
        for part in text.split(","):
            code, _, number = part.partition("=")
            if code not in keys or keys[code].axis is None:
                known = ", ".join(key.code for key in self.keys if key.axis is not None) or "none"
                raise InputError(f"--key_values {part}: expected a key of a continuous action (here: {known})")
            try:
                value = float(number)
                if not np.isfinite(value):
                    raise ValueError
            except ValueError:
                raise InputError(f"--key_values {part}: must be KEY=NUMBER, such as {code}=0.5") from None
            keys[code] = replace(keys[code], value=value)
        return replace(self, keys=tuple(keys.values()))


def digit_keys(n_actions: int, start: int = 0) -> KeyMap:
    """Return keys for integer actions from `start` on, of unknown meaning: 0 to 9, then letters.

    The key of an action up to 9 is its own digit. Further actions, and negative ones, have no key.
    """
    codes = [(f"Digit{i}", str(i)) for i in range(10)] + [(f"Key{letter}", letter) for letter in LETTERS]
    actions = range(start, start + n_actions)
    keys = [Key(*codes[i], f"action {i}", i) for i in actions if 0 <= i < len(codes)]
    return KeyMap(tuple(keys), tuple(f"action {i}" for i in actions), idle=start)


AXES = (("ArrowLeft", "←", "ArrowRight", "→"), ("ArrowDown", "↓", "ArrowUp", "↑"), ("KeyA", "A", "KeyD", "D"))
"""The two keys of each axis of a continuous action of unknown meaning: for its smallest and for its largest value."""


def axis_keys(low: np.ndarray, high: np.ndarray) -> KeyMap:
    """Return keys for continuous actions of unknown meaning with bounds `low` and `high`, `(n,)`, of up to 3 axes.

    An axis without a key is idle: 0, or the bound next to it. An infinite bound counts as -1 or 1.
    """
    low, high = np.where(np.isfinite(low), low, -1.0), np.where(np.isfinite(high), high, 1.0)
    keys = [Key("Space", "space", "do nothing", 0)]
    for axis, (down, down_label, up, up_label) in enumerate(AXES[: len(low)]):
        keys.append(Key(down, down_label, f"{low[axis]:g} on axis {axis}", float(low[axis]), axis))
        keys.append(Key(up, up_label, f"{high[axis]:g} on axis {axis}", float(high[axis]), axis))
    idle = tuple(map(float, np.clip(0.0, low, high)))
    return KeyMap(tuple(keys), tuple(f"axis {axis}" for axis in range(len(low))), idle, do_nothing="Space")


LETTERS = "QWERTYUIOASDFGHJKLZXCVBNM"  # without P, which pauses the page

MOUNTAIN_CAR = KeyMap(
    keys=(
        Key("ArrowLeft", "←", "push left", 0),
        Key("ArrowDown", "↓", "do nothing", 1),
        Key("ArrowRight", "→", "push right", 2),
    ),
    names=("push left", "do nothing", "push right"),
    idle=1,
    do_nothing="ArrowDown",
)
LUNAR_LANDER = KeyMap(
    keys=(
        Key("ArrowUp", "↑", "do nothing", 0),
        Key("ArrowLeft", "←", "push left", 1),
        Key("ArrowDown", "↓", "main engine", 2),
        Key("ArrowRight", "→", "push right", 3),
    ),
    names=("do nothing", "push left", "main engine", "push right"),
    idle=0,
    do_nothing="ArrowUp",
)
LUNAR_LANDER_CONTINUOUS = KeyMap(
    keys=(
        Key("ArrowUp", "↑", "do nothing", 0),
        Key("ArrowLeft", "←", "push left", -1, axis=1),
        Key("ArrowDown", "↓", "main engine", 1, axis=0),
        Key("ArrowRight", "→", "push right", 1, axis=1),
    ),
    names=("main engine", "sideways"),
    idle=(0.0, 0.0),
    do_nothing="ArrowUp",
)
CAR_RACING = KeyMap(
    keys=(
        Key("ArrowLeft", "←", "steer left", -0.5, axis=0),
        Key("ArrowUp", "↑", "gas", 0.2, axis=1),
        Key("ArrowDown", "↓", "brake", 0.1, axis=2),
        Key("ArrowRight", "→", "steer right", 0.5, axis=0),
        Key("Space", "space", "do nothing", 0),
    ),
    names=("steering", "gas", "brake"),
    idle=(0.0, 0.0, 0.0),
    do_nothing="Space",
)
