import runpy
import sys
import types

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from refusals import refusal

from rl_il.datasets import load_trajectories
from rl_il.datasets.formats import FORMATS, Format
from rl_il.datasets.loading import V4_ZEROS
from rl_il.envs import ENVS, make_env
from rl_il.files import REPOSITORY

OBS = np.arange(10, dtype=np.float64).reshape(5, 2)
ACS = np.array([0, 1, 2, 1, 0])
GOOD = {"observations": OBS, "actions": ACS}
TEN = {"observations": np.arange(20.0).reshape(10, 2), "actions": np.zeros(10, int), "dones": np.ones(10, bool)}


# Formats ---------------------------------------------------------------------------------------------------


def read_words(path):
    """Read a new file format: a line for each step, the action last."""
    rows = [line.split() for line in path.read_text().splitlines()[1:]]
    return {"obs": [[float(number) for number in row[:-1]] for row in rows], "acs": [int(row[-1]) for row in rows]}


def test_a_new_format_needs_one_function_and_one_row(tmp_path, monkeypatch, shared_env):
    module = types.ModuleType("my_format")
    module.read_words = read_words
    monkeypatch.setitem(sys.modules, "my_format", module)
    row = Format("words", lambda path, head: head.startswith(b"words"), "my_format:read_words")
    monkeypatch.setattr("rl_il.datasets.formats.FORMATS", [row, *FORMATS])
    path = tmp_path / "demos.txt"
    path.write_text("words\n-0.5 0.01 2\n-0.4 0.02 2\n-0.3 -0.01 0\n")
    (t,) = load_trajectories(path, shared_env("MountainCar-v0"))
    assert t.acs.tolist() == [2, 2, 0] and t.acs.dtype == np.int64
    flags = f"--env_name MountainCar-v0 --expert_data {path} --logdir {tmp_path / 'run'} --n_iter 1 --ep_len 5"
    flags += " --eval_episodes 1 --num_agent_train_steps_per_iter 2 --video_log_freq -1"
    monkeypatch.setattr(sys, "argv", ["run_hw1.py", *flags.split()])
    runpy.run_path(str(REPOSITORY / "scripts" / "run_hw1.py"))["main"]()
    assert (tmp_path / "run" / "policy_itr_0.pt").exists()


@pytest.mark.parametrize("content", ["1 2 3", "", "\0\1\2"])
def test_a_file_of_no_known_format_is_refused(tmp_path, content):
    (tmp_path / "demos").write_text(content)
    refusal(load_trajectories, tmp_path / "demos", holds=["npz", "HDF5"])


def test_the_content_decides_not_the_suffix(tmp_path, shared_env):
    (tmp_path / "demos.pkl").write_text("obs_0,obs_1,action\n0.5,0.01,2\n")
    (t,) = load_trajectories(tmp_path / "demos.pkl", shared_env("MountainCar-v0"))
    assert t.acs.tolist() == [2]


def test_a_missing_file_or_an_empty_folder_is_refused(tmp_path):
    refusal(load_trajectories, tmp_path / "demos.npz")
    refusal(load_trajectories, tmp_path, holds=["session"])


# Ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "ends"),
    [
        ({}, [(True, False), (False, True)]),  # the second is as long as the limit
        ({"terminations": [0, 0, 0, 0, 1], "truncations": [0, 1, 0, 0, 0]}, [(False, True), (True, False)]),
    ],
)
def test_the_time_limit_tells_terminated_and_truncated_apart_unless_the_file_does(write, register_env, flags, ends):
    env = make_env(register_env(Box(-99, 99, (2,)), Discrete(3), max_episode_steps=3))
    trajectories = load_trajectories(write(**GOOD, dones=[0, 1, 0, 0, 1], **flags), env)
    assert [(t.terminated, t.truncated) for t in trajectories] == ends


def test_a_file_without_ends_is_one_trajectory_and_n_demos_is_refused(write, shared_env):
    path = write(**GOOD)
    (t,) = load_trajectories(path, shared_env("MountainCar-v0"))
    assert len(t) == 5
    words = ["--n_demos", "dones", "terminations", "truncations", "episode_starts"]
    refusal(load_trajectories, path, None, 1, holds=words)


# Choosing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_demos", "words"), [(11, ["10", "11"]), (0, ["0"])])
def test_a_wrong_number_of_demonstrations_is_refused(write, n_demos, words):
    refusal(load_trajectories, write(**TEN), None, n_demos, holds=["--n_demos", *words])


