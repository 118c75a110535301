import os
import pickle
import zipfile

import numpy as np
import pytest
from course_files import RunsCode
from gymnasium.spaces import Box, Discrete
from refusals import refusal

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.datasets.npz import read_meta, read_npz
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.types import LEARNER, Trajectory

PER_STEP = ("dones", "terminations", "truncations", "executed_actions", "labelled", "sources", "consulted")
OBS = np.arange(10, dtype=np.float32).reshape(5, 2)
ACS = np.array([0, 1, 2, 1, 0])
GOOD = {"observations": OBS, "actions": ACS}


def episode(start, steps, continuous=False, **changes):
    obs = np.arange(start, start + 2 * steps + 2, dtype=np.float32).reshape(-1, 2)
    acs = np.full((steps, 2), 0.1 * start, np.float32) if continuous else np.arange(start, start + steps) % 4
    return Trajectory(**({"obs": obs, "acs": acs, "rewards": np.arange(steps) / 3 + start} | changes))


LABELS = np.array([[1.75, -3.0], [0.5, 0.25], [2.0, 2.0]], np.float32)
PARTLY = {"labelled": np.array([True, False, True]), "source": np.full(3, LEARNER, np.int8)}
SAVED = {
    "ends": [
        episode(0, 3, terminated=True),
        episode(100, 1, truncated=True),
        episode(200, 4),
        episode(300, 2, terminated=True, truncated=True),
    ],
    "labels outside the bounds": [
        episode(0, 3, True, acs=np.clip(LABELS, -1, 1), expert_acs=LABELS),
        episode(10, 2, True),
    ],
    "unknown rewards": [episode(0, 3, rewards=np.full(3, np.nan), terminated=True)],
    "steps without a label": [episode(0, 3, expert_acs=np.array([3, 0, 3]), **PARTLY), episode(0, 2)],
    "pixels": [episode(0, 1, obs=np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3))],
}


@pytest.mark.parametrize("name", SAVED)
def test_saved_trajectories_come_back_equal(tmp_path, name):
    save_trajectories(tmp_path / "x.npz", SAVED[name])
    for got, saved in zip(load_trajectories(tmp_path / "x.npz"), SAVED[name], strict=True):
        for part in ("obs", "acs", "labels", "rewards", "labelled_steps", "source"):
            np.testing.assert_array_equal(getattr(got, part), getattr(saved, part), err_msg=part)
            assert getattr(got, part).dtype == getattr(saved, part).dtype, part
        assert (got.terminated, got.truncated) == (saved.terminated, saved.truncated)


def test_double_precision_observations_become_single(tmp_path):
    fine = np.array([[0.1, 1e-9], [1 / 3, 2.0]])
    save_trajectories(tmp_path / "x.npz", [episode(0, 1, obs=fine)])
    (read,) = load_trajectories(tmp_path / "x.npz")
    assert read.obs.dtype == np.float32
    np.testing.assert_array_equal(read.obs, fine.astype(np.float32))


def test_the_file_says_how_it_was_made(tmp_path):
    meta = {"env_name": "LunarLander-v3", "seed": 3, "min_return": float("-inf")}
    save_trajectories(tmp_path / "x.npz", [episode(0, 3)], meta)
    arrays = read_npz(tmp_path / "x.npz")
    assert read_meta(arrays) == meta | {"min_return": None}
    assert not {"executed_actions", "labelled", "consulted"} & {*arrays}  # they would say nothing new


@pytest.mark.parametrize("meta", ["no json", "[1, 2]", "[" * 100_000, None])
def test_meta_must_be_a_json_object(meta):
    with pytest.raises(InputError, match="meta"):
        read_meta({} if meta is None else {"meta": np.array(meta)})


def test_observations_and_actions_alone_are_enough(write):
    (t,) = load_trajectories(write(**GOOD))
    assert t.obs.tolist() == [*OBS.tolist(), OBS[-1].tolist()]  # the last observation is repeated
    assert t.acs.tolist() == t.labels.tolist() == ACS.tolist()
    assert np.isnan(t.rewards).all() and t.rewards.dtype == np.float64
    assert (t.terminated, t.truncated) == (False, False)


NEITHER, TERMINATED, TRUNCATED = (False, False), (True, False), (False, True)
FIRST, LAST, BOTH = [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "flags, ends",
    [
        ({"dones": BOTH}, [NEITHER, NEITHER]),
        ({"terminations": FIRST}, [TERMINATED, NEITHER]),
        ({"truncations": BOTH}, [TRUNCATED, TRUNCATED]),
        ({"terminations": FIRST, "truncations": LAST}, [TERMINATED, TRUNCATED]),
        ({"episode_starts": [1, 0, 1, 0, 0]}, [NEITHER, NEITHER]),
        ({"dones": BOTH, "truncations": LAST}, [TERMINATED, TRUNCATED]),
        ({"dones": BOTH, "terminations": FIRST}, [TERMINATED, TRUNCATED]),
    ],
)
@pytest.mark.parametrize(("shape", "dtype"), [((5,), bool), ((5, 1), np.float32)])
def test_the_arrays_that_say_where_episodes_end(write, flags, ends, shape, dtype):
    arrays = {key: np.array(value, dtype).reshape(shape) for key, value in flags.items()}
    first, second = load_trajectories(write(**GOOD, **arrays))
    assert (first.acs.tolist(), second.acs.tolist()) == ([0, 1], [2, 1, 0])
    assert second.obs[0].tolist() == OBS[2].tolist()
    assert [(t.terminated, t.truncated) for t in (first, second)] == ends


