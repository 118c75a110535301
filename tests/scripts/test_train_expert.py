"""The recipe for experts. Training itself is an optional job: `make test-experts` installs what it needs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from rl_il.envs import make_env
from rl_il.files import REPOSITORY
from rl_il.policies.experts import load_actor

SCRIPT = str(REPOSITORY / "scripts" / "train_expert.py")


def run(*arguments, **settings):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, **settings)


def test_without_its_packages_it_says_how_to_get_them(tmp_path):
    (tmp_path / "sbx.py").write_text("raise ImportError('not installed')")
    done = run("--env_name", "Hopper-v5", env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"})
    assert done.returncode == 2
    assert done.stderr == 'error: needs `pip install -e ".[experts]" -c constraints.txt`\n'


def test_an_environment_without_a_recipe_is_refused_with_the_names():
    done = run("--env_name", "CartPole-v1")
    assert done.returncode == 2
    assert "Hopper-v5" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.experts
@pytest.mark.parametrize("env_name", ["LunarLander-v3", "Ant-v5"])  # discrete SAC; SAC with normalised observations
def test_a_short_training_is_exported_and_resumed(tmp_path, env_name):
    out = tmp_path / "expert.npz"
    flags = ["--env_name", env_name, "--folder", tmp_path / "run", "--out", out, "--steps"]
    first = run(*flags, 26_000)
    assert first.returncode == 0, first.stderr
    resumed = run(*flags, 51_000, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "50,000 of 51,000 steps" in resumed.stdout and "25,000 of" not in resumed.stdout
    with np.load(out, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
    assert (meta["env_id"], meta["episodes"]) == (env_name, 100)
    env = make_env(env_name)
    assert env.action_space.contains(load_actor(out, env).get_action(env.reset(seed=0)[0]))
