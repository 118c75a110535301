"""Small good files of every format, and a few attacks among them, for the fuzzer to start from."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _fuzz_archives import write_zip
from _fuzz_pickles import attack
from _fuzzing import Case

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.files import to_json
from rl_il.policies.sb3 import NORMALISER_MODULES
from rl_il.types import Trajectory

KINDS = ("discrete", "continuous")
"""The stems of files for an environment of such actions; both observe two numbers."""


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def _trajectories(kind: str) -> list[Trajectory]:
    rng = np.random.default_rng(0)
    return [
        Trajectory(
            obs=_numbers(n + 1, 2).astype(np.float32),
            acs=rng.integers(0, 3, n) if kind == "discrete" else _numbers(n, 1).astype(np.float32),
            rewards=np.ones(n),
            terminated=n == 3,
            expert_acs=np.zeros(n, np.int64) if kind == "discrete" and n == 3 else None,
        )
        for n in (3, 2)
    ]


def _made(write: Callable[[Path], Any]) -> bytes:
    """What a writer writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "x")
        return (Path(folder) / "x").read_bytes()


def _npz(**arrays: Any) -> bytes:
    return _made(lambda path: np.savez(path.open("wb"), **arrays))


def demo_seeds() -> list[Case]:
    seeds = []
    for kind in KINDS:
        trajectories = _trajectories(kind)
        seeds.append({f"{kind}.npz": _made(lambda path, t=trajectories: save_trajectories(path, t, {"seed": 1}))})
        obs, acs = np.concatenate([t.obs[:-1] for t in trajectories]), np.concatenate([t.acs for t in trajectories])
        more = {"dones": np.array([0, 0, 1, 0, 1]), "rewards": np.ones(5), "labelled": np.array([1, 1, 0, 1, 1])}
        seeds += [{f"{kind}.npz": _npz(observations=obs, actions=acs, **arrays)} for arrays in ({}, more)]
        seeds.append(
            {f"{kind}.npz": _npz(observations=obs, actions=acs, executed_actions=acs, sources=np.zeros(5, "i1"))}
        )
    return seeds


def session_seeds() -> list[Case]:
    """The folder of a teaching run."""
    from rl_il.teacher.settings import TeachConfig

    seeds = []
    for rule in ("human", "weighted"):
        config = dataclasses.asdict(TeachConfig(labels=rule, updates_per_step=0.5))
        case = {"config.json": to_json({"teaching": config, "command_line": ["python"]}, indent=2).encode()}
        for i, trajectory in enumerate(_trajectories("discrete")):
            sources = np.arange(len(trajectory)) % 3
            trajectory = dataclasses.replace(trajectory, source=sources.astype(np.int8), labelled=sources > 0)
            saved = _made(lambda path, t=trajectory: save_trajectories(path, [t], {"episode": 1}))
            case[f"session/episode_{i:06d}.npz"] = saved
        seeds.append(case)
    return seeds


def course_demo_seeds() -> list[Case]:
    paths = [
        {
            "observation": _numbers(n, 2).astype(dtype),
            "action": _numbers(n, 1).astype(np.float32),
            "reward": _numbers(n).astype(dtype),
            "next_observation": _numbers(n, 2).astype(dtype),
            "terminal": np.arange(n) == n - 1,
            "image_obs": np.array([], np.uint8),
        }
        for n, dtype in ((3, np.float32), (2, np.float64))
    ]
    return [{"continuous.pkl": data} for data in _pickles(paths)]


def _pickles(tree: Any) -> list[bytes]:
    """The tree in every protocol and under both names of NumPy's modules, and an attack in each."""
    data = [pickle.dumps(tree, protocol) for protocol in range(6)]
    data += [data[protocol].replace(b"numpy._core", b"numpy.core") for protocol in (2, 3)]
    return data + [attack(protocol) for protocol in (0, 2, 4)]


def weights_seeds() -> list[Case]:
    seeds = []
    for kind, output in (("discrete", "argmax"), ("continuous", "identity"), ("continuous", "clip")):
        meta: dict[str, Any] = {"activation": "tanh", "output": output, "settings": {"a": [1, 2.5, None]}}
        if output == "clip":
            meta |= {"obs_slice": [0, 2], "action_low": [-1.0], "action_high": [1.0], "action_scale": 1.0}
        n = 3 if kind == "discrete" else 1
        arrays = {"w0": _numbers(2, 3), "b0": _numbers(3), "w1": _numbers(3, n), "b1": _numbers(n)}
        arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
        if output == "identity":
            arrays |= {"obs_mean": np.zeros(2, np.float32), "obs_std": np.ones(2, np.float32)}
        seeds.append({f"{kind}.npz": _npz(meta=np.array(json.dumps(meta)), **arrays)})
    return seeds


def course_expert_seeds() -> list[Case]:
    def affine(n_in: int, n_out: int) -> dict[str, Any]:
        return {"AffineLayer": {"W": _numbers(n_in, n_out), "b": _numbers(1, n_out)}}

    normaliser = {"mean_1_D": np.zeros((1, 2)), "meansq_1_D": np.ones((1, 2)), "count": np.float64(5)}
    policy = {"hidden": {"FeedforwardNet": {"layer_0": affine(2, 3), "layer_2": affine(3, 3)}}, "out": affine(3, 1)}
    policy |= {"obsnorm": {"Standardizer": normaliser}, "logstdevs_1_Da": np.zeros((1, 1))}
    return [{"continuous.pkl": data} for data in _pickles({"nonlin_type": "tanh", "GaussianPolicy": policy})]


