"""What libraries print and write on their own, in new processes: they write to the process's stderr, not Python's."""

import os
import subprocess
import sys

import pytest

from rl_il.files import REPOSITORY

MAKE = """
from rl_il.envs import make_env
env = make_env({name!r}, render={render})
env.reset(seed=0)
env.step(env.action_space.sample())
if {render}:
    print(env.render().shape)
env.close()
"""
IN_WORKERS = """
from rl_il.envs import make_env
from rl_il.experts.loading import load_expert
from rl_il.infrastructure.workers import rollout_source
from rl_il.infrastructure.rollouts import sample_n_trajectories
import numpy as np
if __name__ == "__main__":
    env = make_env("HalfCheetah-v5")
    with rollout_source(env, 2) as source:
        list(sample_n_trajectories(source, load_expert(None, env), 2, np.random.default_rng(0), 5))
"""
UNSTABLE = """
from rl_il.envs import make_env
env = make_env("Hopper-v5")
env.reset(seed=0)
env.unwrapped.data.qvel[:] = float("nan")
env.step(env.action_space.sample())
"""


def run_in(folder, code: str) -> subprocess.CompletedProcess:
    """Run the code as a script in the folder, on a machine without a display."""
    hidden = ("XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    (folder / "code.py").write_text(code)
    env["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run([sys.executable, "code.py"], cwd=folder, env=env, capture_output=True, encoding="utf-8")


@pytest.mark.parametrize(
    "code",
    [
        MAKE.format(name="MountainCar-v0", render=True),
        MAKE.format(name="HalfCheetah-v5", render=False),
        IN_WORKERS,
    ],
    ids=["SDL", "MuJoCo", "MuJoCo in workers"],
)
def test_nothing_is_printed_or_left(tmp_path, code):
    done = run_in(tmp_path, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["code.py"]


def test_other_warnings_of_mujoco_are_printed_but_leave_no_file(tmp_path):
    done = run_in(tmp_path, UNSTABLE)
    assert done.stderr.startswith("MuJoCo: ") and "unstable" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["code.py"]
