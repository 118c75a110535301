"""Actors in NumPy: frozen networks, scripted rules, random ones. They are fast, and worker processes can have them.

Everything here is arrays in, arrays out; nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np

from rl_il.envs import is_discrete
from rl_il.errors import InputError
from rl_il.plugins import ACTIVATIONS, load, row
from rl_il.types import Actor


def tanh(x: np.ndarray) -> None:
    """Replace x by tanh(x)."""
    np.tanh(x, out=x)


def relu(x: np.ndarray) -> None:
    """Replace x by max(x, 0)."""
    np.maximum(x, 0, out=x)


def leaky_relu(x: np.ndarray) -> None:
    """Replace x by x or, below 0, a hundredth of it."""
    np.maximum(x, 0.01 * x, out=x)


def elu(x: np.ndarray) -> None:
    """Replace x by x or, below 0, exp(x) - 1."""
    np.copyto(x, np.expm1(np.minimum(x, 0)), where=x <= 0)


def sigmoid(x: np.ndarray) -> None:
    """Replace x by 1 / (1 + exp(-x))."""
    np.divide(1, 1 + np.exp(-x), out=x)


def as_batch(obs: np.ndarray, ob_shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Return `(N, *ob_shape)`, and whether it was a single observation.

    The two are told apart by `ob_shape`, never by the number of dimensions. Raise `InputError` for any other shape.
    """
    obs = np.asarray(obs)
    if obs.shape == ob_shape:
        return obs[None], True
    if obs.shape[1:] == ob_shape:
        return obs, False
    raise InputError(f"an observation must have the shape {ob_shape} or (N, *{ob_shape}), got {obs.shape}")