def _policy(kind: str, **settings: Any) -> bytes:
    from rl_il.policies.mlp_policy import MLPPolicySL

    discrete = kind == "discrete"
    policy = MLPPolicySL((2,), 3 if discrete else 1, discrete, size=3, **settings)
    return _made(policy.save)


def checkpoint_seeds() -> list[Case]:
    return [{f"{kind}.pt": _policy(kind, n_layers=n)} for kind in KINDS for n in (1, 2)]


def sb3_seeds() -> list[Case]:
    import torch

    def linear(name: str, n_in: int, n_out: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": torch.ones(n_out, n_in), f"{name}.bias": torch.zeros(n_out)}

    networks = {
        "ppo": ("continuous", linear("mlp_extractor.policy_net.0", 2, 3) | linear("action_net", 3, 1)),
        "dqn": ("discrete", linear("q_net.q_net.0", 2, 3) | linear("q_net.q_net.2", 3, 3)),
        "sac": ("continuous", linear("actor.latent_pi.0", 2, 3) | linear("actor.mu", 3, 1)),
    }
    seeds = []
    for kind, tensors in networks.values():
        weights = io.BytesIO()
        torch.save(tensors, weights)
        activation = "<class 'torch.nn.modules.activation.Tanh'>"
        data = json.dumps({"policy_kwargs": {"activation_fn": activation, "net_arch": [3]}, "n_envs": 1}).encode()
        case = {f"{kind}.zip": write_zip([("data", data), ("policy.pth", weights.getvalue())])}
        seeds += [case, case | {"vecnormalize.pkl": _normaliser()}]
    return seeds


def _normaliser() -> bytes:
    """A pickle as VecNormalize saves itself, without that library."""
    vec, rms = (types.ModuleType(name) for name in NORMALISER_MODULES[:2])
    for module, name in ((vec, "VecNormalize"), (rms, "RunningMeanStd")):
        module.__dict__[name] = type(name, (), {"__module__": module.__name__})
    parts = vec.__name__.split(".")
    modules = {".".join(parts[: i + 1]): types.ModuleType("x") for i in range(len(parts))}
    modules |= {vec.__name__: vec, rms.__name__: rms}
    sys.modules.update(modules)
    statistics, whole = rms.RunningMeanStd(), vec.VecNormalize()
    statistics.__dict__ |= {"mean": np.zeros(2), "var": np.ones(2), "count": 5.0}
    whole.__dict__ |= {"obs_rms": statistics, "norm_obs": True, "epsilon": 1e-8, "clip_obs": 10.0}
    data = pickle.dumps(whole, 4)
    for name in modules:
        del sys.modules[name]
    return data


def pickle_seeds() -> list[Case]:
    tree = {"a": [1, 2.5, "x", None, True, b"\xff", (3,)], "n": 2**80, "z": np.zeros((2, 0)), "f": np.float32(1)}
    return [{"x.pkl": data} for data in [*_pickles(tree), _normaliser()]]


def meta_seeds() -> list[Case]:
    meta = {"env": "x", "seed": 1, "nested": {"a": [1, {"b": None}]}}
    return [{"x.npz": _npz(meta=np.array(json.dumps(meta)), x=_numbers(3, 2), y=np.arange(3))}]


def run_seeds() -> list[Case]:
    seeds = []
    for config in (RunConfig(), RunConfig(do_dagger=True, n_iter=3, ep_len=100, loss="nll")):
        metrics = "Train_EnvstepsSoFar,Expert_LabelsSoFar,Training Loss,Eval_AverageReturn\n"
        episodes = "policy,iteration,episode,return,length\nexpert,0,0,10.0,7\nexpert,0,1,30.0,7\n"
        for itr in range(config.n_iter):
            metrics += f"{1000 * itr},{50 + itr},0.5,{'' if itr == 1 else 2.5}\n"
            episodes += f"learner,{itr},0,1.5,101\nlearner,{itr},1,-2.5,90\n" if itr != 1 else ""
        record = {"config": dataclasses.asdict(config), "defaults": {"loss": "nll"}, "versions": {"torch": "2"}}
        summary = {"status": "finished", "eval_return_mean": float("nan"), "seconds": 1.5}
        seeds.append(
            {
                "config.json": to_json(record).encode(),
                "summary.json": to_json(summary).encode(),
                "metrics.csv": metrics.encode(),
                "episodes.csv": episodes.encode(),
            }
        )
    return seeds


def event_seeds() -> list[Case]:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    picture = Summary.Image(height=1, width=1, colorspace=3, encoded_image_string=b"GIF89a" + bytes(20))
    values = [Summary.Value(tag="loss", simple_value=0.5), Summary.Value(tag="video", image=picture)]
    events = [Event(wall_time=1.0, file_version="brain.Event:2")]
    events += [Event(wall_time=2.0, step=step, summary=Summary(value=values[: step + 1])) for step in range(2)]
    return [{"x": b"".join(event_record(event.SerializeToString()) for event in events)}]


def event_record(data: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    head = len(data).to_bytes(8, "little")
    return head + masked_crc32c(head).to_bytes(4, "little") + data + bytes(4)
