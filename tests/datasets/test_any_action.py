"""Files of actions that are several integers, start anywhere, or have any shape; and of observed integers."""

import json

import numpy as np
import pytest
from fakes import COMBINATIONS, CombinationExpert
from refusals import refusal

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.datasets.findings import Demos, run_checks
from rl_il.datasets.odd import CHEAP_CHECKS
from rl_il.datasets.writing import write_demonstrations
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.studies.doctor.arrays import label_size
from rl_il.types import EXPERT, Trajectory

NAMES = {"npz": "demos.npz", "csv": "demos.csv", "minari": "Combination/expert-v0"}


def demonstrations(name: str) -> list[Trajectory]:
    expert, rng = CombinationExpert(COMBINATIONS[name]), np.random.default_rng(0)
    return list(sample_n_trajectories(make_env(name), expert, 3, rng, None, EXPERT))


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_actions_are_written_and_read_as_the_environments_own(name, to, tmp_path):
    env, demos, path = make_env(name), demonstrations(name), tmp_path / NAMES[to]
    if to == "csv" and demos[0].acs.ndim > 2:
        with pytest.raises(InputError, match=r"\(2, 3\)"):
            write_demonstrations(to, path, demos, {}, env)
        return
    write_demonstrations(to, path, demos, {"env_name": name}, env)
    for written, read in zip(demos, load_trajectories(path, env), strict=True):
        np.testing.assert_array_equal(read.acs, written.acs)
        np.testing.assert_array_equal(read.obs[:-1], written.obs[:-1])
        assert read.acs.dtype == written.acs.dtype


def test_minari_gets_the_space_of_several_integers(tmp_path):
    name = "CombinationMultiDiscreteFromOne-v0"
    write_demonstrations("minari", tmp_path / NAMES["minari"], demonstrations(name), {}, make_env(name))
    metadata = json.loads((tmp_path / NAMES["minari"] / "data" / "metadata.json").read_text())
    space = json.loads(metadata["action_space"])
    assert (space["type"], space["nvec"], space["start"]) == ("MultiDiscrete", [2, 3], [1, -1])


def test_a_file_of_observed_integers_is_read_as_one_hot(tmp_path):
    env, acs = make_env("CombinationFromOne-v0"), np.array([1, 2, 3])
    np.savez(tmp_path / "demos.npz", observations=[0, 1, 2], actions=acs, terminations=[False, False, True])
    (demo,) = load_trajectories(tmp_path / "demos.npz", env)
    np.testing.assert_array_equal(demo.obs[:3], np.eye(5)[:3])
    assert demo.acs.tolist() == [1, 2, 3]
    np.savez(tmp_path / "wrong.npz", observations=[0, 1, 5], actions=acs, terminations=[False, False, True])
    assert "Discrete(5)" in refusal(load_trajectories, tmp_path / "wrong.npz", env)


@pytest.mark.parametrize("acs", [[0, 1, 2], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]])
def test_a_file_that_counts_from_0_is_refused_where_actions_start_at_1(tmp_path, acs):
    acs = np.array(acs)
    save_trajectories(tmp_path / "demos.npz", [Trajectory(np.eye(5)[[0, 1, 2, 3]], acs, np.zeros(3))])
    message = refusal(load_trajectories, tmp_path / "demos.npz", make_env("CombinationFromOne-v0"))
    assert "[1, 5)" in message and "start at 0" in message


def findings_of(name: str, acs: np.ndarray) -> dict[str, list]:
    demo = Trajectory(np.eye(5)[np.arange(len(acs) + 1) % 5], acs, np.zeros(len(acs)))
    found: dict[str, list] = {}
    for finding in run_checks(CHEAP_CHECKS, Demos([demo], make_env(name))):
        found.setdefault(finding.check, []).append(finding)
    return found


def test_the_shares_of_actions_are_named_by_their_own_numbers():
    shares, never = findings_of("CombinationFromOne-v0", np.array([1, 1, 3, 4]))["class_balance"]
    assert "1: 50.0 %, 2: 0.0 %, 3: 25.0 %, 4: 25.0 %" in shares.text
    assert never.numbers["never"] == [2]


def test_checks_take_several_integers_and_matrices():
    assert "class_balance" not in findings_of("CombinationMultiBinary-v0", np.array([[0, 1, 1], [1, 0, 0]], np.int8))
    (outside,) = findings_of("CombinationMatrix-v0", np.full((2, 2, 3), [[0, 0, 0], [0, 3, 0]], np.float32))["bounds"]
    assert outside.numbers["shares"] == [0, 0, 0, 0, 1, 0] and outside.numbers["share"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(("acs", "bad"), [([0, 1, 2], 1), ([1, 2, 4], 0), ([5, 1, 1.5], 2)])
def test_the_doctor_counts_from_the_smallest_action(acs, bad):
    findings = [f for f in label_size({"actions": np.array(acs)}, make_env("CombinationFromOne-v0")) if f.numbers]
    assert sum(f.numbers.get("bad", 0) for f in findings) == bad
