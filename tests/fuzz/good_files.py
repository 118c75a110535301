"""Small good files of every format, to be damaged. All are for an environment with observations of two numbers."""

from __future__ import annotations

import collections
import functools
import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from course_files import demonstrations, expert_tree
from run_folders import write_run

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.experts.normaliser import MODULES as NORMALISER_MODULES
from rl_il.finetune_config import FinetuneConfig
from rl_il.types import Trajectory

RNG = np.random.default_rng(0)
PLAIN = {"observations": RNG.normal(size=(5, 2)), "actions": np.array([0, 1, 2, 1, 0])}


def written(write: Callable[[Path], object], name: str = "x") -> bytes:
    """Return the bytes that a function writes to a file."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def npz(**arrays) -> bytes:
    return written(lambda path: np.savez(path, **arrays), "x.npz")


def trajectories(discrete: bool) -> list[Trajectory]:
    def episode(n):
        acs = RNG.integers(0, 3, n) if discrete else RNG.normal(size=(n, 1)).astype(np.float32)
        return Trajectory(RNG.normal(size=(n + 1, 2)), acs, np.ones(n), terminated=n == 3, expert_acs=acs[::-1])

    return [episode(3), episode(2)]


@functools.cache
def demos() -> list[bytes]:
    meta = {"env_name": "MountainCar-v0", "seed": 1, "min_return": None, "policy": "expert"}
    ours = [written(partial(save_trajectories, trajectories=trajectories(d), meta=meta)) for d in (True, False)]
    more = {"dones": np.array([0, 0, 1, 0, 1]), "rewards": np.ones(5), "labelled": np.array([1, 1, 0, 1, 1])}
    return [*ours, npz(**PLAIN), npz(**PLAIN, **more), npz(**PLAIN, sources=np.zeros(5, "i1")), npz(**COLUMNS)]


COLUMNS = {"obs": PLAIN["observations"], "acs": PLAIN["actions"], "dones": np.array([0, 0, 1, 0, 1])}
LISTED = {name: array.tolist() for name, array in COLUMNS.items()}
EPISODES = [{"obs": [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], "actions": [0, 1], "rewards": [1, 2.5], "info": {}}] * 2
STEPS = [{"state": [0.1, 0.2], "action": i % 3, "reward": 1, "done": i == 2, "next_state": [i, 1]} for i in range(4)]


def layouts() -> list[Any]:
    """Return demonstrations as other programs lay them out: columns, episodes, steps and tuples."""
    tuples = [((0.1, 0.2), i % 3, 1.0, (0.3, 0.4), i == 4) for i in range(5)]
    stacked = {"obs": np.ones((2, 3, 2)).tolist(), "acs": [[0, 1, 2], [1, 0, 2]], "episode_lengths": [2, 3]}
    parts = {"obs": {"a": [[1.0], [2.0]], "b": [[3.0], [4.0]]}, "acs": [0, 1], "episode_ends": [1, 2]}
    return [LISTED, EPISODES, STEPS, tuples, [tuples, tuples], stacked, {"data": parts}, {"demo_0": EPISODES[0]}]


@functools.cache
def json_demos() -> list[bytes]:
    lines = ["\n".join(map(json.dumps, rows)) for rows in (EPISODES, STEPS)]
    return [text.encode() for text in (*map(json.dumps, layouts()), *lines)]


@functools.cache
def csv_demos() -> list[bytes]:
    rows = list(zip(*LISTED.values(), strict=True))
    plain = ["obs_0,obs_1,action,done", *(f"{x},{y},{a},{d}" for (x, y), a, d in rows)]
    other = [
        "step;obs.1;obs.0;action;reward;episode",
        *(f"{i};{y};{x};{a};-1;{i // 3}" for i, ((x, y), a, _) in enumerate(rows)),
    ]
    return ["\n".join(lines).encode() for lines in (plain, other)]


@functools.cache
def pickled_demos() -> list[bytes]:
    deque = collections.deque((s, a, 1.0) for s, a in zip(COLUMNS["obs"], COLUMNS["acs"], strict=True))
    trees = [*layouts(), COLUMNS, deque, (COLUMNS["obs"], COLUMNS["acs"])]
    return [pickle.dumps(tree, protocol) for tree in trees for protocol in (0, 2, 4)]


@functools.cache
def torch_demos() -> list[bytes]:
    import torch

    columns = {name: torch.tensor(array) for name, array in COLUMNS.items()}
    return [written(partial(torch.save, tree)) for tree in (columns, EPISODES, STEPS)]


@functools.cache
def hdf5_demos() -> list[bytes]:
    """Return a flat file, and one with a group for each episode."""
    import h5py

    def write(path, groups):
        with h5py.File(path, "w") as file:
            for group, columns in groups.items():
                for name, array in columns.items():
                    file[f"{group}/{name}"] = array

    return [
        written(partial(write, groups={"/": COLUMNS})),
        written(partial(write, groups={f"data/demo_{i}": PLAIN for i in (0, 2)})),
    ]


def _table() -> Any:
    import pyarrow

    return pyarrow.table({"obs": LISTED["obs"], "action": LISTED["acs"], "episode_index": [0, 0, 0, 1, 1]})


@functools.cache
def parquet_demos() -> list[bytes]:
    import pyarrow.parquet

    return [written(partial(pyarrow.parquet.write_table, _table()))]


@functools.cache
def arrow_demos() -> list[bytes]:
    import pyarrow

    def write(path, make):
        with make(str(path), _table().schema) as file:
            file.write_table(_table())

    return [written(partial(write, make=make)) for make in (pyarrow.ipc.new_file, pyarrow.ipc.new_stream)]


@functools.cache
def zarr_demos() -> list[bytes]:
    """Return a zip file, as the Diffusion Policy's are."""
    import zarr

    def write(path):
        path = path.with_suffix(".zip")
        with zarr.storage.ZipStore(path, mode="w") as store:
            root = zarr.group(store)
            for name, array in {"data/obs": PLAIN["observations"], "data/action": PLAIN["actions"]}.items():
                root[name] = array
            root["meta/episode_ends"] = np.array([3, 5])
        path.rename(path.with_suffix(""))

    return [written(write)]


