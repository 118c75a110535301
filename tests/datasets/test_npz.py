import json
import zipfile

import numpy as np
import pytest
from course_files import RunsCode
from gymnasium.spaces import Box, Discrete

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.datasets.npz import read_meta, read_npz
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.types import LEARNER, Trajectory

OBS = np.arange(10, dtype=np.float32).reshape(5, 2)
ACS = np.array([0, 1, 2, 1, 0])


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "demos.npz", **arrays)
        return tmp_path / "demos.npz"

    return write


def episode(start, steps, continuous=False, **changes):
    obs = np.arange(start, start + 2 * steps + 2, dtype=np.float32).reshape(-1, 2)
    acs = np.full((steps, 2), 0.1 * start, np.float32) if continuous else np.arange(start, start + steps) % 4
    return Trajectory(**({"obs": obs, "acs": acs, "rewards": np.arange(steps) / 3 + start} | changes))


def assert_equal(got, expected):
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        for name in ("obs", "acs", "labels", "rewards", "labelled_steps", "source"):
            np.testing.assert_array_equal(getattr(g, name), getattr(e, name), err_msg=name)
            assert getattr(g, name).dtype == getattr(e, name).dtype, name
        assert (g.terminated, g.truncated) == (e.terminated, e.truncated)


@pytest.mark.parametrize("continuous", [False, True])
def test_saved_trajectories_come_back_equal(tmp_path, continuous):
    trajectories = [
        episode(0, 3, continuous, terminated=True),
        episode(100, 1, continuous, truncated=True),
        episode(200, 4, continuous),
        episode(300, 2, continuous, terminated=True, truncated=True),
    ]
    save_trajectories(tmp_path / "x.npz", trajectories)
    assert_equal(load_trajectories(tmp_path / "x.npz"), trajectories)


def test_observations_in_double_precision_are_rounded_to_single_and_pixels_stay_bytes(tmp_path):
    fine = np.array([[0.1, 1e-9], [1 / 3, 2.0]])
    save_trajectories(tmp_path / "x.npz", [episode(0, 1, obs=fine, terminated=True)])
    (read,) = load_trajectories(tmp_path / "x.npz")
    assert read.obs.dtype == np.float32
    np.testing.assert_array_equal(read.obs, fine.astype(np.float32))
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    save_trajectories(tmp_path / "x.npz", [episode(0, 1, obs=pixels)])
    (read,) = load_trajectories(tmp_path / "x.npz")
    assert read.obs.dtype == np.uint8
    np.testing.assert_array_equal(read.obs, pixels)


def test_unclipped_labels_and_executed_actions_both_come_back(tmp_path):
    labels = np.array([[1.75, -3.0], [0.5, 0.25], [2.0, 2.0]], np.float32)
    trajectories = [
        episode(0, 3, True, acs=np.clip(labels, -1, 1), expert_acs=labels, terminated=True),
        episode(10, 2, True, truncated=True),
    ]
    save_trajectories(tmp_path / "x.npz", trajectories)
    assert_equal(load_trajectories(tmp_path / "x.npz"), trajectories)
    with np.load(tmp_path / "x.npz") as file:
        assert file["actions"][:3].tolist() == labels.tolist()
        assert file["executed_actions"].max() <= 1


def test_executed_actions_are_left_out_where_they_are_the_labels(tmp_path):
    save_trajectories(tmp_path / "x.npz", [episode(0, 3, expert_acs=np.arange(3))])
    with np.load(tmp_path / "x.npz") as file:
        assert "executed_actions" not in file.files


def test_unknown_rewards_stay_unknown(tmp_path):
    trajectories = [episode(0, 3, rewards=np.full(3, np.nan), terminated=True)]
    save_trajectories(tmp_path / "x.npz", trajectories)
    assert_equal(load_trajectories(tmp_path / "x.npz"), trajectories)