def firsts(trajectories):
    return [int(t.obs[0, 0]) // 2 for t in trajectories]


def test_demonstrations_are_drawn_by_the_generator(write):
    path = write(**TEN)
    assert firsts(load_trajectories(path, n_demos=3)) == [0, 1, 2]  # without one, the first
    assert sorted(firsts(load_trajectories(path, n_demos=10, rng=np.random.default_rng(0)))) == list(range(10))
    draws = [firsts(load_trajectories(path, n_demos=4, rng=np.random.default_rng(seed))) for seed in (0, *range(20))]
    assert all(len({*draw}) == 4 for draw in draws)
    assert draws[0] == draws[1] and len({tuple(draw) for draw in draws}) > 10
    assert any(max(draw) > 3 for draw in draws)


# Fit -------------------------------------------------------------------------------------------------------


def test_arrays_get_the_environments_dtypes(write, shared_env):
    (t,) = load_trajectories(write(observations=OBS, actions=ACS.astype(np.float32)), shared_env("MountainCar-v0"))
    assert (t.obs.dtype, t.acs.dtype) == (np.float32, np.int64)
    assert t.acs.tolist() == ACS.tolist()


def test_continuous_labels_are_not_clipped(write, shared_env):
    acs = np.array([[3.0], [-3.0], [0], [0], [0]])
    executed = np.clip(acs, -1, 1)
    path = write(observations=OBS, actions=acs, executed_actions=executed)
    (t,) = load_trajectories(path, shared_env("MountainCarContinuous-v0"))
    assert t.labels.tolist() == acs.tolist()
    assert t.acs.tolist() == executed.tolist()
    assert t.labels.dtype == t.acs.dtype == np.float32


LANDER = {"observations": np.zeros((5, 8))}


@pytest.mark.parametrize(
    "name, arrays, words",
    [
        ("LunarLander-v3", {"observations": OBS}, ["(2,)", "(8,)"]),
        ("MountainCar-v0", {"actions": ACS - 1}, ["[0, 3)", "[-1, 1]"]),
        ("MountainCar-v0", {"actions": ACS / 4}, ["[0, 3)", "float64", "[0, 0.5]"]),
        ("MountainCar-v0", {"actions": np.zeros((5, 2))}, ["[0, 3)", "(5, 2)"]),
        ("MountainCar-v0", {"executed_actions": ACS + 7}, ["[0, 3)", "[7, 9]"]),
        ("MountainCarContinuous-v0", {"actions": np.zeros((5, 2))}, ["(N, 1)", "(5, 2)"]),
        ("MountainCar-v0", {"observations": np.full((5, 2), 1e300)}, ["obs"]),
        ("LunarLander-v3", LANDER | {"actions": np.full((5, 2), 0.5)}, ["LunarLanderContinuous-v3"]),
        ("LunarLanderContinuous-v3", LANDER, ["LunarLander-v3"]),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_arrays_that_do_not_fit_the_environment_are_refused(write, shared_env, name, arrays, words):
    refusal(load_trajectories, write(**(GOOD | arrays)), shared_env(name), holds=words)


def test_the_zeros_that_humanoid_v5_leaves_out_are_added():
    """Humanoid-v4 observes the same and 28 zeros, with the same seed and actions."""
    v4, v5 = make_env("Humanoid-v4"), make_env("Humanoid-v5")
    demo = load_trajectories(ENVS["Humanoid-v4"].demos_path, v4, n_demos=1)[0]
    observed = [env.reset(seed=3)[0] for env in (v4, v5)]
    for ac in demo.acs[:20]:
        np.testing.assert_array_equal(np.insert(observed[1], V4_ZEROS, 0), observed[0])
        observed = [env.step(ac)[0] for env in (v4, v5)]
    (same,) = load_trajectories(ENVS["Humanoid-v5"].demos_path, v5, n_demos=1)
    np.testing.assert_array_equal(demo.obs, np.insert(same.obs, V4_ZEROS, 0, axis=1))
    assert demo.obs.shape == (171, 376) and len(set(demo.obs[0])) > 200


@pytest.mark.parametrize("numbers", [105, 111])
def test_an_ants_contact_forces_are_cut_off(tmp_path, shared_env, capsys, numbers):
    obs = np.random.default_rng(0).normal(size=(5, numbers))
    np.savez(tmp_path / "ant.npz", observations=obs, actions=np.zeros((5, 8)))
    (trajectory,) = load_trajectories(tmp_path / "ant.npz", shared_env("Ant-v4"))
    np.testing.assert_array_equal(trajectory.obs[:-1], obs[:, :27])
    note = capsys.readouterr().err
    assert note.startswith("note: ") and str(numbers) in note and "27" in note
    assert ("rewards" in note and "Ant-v5" in note) == (numbers == 105)
    refusal(load_trajectories, tmp_path / "ant.npz", shared_env("Hopper-v4"), holds=[f"({numbers},)"])