@functools.cache
def experts() -> list[bytes]:
    files = []
    for output, n in (("argmax", 3), ("identity", 1), ("clip", 1)):
        meta = {"activation": "tanh", "output": output, "settings": {"a": [1, 2.5, None]}}
        if output == "clip":
            meta |= {"obs_slice": [0, 2], "action_low": [-1.0], "action_high": [1.0], "action_scale": 1.0}
        arrays = {"w0": RNG.normal(size=(2, 3)), "b0": np.ones(3), "w1": RNG.normal(size=(3, n)), "b1": np.ones(n)}
        arrays |= {"obs_mean": np.zeros(2), "obs_std": np.ones(2)}
        files.append(npz(meta=np.array(json.dumps(meta)), **arrays))
    return files


@functools.cache
def pickles() -> list[bytes]:
    """Return demonstrations and an expert of the course, and a normaliser of Stable-Baselines3."""
    trees = [demonstrations(2022, (3, 2), 2, 1), demonstrations(2023, (3, 2), 2, 1), expert_tree(2, 1, (3,))]
    data = [pickle.dumps(tree, protocol) for tree in trees for protocol in (0, 2, 4, 5)]
    return [*data, *(old.replace(b"numpy._core", b"numpy.core") for old in data[:2]), normaliser()]


class Saved:
    """An object whose class is renamed, in its pickle, to one of Stable-Baselines3."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def normaliser() -> bytes:
    """Return a file as `VecNormalize.save` writes it."""
    statistics = Saved(mean=np.zeros(2), var=np.ones(2), count=1e4)
    settings = {"epsilon": 1e-8, "clip_obs": 10.0, "norm_obs": True, "np_random": np.random.default_rng(0)}
    data = pickle.dumps(Saved(obs_rms=statistics, **settings), 2)
    return data.replace(f"c{__name__}\nSaved".encode(), f"c{NORMALISER_MODULES[0]}\nVecNormalize".encode())


@functools.cache
def run_folder(algorithm: str = "DAgger") -> dict[str, bytes]:
    """Return the files of a run that a report reads, by name."""
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(env_name="MountainCar-v0", n_iter=2, do_dagger=True)
        if algorithm == "PPO":
            config = FinetuneConfig(env_name="MountainCar-v0", policy="clone.pt", total_timesteps=10_000)
        run = write_run(Path(folder) / "run", config, {0: [10.0, 20.0], 1: [30.0, 25.0]})
        return {path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".json", ".csv")}


@functools.cache
def policies() -> list[bytes]:
    """Return policies of this project, and the `state_dict`s of others."""
    import torch

    from rl_il.policies.mlp_policy import MLPPolicySL

    small = {"n_layers": 1, "size": 4}
    made = (MLPPolicySL((2,), 3, True, **small), MLPPolicySL((2,), 1, False, loss="nll", **small))
    plain = [
        {"actor.weight": torch.ones(n, 2), "actor.bias": torch.zeros(n), "log_std": torch.ones(n)} for n in (3, 1)
    ]
    return [written(policy.save) for policy in made] + [written(partial(torch.save, each)) for each in plain]


@functools.cache
def sb3_zips() -> list[bytes]:
    import torch

    files, data = [], {"policy_kwargs": {"activation_fn": "torch.nn.modules.activation.Tanh"}}
    for hidden, output, n in (("mlp_extractor.policy_net.0", "action_net", 3), ("actor.latent_pi.0", "actor.mu", 1)):
        tensors = {f"{hidden}.weight": torch.ones(4, 2), f"{hidden}.bias": torch.zeros(4)}
        tensors |= {f"{output}.weight": torch.ones(n, 4), f"{output}.bias": torch.zeros(n)}
        result = io.BytesIO()
        with zipfile.ZipFile(result, "w") as file:
            file.writestr("policy.pth", written(partial(torch.save, tensors)))
            file.writestr("data", json.dumps(data))
        files.append(result.getvalue())
    return files


def jsons() -> dict[str, bytes]:
    """Return one text for each reader in `readers.JSONS`."""
    return {
        "config": run_folder()["config.json"],
        "PPO's config": run_folder("PPO")["config.json"],
        "checkpoint": b'{"state": "state_1.pt", "files": {"checkpoint/state_1.pt": "00", "data/itr_1.npz": "11"}}',
        "demonstrations": b'{"env_name": "MountainCar-v0", "policy": "expert", "seed": 1}',
        "expert": b'{"activation": "tanh", "output": "argmax", "obs_slice": [0, 2], "action_scale": [1.0, 0.5]}',
    }
