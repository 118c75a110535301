"""`CNNPolicySL`, a policy whose observations are pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.envs import env_row, is_picture, name_of, newest_picture, picture_layout
from rl_il.envs.spaces import MIN_SIDE
from rl_il.errors import InputError
from rl_il.plugins import POLICIES, find
from rl_il.policies.encoders import Convolutions
from rl_il.policies.mlp_policy import MLPPolicySL

MAX_FRAMES = 64


class CNNPolicySL(MLPPolicySL):
    """An `MLPPolicySL` whose encoder is a convolutional network for the last few pictures.

    Pictures stay uint8 until they are encoded on the policy's device. The policy remembers the last pictures, so it
    takes one observation at a time, in the order of the episode.

    Args:
      ob_shape: the shape of an observation, in one of the layouts of `picture_layout`.
      frame_stack: how many successive observations it sees, 1 to `MAX_FRAMES`. A single picture does not show speeds.
        None: 4, or 1 if an observation is already a stack of pictures.
      greyscale: whether pictures are converted to shades of grey.
      rows: how many rows of the picture are kept, from the top. None keeps all. In CarRacing, the dials below row 84
        show the steering, so a policy that sees them would learn to repeat its last action.
      settings, named: the other arguments of `MLPPolicySL`.
    """

    compile_pays = False  # a CPU spends most of the time on convolutions, not on starting operations

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        *settings: Any,
        frame_stack: int | None = None,
        greyscale: bool = True,
        rows: int | None = None,
        **named: Any,
    ):
        if picture_layout(ob_shape) is None:
            raise InputError(
                f"pictures must have the shape (height, width, 1 or 3), (1 or 3, height, width), (height, width) or"
                f" (k, height, width), and at least {MIN_SIDE} x {MIN_SIDE} pixels, got {tuple(ob_shape)}"
            )
        frame_stack = usual_frames(ob_shape) if frame_stack is None else frame_stack
        if type(frame_stack) is not int or not 1 <= frame_stack <= MAX_FRAMES:
            raise InputError(f"--history must be 1 to {MAX_FRAMES}, got {frame_stack!r}")
        full = len(newest_picture(np.empty(ob_shape, np.uint8)))
        height = full if rows is None else rows
        if type(height) is not int or not 1 <= height <= full:
            raise InputError(f"rows must be 1 to {full}, the height of the picture, got {rows!r}")
        self.greyscale, self.rows = bool(greyscale), height
        super().__init__(ob_shape, *settings, history=frame_stack, **named)

    def build_encoder(self) -> Convolutions:
        """Return the convolutional encoder."""
        return Convolutions(self.ob_shape, self.frame_stack, self.greyscale, self.rows)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments, except the device and the head's name."""
        own = {"frame_stack": self.frame_stack, "greyscale": self.greyscale, "rows": self.rows}
        return {name: value for name, value in super().hyperparameters().items() if name != "history"} | own


def policy_class(env: gym.Env) -> type[MLPPolicySL]:
    """Return the policy class that fits the environment's observations."""
    return CNNPolicySL if is_picture(env.observation_space) else MLPPolicySL


def find_policy_class(name: str | None, env: gym.Env) -> type[MLPPolicySL]:
    """Return the policy class of this name: in `plugins.POLICIES`, or your own `module:Name`. None: the usual one.

    Raise `InputError` if it is not a subclass of `MLPPolicySL`, or does not take the environment's observations.
    """
    usual = policy_class(env)
    if name is None:
        return usual
    found = find("policy class", POLICIES, name)
    if not (isinstance(found, type) and issubclass(found, MLPPolicySL)):
        raise InputError(f"--policy_class {name}: must be a subclass of {MLPPolicySL.__name__}, got {found!r}")
    if issubclass(found, CNNPolicySL) != (usual is CNNPolicySL):
        shows = "pictures" if usual is CNNPolicySL else "no pictures"
        raise InputError(f"--policy_class {name}: {name_of(env)} shows {shows}; take a subclass of {usual.__name__}")
    return found


def usual_frames(ob_shape: Sequence[int]) -> int:
    """Return how many successive observations a policy sees by default: 1 if each is already a stack of pictures."""
    return 1 if picture_layout(ob_shape) in ("khw", "khwc") else 4


def picture_settings(env: gym.Env, frame_stack: int | None, colour: bool, whole_picture: bool) -> dict[str, Any]:
    """Return the additional arguments of `CNNPolicySL`, or an empty dict for an environment without pictures.

    Raise `InputError` if a setting of pictures was given for an environment without pictures.
    """
    if is_picture(env.observation_space):
        rows = None if whole_picture else env_row(name_of(env)).picture_rows
        frames = frame_stack or usual_frames(env.observation_space.shape)
        return {"frame_stack": frames, "greyscale": not colour, "rows": rows}
    given = {"--colour": colour, "--whole_picture": whole_picture}
    names = [name for name, value in given.items() if value]
    if names:
        raise InputError(f"{', '.join(names)}: the observations of {name_of(env)} are not pictures; drop it")
    return {}