def test_steps_without_a_label_stay_without(tmp_path):
    mask = np.array([True, False, True])
    trajectories = [
        episode(0, 3, expert_acs=np.array([3, 0, 3]), labelled=mask, source=np.full(3, LEARNER, np.int8)),
        episode(0, 2),
    ]
    save_trajectories(tmp_path / "x.npz", trajectories)
    assert_equal(load_trajectories(tmp_path / "x.npz"), trajectories)


def test_the_file_says_how_it_was_made(tmp_path):
    meta = {"env_name": "LunarLander-v3", "seed": 3, "min_return": float("-inf")}
    save_trajectories(tmp_path / "x.npz", [episode(0, 3)], meta)
    assert read_meta(read_npz(tmp_path / "x.npz")) == meta | {"min_return": None}


@pytest.mark.parametrize("meta", ["no json", "[1, 2]", "3", None])
def test_meta_must_be_a_json_object(meta):
    arrays = {} if meta is None else {"meta": np.array(meta)}
    with pytest.raises(InputError, match="JSON object under 'meta'"):
        read_meta(arrays)


def test_observations_and_actions_alone_are_one_trajectory(write):
    (t,) = load_trajectories(write(observations=OBS, actions=ACS))
    assert t.obs.tolist() == [*OBS.tolist(), OBS[-1].tolist()]  # the last observation is repeated
    assert t.acs.tolist() == ACS.tolist()
    assert t.labels.tolist() == ACS.tolist()
    assert np.isnan(t.rewards).all() and t.rewards.dtype == np.float64
    assert (t.terminated, t.truncated) == (False, False)


NEITHER, TERMINATED, TRUNCATED = (False, False), (True, False), (False, True)
FIRST, LAST, BOTH = [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "flags, ends",
    [
        ({"dones": BOTH}, [NEITHER, NEITHER]),
        ({"dones": FIRST}, [NEITHER, NEITHER]),
        ({"terminations": BOTH}, [TERMINATED, TERMINATED]),
        ({"terminations": FIRST}, [TERMINATED, NEITHER]),
        ({"truncations": BOTH}, [TRUNCATED, TRUNCATED]),
        ({"terminations": FIRST, "truncations": LAST}, [TERMINATED, TRUNCATED]),
        ({"episode_starts": [1, 0, 1, 0, 0]}, [NEITHER, NEITHER]),
        ({"episode_starts": [0, 0, 1, 0, 0]}, [NEITHER, NEITHER]),
        ({"episode_starts": [1, 0, 1, 0, 0], "dones": FIRST}, [NEITHER, NEITHER]),
        ({"dones": BOTH, "truncations": LAST}, [TERMINATED, TRUNCATED]),
        ({"dones": BOTH, "terminations": FIRST}, [TERMINATED, TRUNCATED]),
        ({"dones": BOTH, "terminations": BOTH}, [TERMINATED, TERMINATED]),
        ({"dones": BOTH, "terminations": FIRST, "truncations": LAST}, [TERMINATED, TRUNCATED]),
    ],
)
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_the_arrays_that_may_say_where_episodes_end(write, flags, ends, shape, dtype):
    arrays = {key: np.array(value, dtype).reshape(shape) for key, value in flags.items()}
    first, second = load_trajectories(write(observations=OBS, actions=ACS, **arrays))
    assert (first.acs.tolist(), second.acs.tolist()) == ([0, 1], [2, 1, 0])
    assert second.obs[0].tolist() == OBS[2].tolist()
    assert [(t.terminated, t.truncated) for t in (first, second)] == ends


def test_rewards_are_split_with_their_episodes(write):
    path = write(observations=OBS, actions=ACS, dones=BOTH, rewards=np.arange(5, dtype=np.float32))
    first, second = load_trajectories(path)
    assert (first.rewards.tolist(), second.rewards.tolist()) == ([0, 1], [2, 3, 4])
    assert first.rewards.dtype == np.float64


def test_final_observations_end_their_episodes(write):
    finals = np.array([[-1, -2], [-3, -4]])
    first, second = load_trajectories(write(observations=OBS, actions=ACS, dones=BOTH, final_observations=finals))
    assert first.obs[-1].tolist() == [-1, -2]
    assert second.obs[-1].tolist() == [-3, -4]
    assert first.obs.dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 a broken zip"])
