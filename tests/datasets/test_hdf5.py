import functools
import sys

import h5py
import numpy as np
import pytest
from refusals import refusal

from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions

OBS = np.arange(24.0).reshape(12, 2)
ACS = np.arange(10.0, dtype=np.float32).reshape(10, 1)
REWARDS = np.arange(10.0)


def flags(*true, n=10):
    return np.isin(np.arange(n), true)


def fill(group, tree):
    for name, value in tree.items():
        if isinstance(value, dict):
            fill(group.create_group(name), value)
        else:
            group.create_dataset(name, data=value)


@pytest.fixture
def hdf5(tmp_path):
    """Write a tree of dicts and arrays to an HDF5 file, and return its path."""

    def write(tree, name="demos.hdf5"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            fill(file, tree)
        return path

    return write


def ends(trajectories):
    return [(len(t), t.terminated, t.truncated) for t in trajectories]


# Minari ------------------------------------------------------------------------------------------------------


def minari_episode(start, n, terminated, obs=None):
    deep = functools.reduce(lambda inner, name: {name: inner}, "abcdefghijkl", {"qpos": np.zeros((n + 1, 3))})
    return {
        "observations": OBS[start : start + n + 1] if obs is None else obs,
        "actions": ACS[:n],
        "rewards": REWARDS[:n],
        "terminations": flags(n - 1, n=n) & terminated,
        "truncations": flags(n - 1, n=n) & (not terminated),
        "infos": {"success": np.zeros(n + 1, bool), **deep},
    }


def minari(obs=(None, None)):
    """Return episodes 0 and 10: names must be sorted as numbers."""
    return {
        "episode_10": minari_episode(4, 3, False, obs[1]),
        "episode_2": minari_episode(0, 2, True, obs[0]),
    }


@pytest.mark.parametrize("place", ["main_data.hdf5", "data/main_data.hdf5"])
def test_minari(hdf5, tmp_path, place, capsys):
    path = hdf5(minari(), place)
    for given in (path, path.parent, tmp_path):
        first, second = load_trajectories(given)
        assert ends([first, second]) == [(2, True, False), (3, False, True)]
        assert first.obs.tolist() == OBS[:3].tolist() and second.obs.tolist() == OBS[4:8].tolist()
        assert second.acs.tolist() == [[0], [1], [2]] and second.rewards.tolist() == [0, 1, 2]
        assert second.acs.dtype == np.float32
    assert "not read: infos" in capsys.readouterr().err


def test_dict_observations_of_minari_are_joined_by_name(hdf5, capsys):
    obs = [{"observation": OBS[:n], "goal": {"xy": -OBS[:n], "name": OBS[:n, :1]}} for n in (3, 4)]
    path = hdf5(minari(obs))
    first, _ = load_trajectories(path)
    assert first.obs[1].tolist() == [2, -2, -3, 2, 3]  # goal/name, goal/xy, observation
    assert "goal/name, goal/xy, observation in this order" in capsys.readouterr().err
    first, _ = load_trajectories(path, options=ReadOptions(obs_keys="observation,goal/name"))
    assert first.obs[1].tolist() == [2, 3, 2]


# D4RL --------------------------------------------------------------------------------------------------------


def test_d4rl(hdf5, capsys):
    path = hdf5(
        {
            "observations": OBS[:10],
            "next_observations": OBS[1:11] + 0.5 * flags(3, 9)[:, None],
            "actions": ACS,
            "rewards": REWARDS,
            "terminals": flags(3),
            "timeouts": flags(9),
            "infos": {"qpos": np.zeros((10, 3)), "action_log_probs": np.zeros(10)},
            "metadata": {"policy": {"fc0": {"weight": np.zeros((4, 4))}}, "algorithm": "SAC"},
        }
    )
    first, second = load_trajectories(path)
    assert ends([first, second]) == [(4, True, False), (6, False, True)]
    assert first.obs[-1].tolist() == (OBS[4] + 0.5).tolist() and second.obs[0].tolist() == OBS[4].tolist()
    assert "not read: infos, metadata" in capsys.readouterr().err


def test_other_groups_and_flat_names(hdf5):
    (t,) = load_trajectories(hdf5({"obs": OBS[:10], "acs": ACS, "reward": REWARDS, "done": flags(9)}))
    assert ends([t]) == [(10, False, False)]  # without an environment, a time limit is possible
    run = {"actions": ACS[:3], "obs": OBS[:4], "terminated": flags(1, 2, n=3), "truncated": flags(n=3)}
    maniskill = {"traj_1": run | {"obs": OBS[4:8]}, "traj_0": run | {"env_states": {"cube": np.zeros((4, 13))}}}
    first, second = load_trajectories(hdf5(maniskill))
    assert ends([first, second]) == [(3, True, False)] * 2
    assert (first.obs[-1].tolist(), second.obs[-1].tolist()) == (OBS[3].tolist(), OBS[7].tolist())


# robomimic and Isaac Lab -------------------------------------------------------------------------------------


def robomimic():
    def demo(start, n):
        def observed(rows):
            return {
                "eef_pos": OBS[rows],
                "object": OBS[rows, :1] * 10,
                "agentview_image": np.full((n, 4, 4, 3), start, np.uint8),
            }

        return {
            "obs": observed(slice(start, start + n)),
            "next_obs": observed(slice(start + 1, start + n + 1)),
            "actions": ACS[start : start + n],
            "states": np.zeros((n, 45)),
            "rewards": REWARDS[:n],
            "dones": flags(n - 2, n - 1, n=n),  # solved before the end, and still solved there
        }

    demos = {"demo_0": demo(0, 3), "demo_10": demo(7, 2), "demo_2": demo(3, 4)}
    return {"data": demos, "mask": {"train": [b"demo_0"]}}


def test_robomimic(hdf5, capsys):
    path = hdf5(robomimic())
    trajectories = load_trajectories(path)
    assert [len(t) for t in trajectories] == [3, 4, 2]
    second = trajectories[1]
    assert second.acs.ravel().tolist() == [3, 4, 5, 6]
    assert second.obs[[0, -1]].tolist() == [[6, 7, 60], [14, 15, 140]]  # the last of next_obs
    error = capsys.readouterr().err
    assert "states" in error.partition("not read")[2] and "obs/agentview_image" in error
    small, *_ = load_trajectories(path, options=ReadOptions(obs_keys="object"))
    assert small.obs.tolist() == [[0], [20], [40], [60]]
    states, *_ = load_trajectories(path, options=ReadOptions(keys="obs=states"))
    assert states.obs.shape == (4, 45)
    pictures, *_ = load_trajectories(path, options=ReadOptions(obs_keys="agentview_image"))
    assert pictures.obs.shape == (4, 4, 4, 3) and pictures.obs.dtype == np.uint8


def test_isaac_lab(hdf5):
    def demo(n):
        return {
            "actions": ACS[:n],
            "processed_actions": ACS[:n] * 2,
            "initial_state": {"articulation": {"robot": {"joint_position": np.zeros((1, 9))}}},
            "obs": {"actions": ACS[:n], "joint_pos": OBS[:n]},
            "states": {"articulation": {"robot": {"joint_position": np.zeros((n, 9))}}},
        }

    path = hdf5({"data": {"demo_0": demo(3), "demo_4": demo(5)}})
    first, second = load_trajectories(path)
    assert ends([first, second]) == [(3, False, False), (5, False, False)]
    assert first.obs[1].tolist() == [1, 2, 3] and np.isnan(first.rewards).all()
    first, _ = load_trajectories(path, options=ReadOptions(obs_keys="actions"))  # those in obs
    assert first.obs.shape == (4, 1) and first.acs.shape == (3, 1)


# d3rlpy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_tuple", [False, True])
def test_d3rlpy(hdf5, is_tuple):
    tree = {"columns": [b"observations", b"actions", b"rewards", b"terminated"], "num_episodes": 11, "version": "2.1"}
    for i in range(11):
        n = i % 3 + 1
        obs = OBS[i : i + n]
        name = f"observations_{i}"
        tree |= {f"{name}_0": obs[:, :1], f"{name}_1": obs} if is_tuple else {name: obs}
        tree |= {f"actions_{i}": ACS[:n], f"rewards_{i}": REWARDS[:n, None], f"terminated_{i}": i % 2 == 1}
    trajectories = load_trajectories(hdf5(tree))
    assert ends(trajectories) == [(i % 3 + 1, i % 2 == 1, False) for i in range(11)]
    assert trajectories[10].obs[0].tolist() == ([20, 20, 21] if is_tuple else [20, 21])
    assert trajectories[10].rewards.tolist() == [0, 1]
    del tree["actions_3"]
    refusal(load_trajectories, hdf5(tree), holds=["episode_3"])
    refusal(load_trajectories, hdf5(tree | {"num_episodes": 12}), holds=["11", "12"])


def test_d3rlpy_1(hdf5):
    tree = {"observations": OBS[:10], "actions": ACS, "rewards": REWARDS, "terminals": flags(3)}
    trajectories = load_trajectories(hdf5(tree | {"episode_terminals": flags(3, 9), "discrete_action": False}))
    assert ends(trajectories) == [(4, True, False), (6, False, True)]


# ACT ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_act(hdf5, tmp_path, capsys):
    for i in (0, 2, 10):
        cameras = {"top": np.full((4, 5, 5, 3), i, np.uint8), "packed": np.zeros((4, 900), np.uint8)}
        hdf5(
            {
                "action": np.full((4, 3), i, np.float32),
                "observations": {"qpos": OBS[:4] + i, "qvel": -OBS[:4], "images": cameras},
                "compress_len": np.ones((2, 4)),
            },
            f"act/episode_{i}.hdf5",
        )
    trajectories = load_trajectories(tmp_path / "act")
    assert [t.acs[0, 0] for t in trajectories] == [0, 2, 10]
    assert trajectories[1].obs[1].tolist() == [4, 5, -2, -3]
    error = capsys.readouterr().err
    assert "observations/images/top" in error and "compress_len" in error
    trajectories = load_trajectories(tmp_path / "act", options=ReadOptions(obs_keys="qpos"))
    assert trajectories[0].obs.tolist() == [*OBS[:4].tolist(), OBS[3].tolist()]
    trajectories = load_trajectories(tmp_path / "act", options=ReadOptions(obs_keys="images/top"))
    assert trajectories[0].obs.shape == (5, 5, 5, 3)


# Damaged and foreign files -----------------------------------------------------------------------------------


def test_pictures_that_are_not_chosen_are_not_read(hdf5):
    path = hdf5(robomimic())
    with h5py.File(path, "a") as file:
        for i in (0, 2, 10):
            obs = file[f"data/demo_{i}/obs"]
            del obs["agentview_image"]
            obs.create_dataset("agentview_image", (10**6, 480, 640, 3), np.uint8, chunks=(1, 480, 640, 3))  # 0.9 TB
    assert len(load_trajectories(path)) == 3


def test_foreign_files_are_refused(hdf5):
    refusal(load_trajectories, hdf5({}), holds=["nothing"])
    refusal(load_trajectories, hdf5({"x": OBS, "y": ACS}), holds=["x, y", "--keys"])
    refusal(load_trajectories, hdf5({"obs": OBS[:10], "actions": "text"}), holds=["actions"])
    refusal(load_trajectories, hdf5({"obs": OBS, "actions": ACS}), holds=["12", "10"])
    assert len(load_trajectories(hdf5({"x": OBS[:10], "y": ACS}), options=ReadOptions(keys="obs=x,actions=y"))) == 1


def test_values_without_numbers_are_passed_over(hdf5):
    tree = {"obs": OBS[:10], "actions": ACS, "note": "text", "null": h5py.Empty("f"), "num_episodes": 1}
    assert len(load_trajectories(hdf5(tree))) == 1
    refusal(load_trajectories, hdf5(tree | {"actions": h5py.Empty("f")}), holds=["actions"])


def test_a_group_in_itself_is_refused(hdf5):
    path = hdf5({"obs": OBS[:10], "actions": ACS})
    with h5py.File(path, "a") as file:
        file["again"] = file["/"]
        file["once_more"] = file["/"]
    refusal(load_trajectories, path, holds=["nested"])


def test_damaged_files_are_refused(hdf5):
    rng = np.random.default_rng(0)
    path = hdf5({})
    with h5py.File(path, "w") as file:
        file.create_dataset("obs", data=rng.random((1000, 2)), compression="gzip", fletcher32=True)
        file.create_dataset("actions", data=rng.random((1000, 1)), compression="gzip", fletcher32=True)
        place = file["obs"].id.get_chunk_info(0).byte_offset
    whole = path.read_bytes()
    assert len(load_trajectories(path)) == 1
    for content in (whole[: len(whole) // 2], whole[:8], whole[:place] + bytes(99) + whole[place + 99 :]):
        path.write_bytes(content)
        refusal(load_trajectories, path)


def test_large_arrays_are_read_when_they_are_needed(hdf5):
    n = 200_000
    path = hdf5({"obs": np.arange(2.0 * n).reshape(n, 2), "actions": np.zeros(n)})
    (t,) = load_trajectories(path)
    assert t.obs[-2].tolist() == [2 * n - 2, 2 * n - 1]
    path.unlink()  # nothing holds it open


def test_a_missing_package_is_named(hdf5, monkeypatch):
    path = hdf5({"obs": OBS[:10], "actions": ACS})
    monkeypatch.setitem(sys.modules, "h5py", None)
    refusal(load_trajectories, path, holds=["h5py", 'pip install -e ".[hdf5]"'])


def test_rows_of_different_lengths_are_refused_even_if_they_are_equal(tmp_path):
    # Minari stores JPEG pictures so; those of one length would look like a matrix of bytes.
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        group = file.create_group("episode_0")
        pictures = group.create_dataset("observations", (3,), h5py.vlen_dtype(np.uint8))
        for i in range(3):
            pictures[i] = np.arange(5, dtype=np.uint8)
        group["actions"] = np.zeros(2, int)
    refusal(load_trajectories, tmp_path / "x.hdf5", holds=["observations", "JPEG"])
