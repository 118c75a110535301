"""Habits of other programs that are easily read wrong without a word."""

import json
import pickle

import numpy as np
import pytest
import torch
from refusals import refusal

from rl_il.datasets import load_trajectories

LENGTHS = (30, 45, 25, 60)
RNG = np.random.default_rng(1)
EPISODES = [(RNG.random((n, 2), np.float32), RNG.integers(0, 3, n)) for n in LENGTHS]
OBS, ACS = (np.concatenate(each) for each in zip(*EPISODES, strict=True))
N = len(OBS)
LAST = np.isin(np.arange(N), np.cumsum(LENGTHS) - 1)
AFTER = np.concatenate([np.concatenate([obs[1:], obs[-1:] + 1]) for obs, _ in EPISODES])
NUMBERS = np.concatenate([np.arange(n) for n in LENGTHS])
PAIRS = [*zip(OBS, ACS, strict=True)]


def padded(array, n=60):
    """Return the array with its last row repeated, up to n rows."""
    return np.concatenate([array, np.repeat(array[-1:], n - len(array), axis=0)])


PADDED_OBS, PADDED_ACS = (np.stack([padded(each) for each in column]) for column in zip(*EPISODES, strict=True))
DONES = np.arange(60) == np.array(LENGTHS)[:, None] - 1
VALID = np.arange(60) < np.array(LENGTHS)[:, None]
STEPS = [
    [{"observation": o, "action": int(a), "reward": -1.0} for o, a in zip(obs, acs, strict=True)]
    for obs, acs in EPISODES
]
FOUR = {
    "not_done": {"obs": OBS, "acs": ACS, "not_done": 1.0 - LAST},
    "masks": {"states": OBS, "actions": ACS, "masks": (1.0 - LAST)[:, None]},
    "dones_float": {
        "observations": OBS,
        "actions": ACS,
        "next_observations": AFTER,
        "dones_float": LAST.astype(float),
    },
    "is_first": {"observation": OBS, "action": ACS, "is_first": NUMBERS == 0},
    "is_last": {"observation": OBS, "action": ACS, "is_last": LAST, "is_terminal": LAST},
    "lengths": {"states": OBS, "actions": ACS, "lengths": np.array(LENGTHS)},
    "traj_id": {"obs": OBS, "acs": ACS, "traj_id": np.repeat(np.arange(4), LENGTHS)},
    "timesteps": {"obs": OBS, "acs": ACS, "timesteps": NUMBERS},
    "padded, lengths": {"states": PADDED_OBS, "actions": PADDED_ACS, "lengths": torch.tensor(LENGTHS).numpy()},
    "padded, valid": {"obs": PADDED_OBS, "acts": PADDED_ACS, "mask": VALID},
    "padded, done": {"obs": PADDED_OBS, "acts": PADDED_ACS, "done": DONES},
    "pairs of an episode": EPISODES,
    "lists of dicts of steps": STEPS,
    "steps within episodes": [{"episode_number": i, "steps": steps} for i, steps in enumerate(STEPS)],
    "trajs": {"trajs": [{"obs": o, "acs": a} for o, a in EPISODES], "env": "x", "returns": [1.0, 2.0]},
    "(s, a, done)": [(o, a, bool(d)) for (o, a), d in zip(PAIRS, LAST, strict=True)],
    "(s, a, r, done, s')": [(o, a, -1.0, bool(d), t) for (o, a), d, t in zip(PAIRS, LAST, AFTER, strict=True)],
    "six in a tuple": [(o, a, -1.0, t, bool(d), False) for (o, a), d, t in zip(PAIRS, LAST, AFTER, strict=True)],
    "a number about the file": {"obs": OBS, "acs": ACS, "dones": LAST, "episodes": 4},
}


def check(trajectories):
    assert [len(t) for t in trajectories] == [*LENGTHS]
    for t, (obs, acs) in zip(trajectories, EPISODES, strict=True):
        np.testing.assert_allclose(t.obs[:-1], obs, rtol=1e-6)
        assert t.acs.tolist() == acs.tolist()


@pytest.mark.parametrize("name", FOUR)
def test_four_episodes_are_read(tmp_path, shared_env, name):
    (tmp_path / "demos.pkl").write_bytes(pickle.dumps(FOUR[name]))
    check(load_trajectories(tmp_path / "demos.pkl", shared_env("MountainCar-v0")))


def test_pickles_one_behind_the_other_are_all_read(tmp_path, shared_env):
    with (tmp_path / "demos.pkl").open("wb") as file:
        for obs, acs in EPISODES:
            pickle.dump({"obs": obs, "acs": acs}, file)
    check(load_trajectories(tmp_path / "demos.pkl", shared_env("MountainCar-v0")))
    with (tmp_path / "demos.pkl").open("ab") as file:
        file.write(b"no pickle")
    refusal(load_trajectories, tmp_path / "demos.pkl")


def test_ends_in_a_tuple_are_no_rewards(tmp_path, shared_env, capsys):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(FOUR["(s, a, done)"]))
    assert all(np.isnan(t.rewards).all() for t in load_trajectories(tmp_path / "x.pkl", shared_env("MountainCar-v0")))
    assert "(observations, actions, dones)" in capsys.readouterr().err


def test_two_lists_of_steps_are_a_pair(tmp_path, shared_env):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps((list(OBS), list(ACS))))
    (t,) = load_trajectories(tmp_path / "x.pkl", shared_env("MountainCar-v0"))
    np.testing.assert_array_equal(t.obs[:-1], OBS)


