"""Zips and normalisers as Stable-Baselines3 writes them."""

import io
import json
import pickle
import zipfile

import numpy as np
import torch

RNG = np.random.default_rng(0)


def linear(name, n_in, n_out):
    """Return a linear layer's tensors, by name."""
    weight, bias = RNG.normal(size=(n_out, n_in)), RNG.normal(size=n_out)
    return {f"{name}.weight": torch.tensor(weight).float(), f"{name}.bias": torch.tensor(bias).float()}


def network(algorithm, n_in, n_out):
    """Return the tensors of the policy network (one hidden layer of 5) and of others, which must not be used."""
    names = {
        "ppo": ("mlp_extractor.policy_net.0", "action_net"),
        "dqn": ("q_net.q_net.0", "q_net.q_net.2"),
        "sac": ("actor.latent_pi.0", "actor.mu"),
        "td3": ("actor.mu.0", "actor.mu.2"),
    }[algorithm]
    others = {
        "ppo": linear("mlp_extractor.value_net.0", n_in, 5) | linear("value_net", 5, 1) | {"log_std": torch.zeros(2)},
        "dqn": linear("q_net_target.q_net.0", n_in, 5) | linear("q_net_target.q_net.2", 5, n_out),
        "sac": linear("actor.log_std", 5, n_out) | linear("critic.qf0.0", n_in + n_out, 5),
        "td3": linear("actor_target.mu.0", n_in, 5) | linear("critic.qf0.0", n_in + n_out, 5),
    }[algorithm]
    return others | linear(names[0], n_in, 5) | linear(names[1], 5, n_out), names


def write_zip(path, tensors, data=None):
    weights = io.BytesIO()
    torch.save(tensors, weights)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("policy.pth", weights.getvalue())
        file.writestr("data", json.dumps({"policy_kwargs": {}} if data is None else data))
    return path


def space(kind, **attributes):
    """Return a space as the JSON of a zip holds it: attributes that JSON does not have are texts."""
    return {
        ":type:": f"<class 'gymnasium.spaces.{kind}'>",
        ":serialized:": "gAWVAAAA",
        "_np_random": None,
    } | attributes


def box(*shape):
    return space("box.Box", _shape=list(shape), dtype="float32", low="[-1. -1.]", high="[1. 1.]")


def discrete(n):
    return space("discrete.Discrete", n=n, start="0", _shape=[], dtype="int64")


class VecNormalize:
    """A class that is pickled under Stable-Baselines3's name, with the attributes that the library saves."""


class RunningMeanStd:
    """As `VecNormalize`."""


def write_normaliser(path, mean=None, var=None, **changes):
    """Write what `VecNormalize.save` writes, with classes under the library's names."""
    statistics, normaliser = RunningMeanStd(), VecNormalize()
    statistics.mean = np.arange(8.0) if mean is None else mean
    statistics.var = np.arange(1.0, 9.0) if var is None else var
    settings = {"obs_rms": statistics, "epsilon": 1e-8, "clip_obs": 1.5, "norm_obs": True}
    settings["np_random"] = np.random.default_rng(0)  # the library's file has generators too
    normaliser.__dict__.update(settings | changes)
    data = pickle.dumps(normaliser, 2)
    for module, name in (("vec_env.vec_normalize", "VecNormalize"), ("running_mean_std", "RunningMeanStd")):
        data = data.replace(f"c{__name__}\n{name}".encode(), f"cstable_baselines3.common.{module}\n{name}".encode())
    path.write_bytes(data)
