"""What keys do in an environment: data for the teacher's page and its stand-in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rl_il.errors import InputError


@dataclass(frozen=True)
class Key:
    """One key. `code` is the browsers' `KeyboardEvent.code`: the place on the keyboard, not the letter."""

    code: str
    label: str  # what is printed on it
    does: str
    value: float  # the action if actions are integers, else the number that it puts on `axis`
    axis: int | None = None  # of a continuous action; None sets all axes to idle


@dataclass(frozen=True)
class KeyMap:
    """The keys of one environment.

    Args:
      keys: all of them; an action may have several.
      names: of the actions if they are integers, else of the axes.
      idle: the action that is performed where a person must act and presses nothing.
      do_nothing: the key that chooses the idle action, where the task has one that does nothing. Pressing it is
        a choice, and a label; pressing nothing lets the agent act.
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
        """Return the idle action, int64 or float32."""
        return np.array(self.idle, np.int64 if self.discrete else np.float32)[()]

    def action(self, held: Sequence[str]) -> np.ndarray | None:
        """Return the action of the keys `held`, given in the order in which they were pressed; None if none is known.

        Integer: the key pressed last decides. Continuous: each key sets its axis, the one pressed last wins.
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
        """Return the keys whose action is nearest to this one; none only for an integer action that has no key."""
        if self.discrete:
            return next(((key.code,) for key in self.keys if key.value == action), ())
        return min(self._combinations(), key=lambda codes: float(np.sum((self.action(codes) - action) ** 2)))

    def _combinations(self) -> list[tuple[str, ...]]:
        """Return all choices of at most one key an axis, with the key that does nothing in the place of no key."""
        axes = [[None, *(key.code for key in self.keys if key.axis == axis)] for axis in range(len(self.names))]
        found = [tuple(code for code in codes if code) for codes in itertools.product(*axes)]
        nothing = (self.do_nothing,) if self.do_nothing else None
        return [codes or nothing for codes in found if codes or nothing]

    def adjusted(self, text: str) -> KeyMap:
        """Return the map with other numbers for some keys, such as `ArrowUp=0.4,ArrowLeft=-0.3`.

        Raise `InputError` for a key that has no number, and for a number that is none.
        """
        keys = {key.code: key for key in self.keys}
        for part in text.split(","):
            code, _, number = part.partition("=")
            if code not in keys or keys[code].axis is None:
                known = ", ".join(key.code for key in self.keys if key.axis is not None) or "none here"
                raise InputError(f"--key_values {part}: only keys with a strength have a number: {known}")
            try:
                value = float(number)
                if not np.isfinite(value):
                    raise ValueError
            except ValueError:
                raise InputError(f"--key_values {part}: must be KEY=NUMBER, such as {code}=0.5") from None
            keys[code] = replace(keys[code], value=value)
        return replace(self, keys=tuple(keys.values()))


def digit_keys(n_actions: int) -> KeyMap:
    """Return keys for integer actions of unknown meaning: 0 to 9, then letters; further actions have no key."""
    codes = [(f"Digit{i}", str(i)) for i in range(10)] + [(f"Key{letter}", letter) for letter in LETTERS]
    keys = [Key(code, label, f"action {i}", i) for i, (code, label) in enumerate(codes[:n_actions])]
    return KeyMap(tuple(keys), tuple(f"action {i}" for i in range(n_actions)), idle=0)


LETTERS = "QWERTYUIOASDFGHJKLZXCVBNM"  # not P, which pauses

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
        Key("Space", "space", "let it roll", 0),
    ),
    names=("steering", "gas", "brake"),
    idle=(0.0, 0.0, 0.0),
    do_nothing="Space",
)