def test_a_file_that_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: is not a readable \.npz file"):
        load_trajectories(tmp_path / "x.npz")


def test_a_single_array_is_refused(tmp_path):
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, OBS)
    with pytest.raises(InputError, match=r"x\.npz: is a single array, not an \.npz"):
        load_trajectories(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_cut_short_is_refused(tmp_path, save):
    save(tmp_path / "whole.npz", observations=OBS, actions=ACS)
    content = (tmp_path / "whole.npz").read_bytes()
    for length in range(0, len(content) - 1, 29):
        (tmp_path / "x.npz").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"x\.npz: is not a readable"):
            load_trajectories(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_byte_is_harmless_or_refused(tmp_path, save):
    save(tmp_path / "whole.npz", observations=np.linspace(0, 1, 10).reshape(5, 2), actions=ACS)
    content = (tmp_path / "whole.npz").read_bytes()
    refused = 0
    for i in range(0, len(content), 3):
        (tmp_path / "x.npz").write_bytes(content[:i] + bytes([content[i] ^ 0x11]) + content[i + 1 :])
        try:
            load_trajectories(tmp_path / "x.npz")
        except InputError as error:
            refused += 1
            assert str(error).startswith(str(tmp_path / "x.npz"))
    assert refused > 50


@pytest.mark.parametrize("rows", ["10**13", "10**20", "-1", "True", "1e3"])
def test_a_header_that_claims_an_absurd_shape_is_refused(tmp_path, rows):
    size = str(eval(rows, {}))
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({size},), }}".ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        for name in ("observations", "actions"):
            file.writestr(
                f"{name}.npy", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.encode() + b"0" * 16
            )
    with pytest.raises(InputError, match=r"x\.npz: "):
        load_trajectories(tmp_path / "x.npz")


