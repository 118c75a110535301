import json
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pyarrow.parquet
import pytest
import torch
import zarr
from fakes import walk
from small_runs import TINY, corridor, run_in

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.runs.checkpoint import checksum
from rl_il.runs.parts import build_policy, count_eval_episodes, load_demonstrations


def test_each_seed_draws_its_own_demonstrations():
    env = make_env(TINY.env_name)

    def first_observations(seed: int) -> np.ndarray:
        demonstrations = load_demonstrations(replace(TINY, seed=seed), env)
        assert len(demonstrations) == 2
        return np.stack([trajectory.obs[0] for trajectory in demonstrations])

    np.testing.assert_array_equal(first_observations(1), first_observations(1))
    drawn = {first_observations(seed).tobytes() for seed in range(5)}
    assert len(drawn) == 5


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.update(COLUMNS)


def write_zarr(path):
    group = zarr.open_group(str(path), mode="w")
    for name, array in COLUMNS.items():
        group[name] = array


def write_parquet(path):
    pyarrow.parquet.write_table(pyarrow.table({**LISTED, "dones": LAST}), path)


RNG = np.random.default_rng(0)
ROWS, LABELS, LAST = RNG.random((60, 2), np.float32), RNG.integers(0, 3, 60), np.arange(60) % 20 == 19
COLUMNS = {"obs": ROWS, "acs": LABELS, "dones": LAST}
LISTED = {name: array.tolist() for name, array in COLUMNS.items()}
FORMATS = {
    "HDF5": write_hdf5,
    "Zarr": write_zarr,
    "Parquet": write_parquet,
    "npz": lambda path: np.savez(path.open("wb"), **COLUMNS),
    "pickle": lambda path: path.write_bytes(pickle.dumps(COLUMNS)),
    "torch": lambda path: torch.save({name: torch.tensor(array) for name, array in COLUMNS.items()}, path),
    "JSON": lambda path: path.write_text(json.dumps(LISTED)),
    "CSV": lambda path: path.write_text(
        "obs_0,obs_1,action,done\n"
        + "".join(f"{x!r},{y!r},{a},{d}\n" for (x, y), a, d in zip(*LISTED.values(), strict=True))
    ),
}


def test_the_same_episodes_in_any_format_train_the_same_weights(tmp_path):
    env, states = make_env("MountainCar-v0"), []
    for name, write in FORMATS.items():
        write(tmp_path / name)
        settings = {"n_demos": 2, "num_agent_train_steps_per_iter": 20, "train_batch_size": 16}
        config = RunConfig(env_name="MountainCar-v0", expert_data=str(tmp_path / name), **settings)
        policy = build_policy(config, env)
        RLTrainer(config, env, policy, load_demonstrations(config, env)).run_training_loop()
        states.append(policy.state_dict())
    untrained = build_policy(config, env).state_dict()
    assert not torch.equal(untrained["head.network.0.weight"], states[0]["head.network.0.weight"])
    for state in states[1:]:
        assert all(torch.equal(state[key], tensor) for key, tensor in states[0].items())


def test_the_flags_say_how_demonstrations_are_read(tmp_path):
    (tmp_path / "demos.pkl").write_bytes(pickle.dumps({"where": {"x": ROWS[:, :1], "y": ROWS[:, 1:]}, "did": LABELS}))
    config = RunConfig(
        env_name="MountainCar-v0",
        expert_data=str(tmp_path / "demos.pkl"),
        keys="obs=where,actions=did",
        obs_keys="y,x",
        split_every=30,
        n_demos=2,
    )
    trajectories = load_demonstrations(config, make_env("MountainCar-v0"))
    assert [len(t) for t in trajectories] == [30, 30]
    assert {t.obs[0].tobytes() for t in trajectories} == {ROWS[i, ::-1].tobytes() for i in (0, 30)}


def test_the_checksum_of_a_folder_is_that_of_all_its_files(tmp_path):
    (tmp_path / "demos" / "data").mkdir(parents=True)
    sums = []
    for content in ("a", "b"):
        (tmp_path / "demos" / "data" / "episode_1.npz").write_text(content)
        sums.append(checksum(tmp_path / "demos"))
    assert sums[0] != sums[1]


@pytest.mark.parametrize(
    ("changes", "episodes"),
    [
        ({"eval_batch_size": 1000, "env_name": "HalfCheetah-v5"}, 1),
        ({"eval_batch_size": 1001, "env_name": "HalfCheetah-v5"}, 2),
        ({"eval_batch_size": 5000}, 28),  # the expert lands after 184 steps
        ({"eval_batch_size": 5000, "ep_len": 100}, 50),
        ({"eval_batch_size": 1200, "env_name": "MountainCar-v0"}, 10),  # it needs 120 of at most 200
        ({"eval_batch_size": 1200, "env_name": "MountainCar-v0", "ep_len": 400}, 10),
        ({"eval_batch_size": 1000, "env_name": "Acrobot-v1"}, 2),  # not in the table: the time limit counts
        ({"eval_batch_size": 1000, "eval_episodes": 7}, 7),
    ],
)
def test_a_number_of_steps_becomes_a_number_of_episodes(changes, episodes):
    config = RunConfig(**changes)
    assert count_eval_episodes(config, make_env(config.env_name)) == episodes


def test_a_run_that_needs_more_memory_than_there_is_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("rl_il.runs.parts.memory_here", lambda: 10**9)
    with pytest.raises(InputError, match="--size 9000 "):
        run_in(tmp_path / "run", corridor(tmp_path / "files"), size=9000)
    assert not (tmp_path / "run").exists()


def test_noise_is_not_for_pictures_and_the_users_own_augmentation_is_for_both():
    pictures, vectors = make_env("PictureCorridor-v0"), make_env("CorridorContinuous-v0")
    with pytest.raises(InputError, match=r"--augment noise.*shift, brightness, flip_steer"):
        build_policy(RunConfig(env_name="PictureCorridor-v0", augment="noise"), pictures)
    for env in (pictures, vectors):
        assert build_policy(RunConfig(augment="my_changes:darken"), env).ac_dim == 2


def test_training_options_reach_the_policy():
    config = RunConfig(env_name="CorridorContinuous-v0", normalize_acs=True, dropout=0.3, layer_norm=True)
    policy = build_policy(config, make_env("CorridorContinuous-v0"))
    assert (policy.normalize_acs, policy.dropout, policy.layer_norm) == (True, 0.3, True)


def test_the_statistics_of_standardised_actions_are_those_of_the_labels_of_iteration_0():
    config = RunConfig(env_name="CorridorContinuous-v0", normalize_acs=True, val_fraction=0.5)
    env = make_env("CorridorContinuous-v0")
    labels = np.array([[90, 1], [110, 1], [0, 0]], np.float32)
    data = walk(3, acs=np.zeros((3, 2), np.float32), expert_acs=labels, labelled=np.array([True, True, False]))
    policy = build_policy(config, env)
    RLTrainer(config, env, policy, (data,))
    assert policy.head.ac_mean.tolist() == [100, 1] and policy.head.ac_std.tolist() == [10, 1]
