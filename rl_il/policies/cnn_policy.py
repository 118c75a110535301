"""`CNNPolicySL`, a policy whose observations are pictures."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rl_il.envs import env_spec, is_picture, name_of
from rl_il.errors import InputError
from rl_il.policies.encoders import Convolutions
from rl_il.policies.mlp_policy import MLPPolicySL

MAX_FRAMES = 64


class CNNPolicySL(MLPPolicySL):
    """An `MLPPolicySL` whose encoder is a convolutional network for the last few pictures.

    Pictures stay uint8 until they are encoded on the policy's device. The policy remembers the last pictures, so it
    takes one observation at a time, in the order of the episode.

    Args:
      ob_shape: (height, width, channels) of a picture.
      frame_stack: how many successive pictures it sees, 1 to `MAX_FRAMES`. A single picture does not show speeds.
      greyscale: whether pictures are converted to shades of grey.
      rows: how many rows of the picture are kept, from the top. None keeps all. In CarRacing, the dials below row 84
        show the steering, so a policy that sees them would learn to repeat its last action.
      settings, named: the other arguments of `MLPPolicySL`.
    """

    compile_pays = False  # most of the time is spent on convolutions, not on starting operations

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        *settings: Any,
        frame_stack: int = 4,
        greyscale: bool = True,
        rows: int | None = None,
        **named: Any,
    ):
        if len(ob_shape) != 3 or ob_shape[2] not in (1, 3):
            raise InputError(f"a picture must have the shape (height, width, 1 or 3), got {tuple(ob_shape)}")
        if type(frame_stack) is not int or not 1 <= frame_stack <= MAX_FRAMES:
            raise InputError(f"--frame_stack must be 1 to {MAX_FRAMES}, got {frame_stack!r}")
        height = ob_shape[0] if rows is None else rows
        if type(height) is not int or not 1 <= height <= ob_shape[0]:
            raise InputError(f"rows must be 1 to {ob_shape[0]}, the height of the picture, got {rows!r}")
        self.frame_stack, self.greyscale, self.rows = frame_stack, bool(greyscale), height
        super().__init__(ob_shape, *settings, **named)

    def build_encoder(self) -> Convolutions:
        """Return the convolutional encoder."""
        return Convolutions(self.ob_shape, self.frame_stack, self.greyscale, self.rows)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments, except the device and the head's name."""
        own = {"frame_stack": self.frame_stack, "greyscale": self.greyscale, "rows": self.rows}
        return super().hyperparameters() | own


def policy_class(env: gym.Env) -> type[MLPPolicySL]:
    """Return the policy class that fits the environment's observations."""
    return CNNPolicySL if is_picture(env.observation_space) else MLPPolicySL


def picture_settings(env: gym.Env, frame_stack: int | None, colour: bool, whole_picture: bool) -> dict[str, Any]:
    """Return the additional arguments of `CNNPolicySL`, or an empty dict for an environment without pictures.

    Raise `InputError` if a setting of pictures was given for an environment without pictures.
    """
    if is_picture(env.observation_space):
        rows = None if whole_picture else env_spec(name_of(env)).picture_rows
        return {"frame_stack": frame_stack or 4, "greyscale": not colour, "rows": rows}
    given = {"--frame_stack": frame_stack, "--colour": colour, "--whole_picture": whole_picture}
    names = [name for name, value in given.items() if value]
    if names:
        raise InputError(f"{', '.join(names)}: the observations of {name_of(env)} are not pictures; drop it")
    return {}
