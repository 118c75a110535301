"""Actors in NumPy: frozen networks, scripted rules and random actors.

They are fast and can be sent to worker processes. They take and return arrays. This file does not import torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.envs import action_form
from rl_il.envs.spaces import action_dtype, integer_bounds
from rl_il.errors import InputError
from rl_il.plugins import ACTIVATIONS, load, row
from rl_il.seeding import RANDOM_ACTIONS
from rl_il.types import ActionForm, Actor

UNBOUNDED = 1.0  # a random number without a bound is drawn up to this one
NORM_EPSILON = 1e-5  # of layer normalisation, as in torch


def tanh(x: np.ndarray) -> None:
    """Replace x by tanh(x)."""
    np.tanh(x, out=x)


def relu(x: np.ndarray) -> None:
    """Replace x by max(x, 0)."""
    np.maximum(x, 0, out=x)


def leaky_relu(x: np.ndarray) -> None:
    """Replace negative x by x / 100."""
    np.maximum(x, 0.01 * x, out=x)


def elu(x: np.ndarray) -> None:
    """Replace negative x by exp(x) - 1."""
    np.copyto(x, np.expm1(np.minimum(x, 0)), where=x <= 0)


def sigmoid(x: np.ndarray) -> None:
    """Replace x by 1 / (1 + exp(-x))."""
    np.divide(1, 1 + np.exp(-x), out=x)


def normalise(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> None:
    """Replace x `(..., n)` by its layer normalisation (Ba et al. 2016, arXiv:1607.06450)."""
    n = x.shape[-1]
    x -= np.add.reduce(x, -1, keepdims=True) / n
    x /= np.sqrt(np.add.reduce(x * x, -1, keepdims=True) / n + NORM_EPSILON)
    x *= gain
    x += bias


def as_batch(obs: np.ndarray, ob_shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Return observations `(N, *ob_shape)`, and whether `obs` was a single observation.

    A single observation is recognised by its shape `ob_shape`, not by its number of dimensions. Raise `InputError`
    for any other shape.
    """
    obs = np.asarray(obs)
    if obs.shape == ob_shape:
        return obs[None], True
    if obs.shape[1:] == ob_shape:
        return obs, False
    raise InputError(f"an observation must have the shape {ob_shape} or (N, *{ob_shape}), got {obs.shape}")


def greedy(logits: Any) -> Any:
    """Return the discrete actions `(...,)` int64 of logits or values `(..., n_actions)`, in NumPy or torch.

    An action is the index of the largest number. If several are equal, it is the first of them. All greedy discrete
    actors use this rule on the outputs of the network and not on probabilities, since a softmax can round two
    different logits to the same probability. NumPy and torch, or one observation and a batch, may give logits with
    different last digits, since they sum in a different order. If two logits are that close, the actions may differ.
    """
    return logits.argmax(-1)


def greedy_each(logits: np.ndarray, choices: Sequence[int]) -> np.ndarray:
    """Return the greedy label `(..., k)` int64 of k integers, whose logits `(..., sum of choices)` are in a row."""
    return np.stack([greedy(part) for part in np.split(logits, np.cumsum(choices)[:-1], axis=-1)], axis=-1)