def test_pieces_of_episodes_are_put_together_by_their_ids(tmp_path, shared_env):
    ids = np.repeat(np.arange(4), LENGTHS)
    rows = [slice(i, i + 40) for i in range(0, N, 40)]  # as RLlib's sample batches
    pieces = [{"obs": OBS[r], "actions": ACS[r], "terminateds": LAST[r], "eps_id": ids[r]} for r in rows]
    lines = [json.dumps({name: array.tolist() for name, array in piece.items()}) for piece in pieces]
    (tmp_path / "x.json").write_text("\n".join(lines))
    check(load_trajectories(tmp_path / "x.json", shared_env("MountainCar-v0")))


@pytest.mark.parametrize("prefix", ["", "Hopper_"])
def test_arrays_of_a_replay_buffer(tmp_path, shared_env, prefix):
    arrays = {"state": OBS, "action": ACS[:, None], "next_state": AFTER, "not_done": 1.0 - LAST[:, None]}
    for name, array in (arrays | {"last_state": OBS * 0}).items():
        np.save(tmp_path / f"{prefix}{name}.npy", array)
    check(load_trajectories(tmp_path, shared_env("MountainCar-v0")))


def test_an_array_of_objects_is_read_and_two_arrays_in_a_file_are_refused(tmp_path, shared_env):
    episodes = [{"obs": obs, "acs": acs} for obs, acs in EPISODES]
    np.save(tmp_path / "x.npy", {"obs": OBS, "acs": ACS, "dones": LAST}, allow_pickle=True)
    check(load_trajectories(tmp_path / "x.npy", shared_env("MountainCar-v0")))
    np.savez(tmp_path / "x.npz", trajectories=np.array(episodes, object))
    check(load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0")))
    (tmp_path / "two").mkdir()
    np.save(tmp_path / "two" / "acs.npy", ACS)
    with (tmp_path / "two" / "obs.npy").open("wb") as file:
        np.save(file, OBS)
        np.save(file, OBS)
    refusal(load_trajectories, tmp_path / "two", holds=["more than one"])


def test_old_files_of_torch_are_read(tmp_path, shared_env):
    tensors = {"obs": torch.tensor(OBS), "acs": torch.tensor(ACS), "dones": torch.tensor(LAST)}
    torch.save(tensors, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    check(load_trajectories(tmp_path / "x.pt", shared_env("MountainCar-v0")))


def test_several_sets_are_no_episodes(tmp_path):
    half = {"obs": OBS[:80], "acs": ACS[:80]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": half, "test": half}))
    refusal(load_trajectories, tmp_path / "x.pkl", holds=["train", "test"])
    (tmp_path / "folder").mkdir()
    for name in ("train", "test"):
        np.savez(tmp_path / "folder" / f"{name}.npz", **half)
    refusal(load_trajectories, tmp_path / "folder", holds=["train.npz", "test.npz"])


def test_other_files_of_a_folder_are_named(tmp_path, shared_env, capsys):
    for i, (obs, acs) in enumerate(EPISODES):
        np.savez(tmp_path / f"episode_{i}.npz", obs=obs, acs=acs)
    (tmp_path / "metadata.json").write_text('{"env": "MountainCar"}')
    check(load_trajectories(tmp_path, shared_env("MountainCar-v0"), n_demos=4))
    assert "metadata.json" in capsys.readouterr().err


def test_files_that_are_too_long_for_an_episode_cannot_be_counted(tmp_path, shared_env):
    # Each has 320 steps, and the limit is 200.
    for i in range(2):
        np.savez(tmp_path / f"part_{i}.npz", obs=np.tile(OBS, (2, 1)), acs=np.tile(ACS, 2))
    assert len(load_trajectories(tmp_path, shared_env("MountainCar-v0"))) == 2
    refusal(load_trajectories, tmp_path, shared_env("MountainCar-v0"), 1, holds=["--n_demos"])


@pytest.mark.parametrize(
    "rewards", [np.ones(4), np.ones((N, 2)), np.full(N, np.nan)], ids=["of episodes", "vectors", "NaN"]
)
def test_rewards_that_do_not_fit_are_passed_over_and_said(tmp_path, shared_env, capsys, rewards):
    np.savez(tmp_path / "x.npz", obs=OBS, acs=ACS, dones=LAST, rewards=rewards)
    trajectories = load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0"))
    check(trajectories)
    assert all(np.isnan(t.rewards).all() for t in trajectories)
    assert "not read: rewards" in capsys.readouterr().err


def test_next_observations_of_another_shape_are_passed_over(tmp_path, shared_env, capsys):
    np.savez(tmp_path / "x.npz", obs=OBS, acs=ACS, dones=LAST, next_obs=np.zeros((N, 5)))
    check(load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0")))
    assert "not read: next_obs" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(N, 1, 2), (N, 2, 1)])
def test_an_axis_of_length_one_is_taken_out(tmp_path, shared_env, shape):
    np.savez(tmp_path / "x.npz", obs=OBS.reshape(shape), acs=ACS, dones=LAST)
    check(load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0")))


def test_arrays_without_names(tmp_path, shared_env):
    np.savez(tmp_path / "x.npz", OBS, ACS)
    (t,) = load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0"))
    assert t.acs.tolist() == ACS.tolist()
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(tuple(map(list, zip(*EPISODES, strict=True)))))
    check(load_trajectories(tmp_path / "x.pkl", shared_env("MountainCar-v0")))


def test_the_header_of_savetxt(tmp_path, shared_env):
    rows = np.column_stack([OBS, ACS, LAST])
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",", header="obs_0,obs_1,action,done", fmt="%.9g")
    check(load_trajectories(tmp_path / "x.csv", shared_env("MountainCar-v0")))


def test_missing_time_limits_are_said(tmp_path, shared_env, capsys):
    np.savez(tmp_path / "x.npz", obs=OBS, acs=ACS, terminals=LAST)
    load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0"))
    assert "timeouts" in capsys.readouterr().err
