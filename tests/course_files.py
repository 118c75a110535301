"""Files in the format of the CS285 course: demonstrations of both years and experts, pickled in every way."""

from __future__ import annotations

import os
import pickle
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

GENERATIONS = {2022: 3, 2023: 5}
"""The years of the course whose files differ, and the pickle protocol of each."""
PROTOCOLS = (2, 3, 4, 5)


class _Pickler(pickle._Pickler):
    def memoize(self, obj):
        if id(obj) not in self.memo:  # two empty arrays share one b"", which the parent class does not support
            super().memoize(obj)


class _OldNamesPickler(_Pickler):
    """A pickler that writes `numpy.core`, as NumPy 1 does, in place of `numpy._core`."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_global(self, obj, name=None):
        name = name or obj.__qualname__
        module = pickle.whichmodule(obj, name)
        if not module.startswith("numpy._core"):
            return super().save_global(obj, name)
        module = module.replace("numpy._core", "numpy.core")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch[types.FunctionType] = save_global


class _Python2Pickler(_OldNamesPickler):
    """A pickler that writes bytes as Python 2 wrote its strings."""

    dispatch: ClassVar = dict(_OldNamesPickler.dispatch)

    def save_bytes(self, obj):
        self.write(pickle.BINSTRING + len(obj).to_bytes(4, "little") + obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes


def write_pickle(path: Path, value: Any, protocol: int = 3, old_names: bool = True, python2: bool = False) -> Path:
    pickler = _Python2Pickler if python2 else _OldNamesPickler if old_names else _Pickler
    with open(path, "wb") as file:
        pickler(file, protocol).dump(value)
    return path


def path_dict(generation: int, steps: int, ob_dim: int = 17, ac_dim: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    """Return one episode of random numbers, as the course's `Path` function returns it."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(steps + 1, ob_dim))
    path = {
        "observation": obs[:-1],
        "reward": rng.normal(size=steps),
        "action": rng.normal(scale=1.5, size=(steps, ac_dim)),
        "next_observation": obs[1:],
        "terminal": np.arange(steps) == steps - 1,
    }
    if generation == 2022:
        path = {key: array.astype(np.float32) for key, array in path.items()}
        return path | {"image_obs": np.array([], np.uint8)}
    return path | {"action": path["action"].astype(np.float32)}


def demonstrations(
    generation: int, lengths: tuple[int, ...] = (4, 3), ob_dim: int = 17, ac_dim: int = 6
) -> list[dict[str, np.ndarray]]:
    return [path_dict(generation, steps, ob_dim, ac_dim, seed) for seed, steps in enumerate(lengths)]


def write_demonstrations(
    path: Path,
    generation: int = 2022,
    lengths: tuple[int, ...] = (4, 3),
    ob_dim: int = 17,
    ac_dim: int = 6,
    protocol: int | None = None,
    old_names: bool = True,
) -> Path:
    paths = demonstrations(generation, lengths, ob_dim, ac_dim)
    return write_pickle(path, paths, protocol or GENERATIONS[generation], old_names)


def expert_tree(
    n_inputs: int = 17, n_outputs: int = 6, hidden: tuple[int, ...] = (8, 8), nonlin: str = "tanh", seed: int = 0
) -> dict[str, Any]:
    """Return a course expert with random float64 weights; its layers have the numbers 0, 2, 4, ..."""
    rng = np.random.default_rng(seed)

    def affine(n_in: int, n_out: int) -> dict[str, Any]:
        return {"AffineLayer": {"W": rng.normal(size=(n_in, n_out)), "b": rng.normal(size=(1, n_out))}}

    widths = [n_inputs, *hidden]
    layers = {f"layer_{2 * i}": affine(*widths[i : i + 2]) for i in range(len(hidden))}
    mean = rng.normal(size=(1, n_inputs))
    return {
        "nonlin_type": nonlin,
        "GaussianPolicy": {
            "hidden": {"FeedforwardNet": layers},
            "obsnorm": {
                "Standardizer": {
                    "mean_1_D": mean,
                    "meansq_1_D": mean**2 + rng.uniform(0.5, 2, size=(1, n_inputs)),
                    "count": np.float64(1e6),
                }
            },
            "logstdevs_1_Da": np.full((1, n_outputs), -1.0),
            "out": affine(widths[-1], n_outputs),
        },
    }


def expert_action(tree: dict[str, Any], obs: np.ndarray) -> np.ndarray:
    """Return the actions that the course computes for `obs (N, n_inputs)`, in float64."""
    policy = tree["GaussianPolicy"]
    norm = policy["obsnorm"]["Standardizer"]
    std = np.sqrt(np.maximum(0, norm["meansq_1_D"] - norm["mean_1_D"] ** 2))
    x = (obs - norm["mean_1_D"]) / (std + 1e-6)
    layers = policy["hidden"]["FeedforwardNet"]
    for number in sorted(int(name.removeprefix("layer_")) for name in layers):
        layer = layers[f"layer_{number}"]["AffineLayer"]
        x = x @ layer["W"] + layer["b"]
        x = np.tanh(x) if tree["nonlin_type"] == "tanh" else np.where(x > 0, x, 0.01 * x)
    out = policy["out"]["AffineLayer"]
    return x @ out["W"] + out["b"]


class RunsCode:
    """An object that creates the file `sentinel` when it is unpickled."""

    def __init__(self, sentinel: Path):
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)