class NumpyActor(Actor):
    """A multilayer perceptron that only acts: the frozen copy of a policy, or an expert read from a file.

    Raise `InputError` if the arrays do not fit together, or if they contain anything other than finite numbers.

    Args:
      layers: pairs of weights `(in, out)` and bias `(out,)`, from the input to the output.
      activation: a name in `plugins.ACTIVATIONS`. It is applied after every layer except the last.
      output: how the outputs of the last layer become an action: `argmax` (an integer), `identity` or `tanh` (both
        then times `action_scale`, plus `action_center`), or `clip` (to `action_low` and `action_high`).
      ob_shape: the environment's observation shape.
      form: the form of the actions. None: one integer from 0, or a vector.
      obs_slice: which numbers of the flattened observation the network reads.
      obs_mean, obs_std, obs_clip: the network reads (observation - mean) / std, clipped to +-`obs_clip`.
      action_scale, action_center, action_low, action_high: one number, or one number for each action dimension.
      dtype: the precision of the computation. Actions are int64 or float32.
      norms: pairs of gain `(out,)` and bias `(out,)`, for layer normalisation after every layer except the last,
        before the activation. Empty: there is none.
    """

    def __init__(
        self,
        layers: Sequence[tuple[np.ndarray, np.ndarray]],
        activation: str,
        output: str,
        ob_shape: tuple[int, ...],
        form: ActionForm | None = None,
        obs_slice: slice = slice(None),
        obs_mean: np.ndarray | None = None,
        obs_std: np.ndarray | None = None,
        obs_clip: float | None = None,
        action_scale: np.ndarray | float = 1.0,
        action_center: np.ndarray | float = 0.0,
        action_low: np.ndarray | float = -np.inf,
        action_high: np.ndarray | float = np.inf,
        dtype: type = np.float32,
        norms: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ):
        self.activate = load(row("activation", ACTIVATIONS, activation)[1])
        if output not in ("argmax", "identity", "tanh", "clip"):
            raise InputError(f"unknown output {output!r}; expected argmax, identity, tanh or clip")
        self.layers = [
            (_numbers(f"layer {i}", w, dtype), _numbers(f"layer {i}", b, dtype)) for i, (w, b) in enumerate(layers)
        ]
        self.norms = [tuple(_numbers(f"norm {i}", each, dtype) for each in norm) for i, norm in enumerate(norms)]
        self.activation, self.output = activation, output
        self.ob_shape, self.obs_slice, self.dtype = tuple(ob_shape), obs_slice, dtype
        self.obs_mean = None if obs_mean is None else _numbers("obs_mean", obs_mean, dtype)
        self.obs_std = None if obs_std is None else _numbers("obs_std", obs_std, dtype)
        self.obs_clip = obs_clip
        self.action_scale = _numbers("action_scale", action_scale, dtype)
        self.action_center = _numbers("action_center", action_center, dtype)
        self.action_low = _numbers("action_low", action_low, dtype)
        self.action_high = _numbers("action_high", action_high, dtype)
        self._form = None if form is None or form.usual else form
        self._choices = form.choices if form is not None and form.several else None
        self._check_layers()
        self._check_scales()
        self._scaled = bool((self.action_scale != 1).any() or self.action_center.any())
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
                raise InputError(f"layer {i} contains NaN or infinity")
            width = len(b)
        expected = [(b.shape, b.shape) for _, b in self.layers[:-1]]
        if self.norms and [tuple(each.shape for each in norm) for norm in self.norms] != expected:
            raise InputError(f"norms must be a gain and a bias for each of the {len(expected)} hidden layers")
        if self._form is not None:
            expected = sum(self._form.choices) or self._form.ac_dim
            if width != expected or self._form.discrete != (self.output == "argmax"):
                raise InputError(f"the last layer gives {width} numbers as {self.output}, but there are {self._form}")

    def _check_scales(self) -> None:
        if (self.obs_mean is None) != (self.obs_std is None):
            raise InputError("obs_mean and obs_std must be given together, got only one of them")
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
                raise InputError(f"{name} must be one number or {self.n_outputs} numbers, got the shape {shape}")

    @property
    def n_outputs(self) -> int:
        """Return the number of outputs of the last layer."""
        return len(self.layers[-1][1])

    @property
    def form(self) -> ActionForm:
        """Return the form of the actions."""
        return self._form or ActionForm.from_settings(self.n_outputs, self.output == "argmax")

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one action for one observation, or N actions for N observations. Only the output `clip` clips them.

        For a single observation, the arrays of the layers are used again in the next call. So several threads must
        not share an actor.
        """
        obs = np.asarray(obs)
        if obs.shape == self.ob_shape:
            self._inputs[:] = obs if self._reads_all else obs.reshape(-1)[self.obs_slice]
            self._standardise(self._inputs)
            action = self.decide(self._forward(self._inputs, self._outputs))
            return action if self._form is None else self._form.to_actions(action)
        obs, _ = as_batch(obs, self.ob_shape)
        actions = self.decide(self._forward(self.read(obs), self._nowhere))
        return actions if self._form is None else self._form.to_actions(actions)

    def features(self, obs: np.ndarray) -> np.ndarray:
        """Return the outputs of the last hidden layer, after its activation. Without one, return the inputs."""
        body = copy.copy(self)
        body.layers = self.layers[:-1]
        h = body._forward(self.read(obs), self._nowhere)
        if body.layers:
            if self.norms:
                normalise(h, *self.norms[-1])
            self.activate(h)
        return h.astype(np.float32)

    def _forward(self, h: np.ndarray, outputs: Sequence[np.ndarray | None]) -> np.ndarray:
        """Return the last layer's outputs for inputs of `read`, `(n_inputs,)` or `(N, n_inputs)`.

        Each layer writes its outputs to its array in `outputs`, unless that is None.
        """
        for i, (w, b) in enumerate(self.layers):
            if i > 0:
                if self.norms:
                    normalise(h, *self.norms[i - 1])
                self.activate(h)
            h = h.dot(w, outputs[i])  # for one observation, `np.dot` takes half as long again
            h += b
        return h

    def read(self, obs: np.ndarray) -> np.ndarray:
        """Return the inputs of the first layer, `(N, n_inputs)`, for observations `(N, *ob_shape)`."""
        inputs = obs.reshape(len(obs), -1)[:, self.obs_slice].astype(self.dtype)
        self._standardise(inputs)
        return inputs

    def _standardise(self, h: np.ndarray) -> None:
        """Standardise and clip the inputs `(..., n_inputs)` in place, if there are settings for it."""
        if self.obs_mean is not None:
            h -= self.obs_mean
            h /= self.obs_std
        if self.obs_clip is not None:
            np.clip(h, -self.obs_clip, self.obs_clip, out=h)

    def decide(self, h: np.ndarray) -> np.ndarray:
        """Return the labels of the last layer's outputs `(..., n_outputs)`."""
        if self.output == "argmax":
            return greedy(h) if self._choices is None else greedy_each(h, self._choices)
        if self.output == "clip":
            return np.clip(h, self.action_low, self.action_high).astype(np.float32)
        h = np.tanh(h) if self.output == "tanh" else h
        return (h * self.action_scale + self.action_center if self._scaled else h).astype(np.float32)


