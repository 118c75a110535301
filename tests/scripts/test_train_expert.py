"""The training of experts. `make test-experts` installs what the training itself needs, and tests it."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.files import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))
import train_expert

SCRIPT = str(REPOSITORY / "scripts" / "train_expert.py")


def run(*arguments, **settings):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, **settings)


@pytest.mark.parametrize("env_name", train_expert.SETTINGS)
def test_the_shipped_file_was_made_by_the_recipes_settings(env_name):
    # Settings that a file does not name were added later. Then their defaults are what it was trained with.
    with np.load(REPOSITORY / "experts" / f"{env_name}.npz", allow_pickle=False) as file:
        made_by = json.loads(str(file["meta"]))["settings"]
    by_default = json.loads(json.dumps(asdict(train_expert.Settings())))
    now = json.loads(json.dumps(asdict(train_expert.SETTINGS[env_name])))
    if env_name == "Humanoid-v5":
        by_default["actor_average"] = 0.001  # it was a constant when the expert was trained
    assert by_default | made_by == now


def test_without_its_packages_it_says_how_to_install_them(tmp_path):
    (tmp_path / "sbx.py").write_text("raise ImportError('not installed')")
    done = run("--env_name", "Hopper-v5", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"})
    assert done.returncode == 2
    assert ".[experts]" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_environment_without_settings_is_refused():
    done = run("--env_name", "CartPole-v1")
    assert done.returncode == 2
    assert "Hopper-v5" in done.stderr and "Traceback" not in done.stderr


def test_the_exported_layer_includes_the_standardisation(monkeypatch):
    rng = np.random.default_rng(0)
    layers = {
        f"Dense_{i}": {"kernel": rng.normal(size=shape).astype(np.float32), "bias": rng.normal(size=shape[1])}
        for i, shape in enumerate([(3, 4), (4, 4), (4, 2)])
    }
    model = SimpleNamespace(policy=SimpleNamespace(actor_state=SimpleNamespace(params={"params": layers})))
    mean, var = np.array([10.0, -2.0, 0.0]), np.array([4.0, 0.01, 1.0])
    normalizer = SimpleNamespace(obs_rms=SimpleNamespace(mean=mean, var=var), epsilon=0.0)
    monkeypatch.setattr(train_expert, "observation_normalizer", lambda _: normalizer)
    (w, b), *others = train_expert.actor_weights(model)
    obs = rng.normal(mean, np.sqrt(var), (50, 3))
    expected = (obs - mean) / np.sqrt(var) @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
    np.testing.assert_allclose(obs @ w + b, expected, atol=1e-9)
    np.testing.assert_array_equal(others[1][0], layers["Dense_2"]["kernel"])
    arrays = train_expert.file_arrays(model, [(w, b), *others])
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(
        (obs - arrays["obs_mean"]) / arrays["obs_std"] @ arrays["w0"] + arrays["b0"], expected, atol=1e-4
    )
    np.testing.assert_allclose(arrays["w0"], layers["Dense_0"]["kernel"], rtol=1e-6)


def test_a_checkpoint_with_other_settings_is_not_resumed():
    settings = train_expert.SETTINGS["LunarLander-v3"]
    training = SimpleNamespace(settings=settings, folder="runs/x")
    saved = json.loads(json.dumps(asdict(replace(settings, steps=7))))
    train_expert.Training.check_settings(training, saved)
    with pytest.raises(InputError, match=r"runs/x.* hidden 7 .*128"):
        train_expert.Training.check_settings(training, saved | {"hidden": 7})


@pytest.mark.experts
@pytest.mark.parametrize("env_name", ["LunarLander-v3", "Ant-v5"])  # discrete; with standardised observations
def test_a_short_training_is_exported_and_resumed(tmp_path, env_name):
    out = tmp_path / "expert.npz"
    flags = ["--env_name", env_name, "--folder", tmp_path / "run", "--out", out, "--steps"]
    first = run(*flags, 26_000)
    assert first.returncode == 0, first.stderr
    assert run(*flags, 26_000).returncode == 2  # nothing is overwritten
    resumed = run(*flags, 51_000, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "50,000 of 51,000 steps" in resumed.stdout and "25,000 of" not in resumed.stdout
    with np.load(out, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
    assert (meta["env_id"], meta["episodes"]) == (env_name, 100)
    env = make_env(env_name)
    assert env.action_space.contains(load_actor(out, env).get_action(env.reset(seed=0)[0]))