def test_pickled_objects_are_refused_and_not_run(tmp_path, write):
    objects = np.array([RunsCode(tmp_path / "ran")] * 5, dtype=object)
    for arrays in (
        {"observations": objects, "actions": ACS},
        {"observations": OBS, "actions": ACS, "dones": objects},
    ):
        with pytest.raises(InputError, match=r"demos\.npz: holds objects in '\w+\.npy', which are not unpickled"):
            load_trajectories(write(**arrays))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_named_npz_is_refused_and_not_run(tmp_path):
    import pickle

    (tmp_path / "x.npz").write_bytes(pickle.dumps(RunsCode(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"x\.npz: is not a readable \.npz file"):
        load_trajectories(tmp_path / "x.npz")
    assert not (tmp_path / "ran").exists()


def with_value(array, value):
    array = np.array(array, float)
    array.flat[3] = value
    return array


GOOD = {"observations": OBS, "actions": ACS}


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"obs": OBS, "acs": ACS}, ["observations and actions", "acs, obs"]),
        ({"observations": OBS}, ["observations and actions", "holds observations"]),
        ({"actions": ACS}, ["observations and actions", "holds actions"]),
        ({}, ["observations and actions", "nothing"]),
        ({"observations": OBS[:0], "actions": ACS[:0]}, ["no observations"]),
        (GOOD | {"actions": ACS[:4]}, ["observations has 5 rows", "actions has 4"]),
        (GOOD | {"rewards": np.zeros(6)}, ["observations has 5 rows", "rewards has 6"]),
        (GOOD | {"rewards": np.zeros((5, 2))}, ["5", "10"]),
        (GOOD | {"dones": [0, 1]}, ["observations has 5 rows", "dones has 2"]),
        (GOOD | {"terminations": [0, 1]}, ["observations has 5 rows", "terminations has 2"]),
        (GOOD | {"truncations": [0, 1]}, ["observations has 5 rows", "truncations has 2"]),
        (GOOD | {"episode_starts": [0, 1]}, ["observations has 5 rows", "episode_starts has 2"]),
        (GOOD | {"executed_actions": [0, 1]}, ["observations has 5 rows", "executed_actions has 2"]),
        (GOOD | {"executed_actions": np.zeros((5, 2))}, ["(5, 2)", "(5,)"]),
        (GOOD | {"actions": np.array(3)}, ["actions", "a single number"]),
        (GOOD | {"observations": np.array(3.0)}, ["observations", "a single number"]),
        (GOOD | {"dones": BOTH, "final_observations": OBS[:3]}, ["final_observations", "(2, 2)", "(3, 2)"]),
        (GOOD | {"dones": BOTH, "final_observations": np.zeros((2, 3))}, ["final_observations", "(2, 2)", "(2, 3)"]),
        (GOOD | {"final_observations": np.array(3.0)}, ["final_observations", "a single number"]),
        (GOOD | {"final_observations": np.array([["a", "b"]])}, ["final_observations", "must hold numbers"]),
        (GOOD | {"final_observations": np.full((1, 2), np.nan)}, ["NaN or infinity"]),
        (GOOD | {"observations": with_value(OBS, np.nan)}, ["obs hold NaN or infinity", "row 1 of 6"]),
        (GOOD | {"observations": with_value(OBS, np.inf)}, ["obs hold NaN or infinity", "row 1 of 6"]),
        (GOOD | {"actions": with_value(ACS, np.nan)}, ["acs hold NaN or infinity", "row 3 of 5"]),
        (GOOD | {"actions": with_value(ACS, -np.inf)}, ["acs hold NaN or infinity", "row 3 of 5"]),
        (GOOD | {"rewards": with_value(ACS, np.nan)}, ["rewards hold NaN or infinity"]),
        (GOOD | {"rewards": with_value(ACS, np.inf)}, ["rewards hold NaN or infinity"]),
        (GOOD | {"observations": OBS.astype(str)}, ["observations must hold numbers", "<U"]),
        (GOOD | {"observations": OBS + 1j}, ["observations must hold numbers", "complex"]),
        (GOOD | {"actions": ACS.astype("M8[s]")}, ["actions must hold numbers", "datetime64"]),
    ],
)
def test_a_malformed_file_is_refused_with_its_path_and_both_numbers(write, arrays, words):
    path = write(**arrays)
    with pytest.raises(InputError) as error:
        load_trajectories(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    save_trajectories(tmp_path / "x.npz", [episode(0, 3)])
    old = (tmp_path / "x.npz").read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(InputError, match=r"x\.npz: cannot be written \(disk full\)"):
        save_trajectories(tmp_path / "x.npz", [episode(0, 2)])
    assert (tmp_path / "x.npz").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_the_meta_is_json_text_in_the_file(tmp_path):
    save_trajectories(tmp_path / "x.npz", [episode(0, 3)], {"a": 1})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert json.loads(str(file["meta"])) == {"a": 1}


@pytest.mark.parametrize("ends", [{"dones": [0] * 5}, {"terminations": [0, 0, 0, 0, 1]}])
def test_a_file_that_marks_no_end_within_the_time_limit_has_no_boundaries(write, register_env, ends):
    name = register_env(Box(-9, 9, (2,), np.float32), Discrete(3), max_episode_steps=4)
    path = write(observations=OBS, actions=ACS, **ends)
    assert len(load_trajectories(path, make_env(name))) == 1
    with pytest.raises(InputError, match="does not say where episodes end"):
        load_trajectories(path, make_env(name), n_demos=1)


@pytest.mark.parametrize(("key", "words"), [("labelled", "labelled must hold one value"), ("sources", "source must")])
def test_two_values_a_step_are_refused(write, key, words):
    with pytest.raises(InputError, match=words):
        load_trajectories(write(observations=OBS, actions=ACS, **{key: np.ones((5, 2))}))


def test_a_file_without_a_labelled_step_is_refused(write):
    with pytest.raises(InputError, match="holds no labelled step"):
        load_trajectories(write(observations=OBS, actions=ACS, labelled=np.zeros(5, bool)))