def test_rewards_and_last_observations_are_split_too(write):
    finals = np.array([[-1, -2], [-3, -4]])
    path = write(**GOOD, dones=BOTH, rewards=np.arange(5, dtype=np.float32), final_observations=finals)
    first, second = load_trajectories(path)
    assert (first.rewards.tolist(), second.rewards.tolist()) == ([0, 1], [2, 3, 4])
    assert (first.obs[-1].tolist(), second.obs[-1].tolist()) == ([-1, -2], [-3, -4])
    assert (first.rewards.dtype, first.obs.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("ends", [{"dones": [0] * 5}, {"terminations": LAST}])
def test_a_file_with_an_episode_beyond_the_time_limit_does_not_say_where_episodes_end(write, register_env, ends):
    env = make_env(register_env(Box(-9, 9, (2,), np.float32), Discrete(3), max_episode_steps=4))
    path = write(**GOOD, **ends)
    assert len(load_trajectories(path, env)) == 1
    assert "--n_demos" in refusal(load_trajectories, path, env, 1)


# Damaged files -----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_an_npz_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    for content in (b"", b"PK\x03\x04 a broken zip", pickle.dumps(RunsCode(tmp_path / "ran"))):
        path.write_bytes(content)
        refusal(load_trajectories, path)
    with open(path, "wb") as file:
        np.save(file, OBS)
    refusal(load_trajectories, path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("observations", b"text")
    refusal(load_trajectories, path, holds=["observations"])
    assert not (tmp_path / "ran").exists()


HEADERS = [
    *(str({"descr": "<f8", "fortran_order": False, "shape": (n,)}) for n in (10**13, -1)),
    "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<U2', 'fortran_order': False, 'shape': ()}",
    "__import__('os').system('touch ran')",
    "(" * 900,
    "[1]",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_false_header_is_refused_and_not_run(tmp_path, monkeypatch, header):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.npz", "w") as file:
        for name in ("observations", "actions"):
            text = header.encode() + b"\n"
            body = b"{\0\0\0\0\0\x11\0" * 2
            file.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body)
    refusal(load_trajectories, tmp_path / "x.npz")
    assert os.listdir(tmp_path) == ["x.npz"]


def test_pickled_objects_are_refused_and_not_run(tmp_path, write):
    objects = np.array([RunsCode(tmp_path / "ran") for _ in range(5)], dtype=object)
    for arrays in (GOOD | {"observations": objects}, GOOD | {"dones": objects}):
        refusal(load_trajectories, write(**arrays))
    assert not (tmp_path / "ran").exists()


def with_value(array, value):
    array = np.array(array, float)
    array.flat[3] = value
    return array


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"position": OBS, "actions": ACS}, ["--keys", "position"]),
        ({}, ["nothing"]),
        ({"observations": OBS[:0], "actions": ACS[:0]}, ["no actions"]),
        (GOOD | {"actions": ACS[:3]}, ["observations", "5", "actions", "3"]),
        *((GOOD | {key: [0, 1]}, ["5", key, "2"]) for key in PER_STEP),
        (GOOD | {"episode_starts": [0, 9]}, ["episode_starts", "5"]),
        (GOOD | {"executed_actions": np.zeros((5, 2))}, ["(5, 2)", "(5,)"]),
        (GOOD | {"observations": np.array(3.0)}, ["observations"]),
        (GOOD | {"dones": BOTH, "final_observations": OBS[:3]}, ["final_observations", "(2, 2)", "(3, 2)"]),
        (GOOD | {"final_observations": np.array([["a", "b"]])}, ["final_observations", "<U1"]),
        (GOOD | {"final_observations": np.full((1, 2), np.nan)}, ["NaN"]),
        (GOOD | {"observations": with_value(OBS, np.nan)}, ["obs", "NaN", "row 1 of 6"]),
        (GOOD | {"actions": with_value(ACS, -np.inf)}, ["acs", "infinity", "row 3 of 5"]),
        (GOOD | {"observations": OBS.astype(str)}, ["observations", "<U"]),
        (GOOD | {"labelled": np.ones((5, 2))}, ["labelled"]),
        (GOOD | {"labelled": np.zeros(5, bool)}, ["label"]),
    ],
)
def test_a_malformed_file_is_refused_with_both_numbers(write, arrays, words):
    refusal(load_trajectories, write(**arrays), holds=words)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    save_trajectories(tmp_path / "x.npz", [episode(0, 3)])
    old = (tmp_path / "x.npz").read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(InputError, match=r"x\.npz.*disk full"):
        save_trajectories(tmp_path / "x.npz", [episode(0, 2)])
    assert (tmp_path / "x.npz").read_bytes() == old
    assert os.listdir(tmp_path) == ["x.npz"]