class NumpyActor(Actor):
    """A multilayer perceptron that only acts: a policy's frozen copy, or an expert read from a file.

    Args:
      layers: (weights `(in, out)`, bias `(out,)`) from input to output.
      activation: a name in `plugins.ACTIVATIONS`, applied after every layer but the last.
      output: what is done with the last layer: `argmax` (an integer), `identity`, `tanh` (times
        `action_scale`, plus `action_center`), or `clip` (to `action_low`, `action_high`).
      ob_shape: the environment's observation shape.
      obs_slice: which numbers of the flattened observation the network reads.
      obs_mean, obs_std, obs_clip: the network reads (observation - mean) / std, clipped to +-`obs_clip`.
      dtype: the precision it computes in. Actions are int64 or float32.
    """

    def __init__(
        self,
        layers: Sequence[tuple[np.ndarray, np.ndarray]],
        activation: str,
        output: str,
        ob_shape: tuple[int, ...],
        obs_slice: slice = slice(None),
        obs_mean: np.ndarray | None = None,
        obs_std: np.ndarray | None = None,
        obs_clip: float | None = None,
        action_scale: np.ndarray | float = 1.0,
        action_center: np.ndarray | float = 0.0,
        action_low: np.ndarray | float = -np.inf,
        action_high: np.ndarray | float = np.inf,
        dtype: type = np.float32,
    ):
        self._activate = load(row("activation", ACTIVATIONS, activation)[1])
        if output not in ("argmax", "identity", "tanh", "clip"):
            raise InputError(f"unknown output {output!r}; expected argmax, identity, tanh or clip")
        self.layers = [
            (_numbers(f"layer {i}", w, dtype), _numbers(f"layer {i}", b, dtype)) for i, (w, b) in enumerate(layers)
        ]
        self.activation, self.output = activation, output
        self.ob_shape, self.obs_slice, self.dtype = tuple(ob_shape), obs_slice, dtype
        self.obs_mean = None if obs_mean is None else _numbers("obs_mean", obs_mean, dtype)
        self.obs_std = None if obs_std is None else _numbers("obs_std", obs_std, dtype)
        self.obs_clip = obs_clip
        self.action_scale = _numbers("action_scale", action_scale, dtype)
        self.action_center = _numbers("action_center", action_center, dtype)
        self.action_low = _numbers("action_low", action_low, dtype)
        self.action_high = _numbers("action_high", action_high, dtype)
        self._check_layers()
        self._check_scales()
        self._reads_all = len(self.ob_shape) == 1 and obs_slice == slice(None)
        self._inputs = np.empty(len(self.layers[0][0]), dtype)
        self._outputs = [np.empty(len(b), dtype) for _, b in self.layers]
        self._nowhere = [None] * len(self.layers)

    def _check_layers(self) -> None:
        width = len(np.empty(int(np.prod(self.ob_shape)))[self.obs_slice])
        for i, (w, b) in enumerate(self.layers):
            if w.ndim != 2 or b.shape != w.shape[1:]:
                raise InputError(
                    f"layer {i}: weights {w.shape} and bias {b.shape} do not fit; expected (in, out) and (out,)"
                )
            if len(w) != width:
                expected = f"layer {i} takes {len(w)} numbers"
                got = f"the observation has {width}" if i == 0 else f"layer {i - 1} gives {width}"
                raise InputError(f"{expected}, but {got}")
            if not (np.isfinite(w).all() and np.isfinite(b).all()):
                raise InputError(f"layer {i} holds NaN or infinity")
            width = len(b)

    def _check_scales(self) -> None:
        if (self.obs_mean is None) != (self.obs_std is None):
            raise InputError("obs_mean and obs_std must come together, got one of them")
        n_inputs = len(self.layers[0][0])
        for name in ("obs_mean", "obs_std"):
            array = getattr(self, name)
            if array is not None and (array.shape != (n_inputs,) or not np.isfinite(array).all()):
                raise InputError(f"{name} must be {n_inputs} finite numbers, got the shape {array.shape}")
        if self.obs_std is not None and not (self.obs_std > 0).all():
            raise InputError(f"obs_std must be above 0, got {self.obs_std.min():g}")
        for name in ("action_scale", "action_center", "action_low", "action_high"):
            shape = getattr(self, name).shape
            if shape not in ((), (self.n_outputs,)):
                raise InputError(f"{name} must be one number or {self.n_outputs}, got the shape {shape}")

    @property
    def n_outputs(self) -> int:
        """Return the number of discrete actions, or dimensions of a continuous one."""
        return len(self.layers[-1][1])

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one action for one observation, or a batch for a batch; not clipped unless `output` says so.

        For one observation, as in a rollout, the arrays between the layers are allocated once: an actor serves one
        thread.
        """
        obs = np.asarray(obs)
        if obs.shape == self.ob_shape:
            self._inputs[:] = obs if self._reads_all else obs.reshape(-1)[self.obs_slice]
            return self._head(self._forward(self._inputs, self._outputs))
        obs, _ = as_batch(obs, self.ob_shape)
        inputs = obs.reshape(len(obs), -1)[:, self.obs_slice].astype(self.dtype)
        return self._head(self._forward(inputs, self._nowhere))

    def _forward(self, h: np.ndarray, outputs: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return the last layer's output for inputs `(n_inputs,)` or `(N, n_inputs)`; each layer writes to its array
        in `outputs`, if there is one."""
        if self.obs_mean is not None:
            h -= self.obs_mean
            h /= self.obs_std
        if self.obs_clip is not None:
            np.clip(h, -self.obs_clip, self.obs_clip, out=h)
        for i, (w, b) in enumerate(self.layers):
            if i > 0:
                self._activate(h)
            h = np.dot(h, w, outputs[i])
            h += b
        return h

    def _head(self, h: np.ndarray) -> np.ndarray:
        if self.output == "argmax":
            return h.argmax(axis=-1)
        if self.output == "tanh":
            h = np.tanh(h) * self.action_scale + self.action_center
        elif self.output == "clip":
            h = np.clip(h, self.action_low, self.action_high)
        return h.astype(np.float32)


def _numbers(name: str, value: object, dtype: type) -> np.ndarray:
    """Return a copy of `value` as an array of `dtype`; raise `InputError` unless it holds numbers."""
    array = np.asarray(value) if not isinstance(value, dict) else np.array(None)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold numbers, got {type(value).__name__} of {array.dtype}")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which is refused
        return array.astype(dtype)


class ScriptedActor(Actor):
    """A rule written by hand: `rule` takes `(N, *ob_shape)` and returns N actions."""

    def __init__(self, rule: Callable[[np.ndarray], np.ndarray], ob_shape: tuple[int, ...]):
        self.rule, self.ob_shape = rule, tuple(ob_shape)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return the rule's action for one observation, or its actions for a batch."""
        obs, single = as_batch(obs, self.ob_shape)
        acs = self.rule(obs)
        return acs[0] if single else acs


class RandomActor(Actor):
    """An actor that draws uniformly from the action space, by the seed of each `reset`."""

    def __init__(self, env: gym.Env):
        self.ob_shape = env.observation_space.shape
        self.action_space = env.action_space
        self.rng = np.random.default_rng(0)

    def reset(self, seed: int = 0) -> None:
        """Start the episode's own random stream."""
        self.rng = np.random.default_rng(seed)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return as many random actions as there are observations."""
        obs, single = as_batch(obs, self.ob_shape)
        space = self.action_space
        if is_discrete(space):
            acs = self.rng.integers(space.n, size=len(obs))
        else:
            acs = self.rng.uniform(space.low, space.high, (len(obs), *space.shape)).astype(np.float32)
        return acs[0] if single else acs
