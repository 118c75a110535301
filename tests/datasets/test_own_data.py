"""Demonstrations that the user's own function returns."""

import gymnasium as gym
import numpy as np
import pytest
from refusals import refusal

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.errors import InputError, Interrupted
from rl_il.plugins import load_own
from rl_il.runs.experiment import resume, run

CODE = """
import numpy as np
from fakes import walk

ACTION = 1

def arrays():
    obs = np.array([[0, 2], [1, 2], [0, 3], [1, 3], [2, 3]], np.float32)
    return {"observations": obs, "actions": np.array([1, 2, 0, 1, 2]), "dones": np.array([0, 1, 0, 0, 1])}

def episodes():
    return [{"obs": np.array([[t, n] for t in range(n + 1)], np.float32), "acs": np.arange(n) % 3} for n in (3, 4)]

def trajectories():
    return [walk(n, action=ACTION) for n in (3, 5)]

def broken():
    return 1 / 0

def empty():
    return []

needs = lambda path: path
"""


@pytest.mark.parametrize(
    ("name", "acs"),
    [
        ("arrays", [[1, 2], [0, 1, 2]]),
        ("episodes", [[0, 1, 2], [0, 1, 2, 0]]),
        ("trajectories", [[1] * 3, [1] * 5]),
    ],
)
def test_a_function_may_return_what_a_file_may_hold(own_folder, name, acs):
    own_folder(mine=CODE)
    found = load_trajectories(f"mine:{name}", make_env("Corridor-v0"))
    assert [trajectory.labels.tolist() for trajectory in found] == acs
    assert len(load_trajectories(f"mine:{name}", make_env("Corridor-v0"), n_demos=1)) == 1


@pytest.mark.parametrize(
    ("name", "word"), [("broken", "ZeroDivisionError"), ("needs", "arguments"), ("empty", ""), ("nothing", "nothing")]
)
def test_a_function_that_fails_is_named(own_folder, name, word):
    own_folder(mine=CODE)
    refusal(load_trajectories, f"mine:{name}", make_env("Corridor-v0"), holds=[word])


def stop(*_):
    raise Interrupted


def test_a_run_continues_only_with_the_same_demonstrations(own_folder, monkeypatch):
    folder = own_folder(mine=CODE)
    settings = {"num_agent_train_steps_per_iter": 2, "eval_episodes": 1, "video_log_freq": -1, "n_demos": 1}
    config = RunConfig(
        env_name="Corridor-v0", expert_data="mine:trajectories", logdir=str(folder / "run"), **settings
    )
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("rl_il.runs.training._finish", stop)
        run(config, verbose=False)
    monkeypatch.setattr("mine.ACTION", 2)
    with pytest.raises(InputError, match="mine:trajectories"):
        resume(folder / "run", verbose=False)
    monkeypatch.setattr("mine.ACTION", 1)
    assert resume(folder / "run", verbose=False).summary["status"] == "finished"


DICTS = """
import gymnasium as gym
import numpy as np
from collections import OrderedDict
from gymnasium.spaces import Box, Dict, Discrete

class Parts(gym.Env):
    observation_space = Dict(OrderedDict(z=Box(-9, 9, (2,)), mode=Discrete(3, start=1), a=Box(-9, 9, (1,))))
    action_space = Discrete(2)

gym.register("Parts-v0", Parts, max_episode_steps=5)
rows = [{"z": np.array([i, -i], np.float32), "mode": 1 + i % 3, "a": np.array([i], np.float32)} for i in range(4)]

def steps():
    return [{"obs": rows, "acs": [0, 1, 0]}]

def columns():
    parts = {name: np.array([row[name] for row in rows[:3]]) for name in rows[0]}
    return {"observations": parts, "actions": [0, 1, 0]}

def pairs():
    return [(row["a"], 1) for row in rows], [(row["a"], 0) for row in rows]

def wrong():
    rows[1]["mode"] = 7
    return steps()
"""


@pytest.mark.parametrize("name", ["steps", "columns"])
def test_the_parts_of_an_observation_are_flattened_as_the_environment_does(own_folder, name):
    own_folder(mine=DICTS)
    env = make_env("mine:Parts-v0")
    (trajectory,) = load_trajectories(f"mine:{name}", env)
    expected = [gym.spaces.flatten(env.env.observation_space, row) for row in load_own("mine:rows")[:3]]
    np.testing.assert_array_equal(trajectory.obs[:3], expected)  # z before mode before a


def test_a_part_that_is_not_in_its_space_is_refused(own_folder):
    own_folder(mine=DICTS)
    refusal(load_trajectories, "mine:wrong", make_env("mine:Parts-v0"), holds=["7", "Discrete(3, start=1)"])


def test_tuples_are_read_like_lists_and_episodes_may_have_one_length(own_folder):
    own_folder(mine=DICTS)
    found = load_trajectories("mine:pairs")
    assert [trajectory.labels.tolist() for trajectory in found] == [[1] * 4, [0] * 4]