def _numbers(name: str, value: object, dtype: type) -> np.ndarray:
    """Return a copy of `value` as an array of `dtype`. Raise `InputError` if it does not contain numbers."""
    array = np.asarray(value) if not isinstance(value, dict) else np.array(None)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must contain numbers, got {type(value).__name__} of {array.dtype}")
    with np.errstate(over="ignore"):  # too large numbers become infinite, which is refused later
        return array.astype(dtype)


class ScriptedActor(Actor):
    """An actor with a rule written by hand: a function of observations `(N, *ob_shape)` that returns N actions."""

    def __init__(self, rule: Callable[[np.ndarray], np.ndarray], ob_shape: tuple[int, ...]):
        self.rule, self.ob_shape = rule, tuple(ob_shape)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return the rule's action for one observation, or N actions for N observations."""
        obs, single = as_batch(obs, self.ob_shape)
        acs = self.rule(obs)
        return acs[0] if single else acs


class RandomActor(Actor):
    """An actor that draws actions uniformly from the action space. They depend on the seed given to `reset`.

    An infinite bound counts as `UNBOUNDED`.
    """

    def __init__(self, env: gym.Env):
        self.ob_shape, self.form = env.observation_space.shape, action_form(env.action_space)
        self.action_space = space = env.action_space
        self.rng = np.random.default_rng(0)
        if not self.form.discrete:
            self._high = np.where(np.isfinite(space.high), space.high, UNBOUNDED)
            self._low = np.minimum(np.where(np.isfinite(space.low), space.low, -UNBOUNDED), self._high)

    def reset(self, seed: int = 0) -> None:
        """Start the episode's random stream, which is independent of the environment's stream for the same seed."""
        self.rng = np.random.default_rng([seed, RANDOM_ACTIONS])

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one random action for one observation, or N actions for N observations."""
        obs, single = as_batch(obs, self.ob_shape)
        space = self.action_space
        if self.form.several:
            acs = self.rng.integers(*integer_bounds(space), (len(obs), *space.shape))
        elif self.form.discrete:
            acs = self.rng.integers(space.n, size=len(obs)) + int(space.start)
        else:
            acs = self.rng.uniform(self._low, self._high, (len(obs), *space.shape)).astype(action_dtype(space))
        return acs[0] if single else acs
