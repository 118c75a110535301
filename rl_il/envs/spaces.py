"""Properties of an environment: its name, spaces, time limit and keys."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_il.envs.keys import AXES, KeyMap, axis_keys, digit_keys
from rl_il.envs.table import env_row
from rl_il.errors import InputError
from rl_il.types import ActionForm

MIN_SIDE = 36  # pixels: the convolutions of `encoders.py` need them
COLOURS = (1, 3)  # numbers of colours that a picture may have
MAX_STACKED = 16  # pictures in an observation that is a stack of them


def name_of(env: gym.Env) -> str:
    """Return the environment's name, or the name of its class if it was not made from a name."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def is_picture(observation_space: gym.Space) -> bool:
    """Return whether observations are pictures: bytes up to 255 in one of the layouts of `picture_layout`."""
    space = observation_space
    return space.dtype == np.uint8 and picture_layout(space.shape) is not None and int(space.high.max()) == 255


def picture_layout(shape: Sequence[int]) -> str | None:
    """Return the layout of pictures of this shape, or None if it is not the shape of a picture.

    It is `hwc` (height, width, 1 or 3 colours), `chw`, `hw` (grey), or, if the environment already stacks k pictures,
    `khw` (grey) or `khwc`. The sides are at least `MIN_SIDE`. Three stacked grey pictures look like `chw`.
    """
    sizes = tuple(shape)
    if len(sizes) == 2 and min(sizes) >= MIN_SIDE:
        return "hw"
    if len(sizes) == 3 and sizes[2] in COLOURS and min(sizes[:2]) >= MIN_SIDE:
        return "hwc"
    if len(sizes) == 3 and sizes[0] <= MAX_STACKED and min(sizes[1:]) >= MIN_SIDE:
        return "chw" if sizes[0] in COLOURS else "khw"
    if len(sizes) == 4 and sizes[0] <= MAX_STACKED and sizes[3] in COLOURS and min(sizes[1:3]) >= MIN_SIDE:
        return "khwc"
    return None


def colours_last(pictures: np.ndarray, layout: str) -> np.ndarray:
    """Return `pictures (N, ...)` of the layout as `(N, height, width, channels)`, or, for `khwc`, as they are.

    A channel is a colour, or one of the k pictures of `khw`.
    """
    if layout == "hw":
        return pictures[..., None]
    return np.moveaxis(pictures, 1, -1) if layout in ("chw", "khw") else pictures


def newest_picture(ob: np.ndarray) -> np.ndarray:
    """Return the picture `(height, width, 1 or 3)` that an observation shows: the last one of a stack."""
    layout = picture_layout(ob.shape)
    picture = colours_last(ob[None], layout)[0]
    return picture[-1] if layout == "khwc" else picture[..., -1:] if layout == "khw" else picture


def is_discrete(action_space: gym.Space) -> bool:
    """Return whether an action is an integer or an array of integers: Discrete, MultiDiscrete or MultiBinary."""
    return isinstance(action_space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))


def action_form(action_space: gym.Space) -> ActionForm:
    """Return the form of a supported space's actions."""
    if isinstance(action_space, spaces.Discrete):
        start = int(action_space.start)
        return ActionForm((int(action_space.n),), (), (start,) if start else ())
    if isinstance(action_space, spaces.MultiBinary):
        return ActionForm((2,) * int(np.prod(action_space.shape)), action_space.shape)
    if isinstance(action_space, spaces.MultiDiscrete):
        start = tuple(action_space.start.reshape(-1).tolist())
        return ActionForm(
            tuple(action_space.nvec.reshape(-1).tolist()), action_space.shape, start if any(start) else ()
        )
    return ActionForm((), action_space.shape)


def action_dtype(action_space: gym.Space) -> np.dtype:
    """Return the dtype in which actions are stored: the space's. Floats have at least single precision."""
    if isinstance(action_space, spaces.Discrete):
        return np.dtype(np.int64)
    dtype = action_space.dtype
    return dtype if is_discrete(action_space) else np.result_type(dtype, np.float32)


def key_map(env: gym.Env) -> KeyMap | None:
    """Return the keys in the environment's row, or else keys for its actions, or None if these have no usual keys.

    One integer has digits and letters as keys. Up to three floats have two keys each.
    """
    row, space = env_row(name_of(env)), env.action_space
    if row.keys is None and isinstance(space, spaces.Discrete):
        return digit_keys(int(space.n), int(space.start))
    if row.keys is None and isinstance(space, spaces.Box) and space.shape in {(n,) for n in range(1, len(AXES) + 1)}:
        return axis_keys(space.low, space.high)
    return row.keys


def episode_limit(env: gym.Env, ep_len: int | None = None) -> int | None:
    """Return the maximum number of steps of an episode: the smaller of `ep_len` and the limit of `env`, or None."""
    own = env.spec.max_episode_steps if env.spec else None
    wrapped = env.get_wrapper_attr("_max_episode_steps") if env.has_wrapper_attr("_max_episode_steps") else None
    return min(filter(None, (ep_len, own, wrapped)), default=None)  # `wrapped` is the outermost TimeLimit's


def check_actions(acs: np.ndarray, env_name: str, action_space: gym.Space) -> np.ndarray:
    """Return the actions of a file, `(N, *shape of an action)`, in the dtype of `action_dtype`.

    One integer may come as `(N,)`, `(N, 1)`, whole floats, or, if the space starts at 0, one-hot `(N, n)`. Continuous
    actions are not clipped. Raise `InputError` if they are not actions of the space.
    """
    if isinstance(action_space, spaces.Discrete):
        acs = acs[:, 0] if acs.ndim == 2 and acs.shape[1] == 1 else acs
        acs = acs.argmax(axis=1) if action_space.start == 0 and _is_one_hot(acs, action_space.n) else acs
    fits, first, end = acs.shape[1:] == action_space.shape, *integer_bounds(action_space)
    if fits and is_discrete(action_space):
        fits = (acs == np.floor(acs)).all() and (acs >= first).all() and (acs < end).all()
    if not fits:
        sizes = ", ".join(map(str, ("N", *action_space.shape)))
        of_shape = f"have the shape ({sizes})" if action_space.shape else ""
        expected = f"be integers in [{first}, {end})" if is_discrete(action_space) else ""
        values = f" in [{acs.min():g}, {acs.max():g}]" if acs.size and is_discrete(action_space) else ""
        must = " and ".join(filter(None, (of_shape, expected)))
        raise InputError(
            f"actions must {must} for {env_name}, got {acs.dtype} of shape {acs.shape}{values}"
            f"{_hint(acs, env_name, action_space)}"
        )
    return acs.astype(action_dtype(action_space))


def integer_bounds(action_space: gym.Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest value of each integer of an action, and the largest plus 1; for continuous actions 0, 0."""
    if not is_discrete(action_space):
        return np.array(0), np.array(0)
    form = action_form(action_space)
    first = np.array(form.start or [0] * len(form.choices)).reshape(form.shape)
    return first, first + np.array(form.choices).reshape(form.shape)


def _is_one_hot(acs: np.ndarray, n: int) -> bool:
    """Return whether these are N rows of n numbers, one of them 1 and the others 0."""
    return acs.ndim == 2 and acs.shape[1] == n and np.isin(acs, (0, 1)).all() and (acs.sum(axis=1) == 1).all()


def _hint(acs: np.ndarray, env_name: str, action_space: gym.Space) -> str:
    """Return a hint why actions do not fit the space, or an empty string."""
    if not action_form(action_space).start:
        return _other_variant(env_name)
    first, end = integer_bounds(action_space)
    zero_based = acs.shape[1:] == first.shape and (acs >= 0).all() and (acs < end - first).all()
    if zero_based or (first.shape == () and _is_one_hot(acs, end - first)):
        return "; do they start at 0? Store the environment's own numbers"
    return ""


def _other_variant(env_name: str) -> str:
    """Return a hint if the actions may come from the other LunarLander (discrete or continuous)."""
    if env_name == "LunarLander-v3":
        return "; maybe the file was recorded on LunarLanderContinuous-v3"
    return "; maybe the file was recorded on LunarLander-v3" if env_name == "LunarLanderContinuous-v3" else ""
