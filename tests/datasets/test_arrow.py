import importlib
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from gymnasium.spaces import Box, Discrete
from refusals import refusal

from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions
from rl_il.datasets.formats import FORMATS
from rl_il.envs import make_env

OBS = np.arange(24, dtype=np.float32).reshape(12, 2)
ACS = np.arange(12, dtype=np.float32).reshape(12, 1)


def ends(trajectories):
    return [(len(t), t.terminated, t.truncated) for t in trajectories]


# imitation, and other files with an episode in a row -----------------------------------------------------------


def imitation(**changes):
    """Return three episodes, of 3, 1 and 2 steps, as imitation's `serialize.save` writes them."""
    spans = [(0, 3), (3, 4), (4, 6)]
    return {
        "obs": [OBS[start : stop + 1].tolist() for start, stop in spans],
        "acts": [[0, 1, 2], [1], [2, 0]],
        "infos": [["{}"] * 3, ["{}"], ['{"a": {"py/reduce": ["os.system"]}}', "{}"]],
        "terminal": [True, False, True],
        "rews": pa.array([[1.0, 2.0, 3.0], [4.0], [5.0, 6.0]], pa.list_(pa.float32())),
    } | changes


def save_to_disk(folder, columns, shards=1):
    folder.mkdir(exist_ok=True)
    names = [f"data-{i:05d}-of-{shards:05d}.arrow" for i in range(shards)]
    rows = len(columns["obs"]) // shards
    for i, name in enumerate(names):
        table = pa.table(columns).slice(i * rows, rows)
        with pa.ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_imitation(tmp_path, register_env, shards, capsys):
    path = save_to_disk(tmp_path / "demos", imitation(), shards)
    env = make_env(register_env(Box(-99, 99, (2,)), Discrete(3), max_episode_steps=3))
    trajectories = load_trajectories(path, env)
    assert ends(trajectories) == [(3, False, True), (1, False, False), (2, True, False)]
    assert [t.obs.tolist() for t in trajectories] == [OBS[:4].tolist(), OBS[3:5].tolist(), OBS[4:7].tolist()]
    assert [t.acs.tolist() for t in trajectories] == [[0, 1, 2], [1], [2, 0]]
    assert trajectories[2].rewards.tolist() == [5, 6] and trajectories[0].obs.dtype == np.float32
    assert "not read: infos" in capsys.readouterr().err
    if shards == 1:
        assert ends(load_trajectories(path / "data-00000-of-00001.arrow", env)) == ends(trajectories)


@pytest.mark.parametrize("n", [1, 2])
def test_imitation_without_rewards_and_with_equal_lengths(tmp_path, register_env, n):
    obs, acts = OBS[: 2 * n + 2].reshape(2, n + 1, 2), ACS[: 2 * n].reshape(2, n, 1)
    columns = {"obs": obs.tolist(), "acts": acts.tolist(), "infos": [["{}"] * n] * 2, "terminal": [True, False]}
    env = make_env(register_env(Box(-99, 99, (2,)), Box(-99, 99, (1,)), max_episode_steps=3))
    trajectories = load_trajectories(save_to_disk(tmp_path / "demos", columns), env)
    assert ends(trajectories) == [(n, True, False), (n, False, False)]
    assert [t.obs.tolist() for t in trajectories] == obs.tolist()
    assert trajectories[1].acs.tolist() == acts[1].tolist() and np.isnan(trajectories[0].rewards).all()


def test_pictures_in_nested_lists(tmp_path):
    pictures = np.arange(7 * 12, dtype=np.uint8).reshape(7, 2, 2, 3)
    obs = pa.array([p.tolist() for p in (pictures[:4], pictures[3:5], pictures[4:])])
    obs = obs.cast(pa.list_(pa.list_(pa.list_(pa.list_(pa.uint8())))))
    *_, last = load_trajectories(save_to_disk(tmp_path / "demos", imitation(obs=obs)))
    assert last.obs.shape == (3, 2, 2, 3) and last.obs.dtype == np.uint8 and (last.obs == pictures[4:]).all()


@pytest.mark.parametrize("name", ["data/train-00000-of-00002.parquet", "train-00000-of-00002.parquet"])
def test_a_repository_of_the_hub(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    table = pa.table(imitation())
    pq.write_table(table.slice(0, 1), tmp_path / name)
    refusal(load_trajectories, tmp_path, holds=["00002.parquet"])
    other = (tmp_path / name).with_name("train-00001-of-00002.parquet")
    pq.write_table(table.slice(1), other)
    assert [len(t) for t in load_trajectories(tmp_path)] == [3, 1, 2]
    pq.write_table(table, other.with_name("test-00000-of-00001.parquet"))
    refusal(load_trajectories, tmp_path, holds=["test, train"])


# A step in a row -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {
            "obs": OBS.tolist(),
            "action": ACS[:, 0],
            "reward": np.arange(12.0),
            "done": np.isin(np.arange(12), [4, 11]),
        },
        {"obs_0": OBS[:, 0], "obs_1": OBS[:, 1], "action": ACS[:, 0], "episode": [0] * 5 + [1] * 7},
        {"obs": OBS.tolist(), "acs": ACS[:, 0], "episode": [0] * 5 + [1] * 7, "goal": [None, *[[1.0]] * 11]},
    ],
)
def test_parquet_with_a_row_for_each_step(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "demos.parquet", row_group_size=4)
    first, second = load_trajectories(tmp_path / "demos.parquet", n_demos=2)
    assert (len(first), len(second)) == (5, 7)
    assert second.obs[0].tolist() == OBS[5].tolist() and second.acs.tolist() == ACS[5:, 0].tolist()


def test_a_parquet_file_for_each_episode(tmp_path):
    for i in (0, 2, 10):
        columns = {"obs": (OBS + i).tolist(), "action": ACS[:, 0], "text": ["x"] * 12}
        pq.write_table(pa.table(columns), tmp_path / f"episode_{i}.parquet")
    assert [t.obs[0, 0] for t in load_trajectories(tmp_path)] == [0, 2, 10]


# Minari --------------------------------------------------------------------------------------------------------


def minari(folder, episodes, space):
    """Write what Minari's `ArrowStorage` writes: T + 1 rows an episode, the last one padded with zeros."""
    data = folder / "data"
    for i, (columns, terminated) in episodes.items():
        n = len(next(iter(columns.values()))) - 1
        marks = np.arange(n + 1) == n - 1
        batch = {
            "episode_id": np.full(n + 1, i, np.int32),
            **columns,
            "rewards": np.arange(n + 1.0) * (np.arange(n + 1) < n),
            "terminations": marks & terminated,
            "truncations": marks & (not terminated),
            "infos": ["{}"] * (n + 1),
        }
        batch = pa.RecordBatch.from_pydict(batch)
        options = {"partitioning": ["episode_id"], "existing_data_behavior": "overwrite_or_ignore"}
        ds.write_dataset(batch, data, format="arrow", **options)
        (data / str(i) / "metadata.json").write_text(json.dumps({"id": i, "total_steps": n}))
    (data / "metadata.json").write_text(json.dumps({"observation_space": json.dumps(space)}))
    return folder


def fixed(rows):
    """Return rows as Minari encodes those of a Box: flattened, in lists of a fixed size."""
    rows = np.asarray(rows)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), int(np.prod(rows.shape[1:])))


BOX = {"type": "Box", "shape": [2]}


def test_minari(tmp_path):
    episodes = {
        i: ({"observations": fixed(OBS[i : i + n + 1]), "actions": fixed(np.append(ACS[:n], [[0]], axis=0))}, i == 2)
        for i, n in ((2, 3), (10, 1))
    }
    path = minari(tmp_path / "set", episodes, BOX)
    for given in (path, path / "data"):
        trajectories = load_trajectories(given)
        assert ends(trajectories) == [(3, True, False), (1, False, True)]
        assert [t.obs.tolist() for t in trajectories] == [OBS[2:6].tolist(), OBS[10:].tolist()]
        assert trajectories[0].acs.tolist() == [[0], [1], [2]] and trajectories[0].rewards.tolist() == [0, 1, 2]
    (path / "data" / "2" / "metadata.json").write_text('{"total_steps": 5}')
    refusal(load_trajectories, path, holds=["episode 2", "4 rows", "6"])


def test_minari_dicts_pictures_and_discrete_actions(tmp_path):
    pictures = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    goal, where = fixed(OBS[:4, :1]), fixed(OBS[:4])
    obs = pa.StructArray.from_arrays([where, goal, fixed(pictures)], names=["where", "goal", "eye"])
    actions = pa.array([2, 0, 1, 0], pa.int32())
    subspaces = {"where": BOX, "goal": {"shape": [1]}, "eye": {"type": "Box", "shape": [2, 2, 3]}}
    space = {"type": "Dict", "subspaces": subspaces}
    path = minari(tmp_path, {0: ({"observations": obs, "actions": actions}, True)}, space)
    (t,) = load_trajectories(path)
    assert t.obs[1].tolist() == [2, 2, 3] and t.acs.tolist() == [2, 0, 1]
    (t,) = load_trajectories(path, options=ReadOptions(obs_keys="eye"))
    assert (t.obs == pictures).all()


# LeRobot -------------------------------------------------------------------------------------------------------


def lerobot(folder, name="data/chunk-000/file-{:03d}.parquet", **changes):
    """Return three episodes of 5, 3 and 4 frames, whose files have names in another order than their episodes."""
    ids = np.repeat([0, 1, 2], [5, 3, 4])
    frames = np.concatenate([np.arange(5), np.arange(3), np.arange(4)])
    columns = {
        "observation.state": fixed(OBS),
        "observation.effort": fixed(-OBS[:, :1]),
        "ragged": [[i] * (i + 1) for i in range(12)],
        "observation.image": [{"bytes": b"png", "path": None}] * 12,
        "action": ACS[:, 0],  # one number is no list
        "next.reward": np.arange(12.0, dtype=np.float32),
        "next.done": frames >= 2,  # success, before the end
        "timestamp": frames / 10,
        "frame_index": frames,
        "episode_index": ids,
        "index": np.arange(12),
        "task_index": np.zeros(12, int),
    }
    table = pa.table(columns | changes)
    for i, rows in enumerate(([5, 6, 7], [11, 10, 9, 8], [0, 1, 2, 3, 4])):
        path = folder / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.take(rows), path)
    features = {
        "observation.state": {"dtype": "float32", "shape": [2]},
        "observation.images.top": {"dtype": "video", "shape": [480, 640, 3]},
        "action": {"dtype": "float32", "shape": [1]},
        "next.reward": {"dtype": "float32", "shape": [1]},
    }
    (folder / "meta").mkdir(exist_ok=True)
    info = {"codebase_version": "v3.0", "total_episodes": 3, "total_frames": 12, "features": features}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize("name", ["data/chunk-000/file-{:03d}.parquet", "data/chunk-000/episode_{:06d}.parquet"])
def test_lerobot(tmp_path, name, capsys):
    path = lerobot(tmp_path, name)
    trajectories = load_trajectories(path)
    assert [len(t) for t in trajectories] == [5, 3, 4]
    assert [t.obs[:-1].tolist() for t in trajectories] == [OBS[:5].tolist(), OBS[5:8].tolist(), OBS[8:].tolist()]
    assert trajectories[2].acs.tolist() == ACS[8:].tolist() and trajectories[2].rewards.tolist() == [8, 9, 10, 11]
    words = {*capsys.readouterr().err.split("not read: ")[1].replace("\n", "").split(", ")}
    assert {"observation.images.top", "observation.image", "observation.effort"} <= words
    first, *_ = load_trajectories(path, options=ReadOptions(keys="obs=observation.effort"))
    assert first.obs[1].tolist() == [-2]
    assert "ragged" in words
    first, *_ = load_trajectories(path, options=ReadOptions(obs_keys="observation.effort,observation.state"))
    assert first.obs[1].tolist() == [-2, 2, 3]
    assert "videos" in next(each.lost for each in FORMATS if each.name == "LeRobot")


def test_lerobot_that_is_not_whole(tmp_path):
    path = lerobot(tmp_path)
    (path / "data/chunk-000/file-000.parquet").unlink()
    with pytest.warns(UserWarning, match="2 of its 3 episodes"):
        assert [len(t) for t in load_trajectories(path)] == [5, 4]
    lerobot(tmp_path, frame_index=np.arange(12))
    refusal(load_trajectories, path, holds=["episode 1", "frames"])


# Damaged and foreign files --------------------------------------------------------------------------------------


def test_damaged_files_are_refused(tmp_path):
    folder = save_to_disk(tmp_path / "demos", imitation())
    file = folder / "data-00000-of-00001.arrow"
    whole = file.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"\xff" * 400, b"version https://git-lfs"):
        file.write_bytes(content)
        refusal(load_trajectories, folder)
    file.write_bytes(whole)
    chosen = {"_data_files": [{"filename": file.name}], "_indices_data_files": [{"filename": "indices.arrow"}]}
    other = {"_data_files": [{"filename": "other.arrow"}]}
    for state in ("{", "{}", '{"_data_files": []}', json.dumps(chosen), json.dumps(other)):
        (folder / "state.json").write_text(state)
        refusal(load_trajectories, folder)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [1], "y": [2]}), path)
    refusal(load_trajectories, path, holds=["x, y", "--keys"])
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    refusal(load_trajectories, path)


def test_damaged_lists_are_refused(tmp_path):
    """Arrow trusts the offsets of lists unless it is asked to check them."""
    columns = imitation(acts=[[1, 2, 3], [4], [5, 6]])
    del columns["rews"]
    folder = save_to_disk(tmp_path / "demos", columns)
    file = folder / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    offsets = np.array([0, 3, 4, 6], np.int32).tobytes()
    place = content.index(offsets)  # of acts, the first column that has them
    for wrong in ([0, 3, 4, 7], [0, 3, 2, 6], [0, 3, 4, 10**6], [0, 3, -1, 6]):
        file.write_bytes(content[:place] + np.array(wrong, np.int32).tobytes() + content[place + len(offsets) :])
        refusal(load_trajectories, folder, holds=["ffset"])  # Arrow says it


def test_a_null_is_refused(tmp_path):
    columns = {"obs": OBS.tolist(), "action": [None, *ACS[1:, 0].tolist()]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    refusal(load_trajectories, tmp_path / "x.parquet")
    columns = {"obs": [None, *OBS[1:].tolist()], "action": ACS[:, 0]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    refusal(load_trajectories, tmp_path / "x.parquet")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    folder = save_to_disk(tmp_path / "demos", imitation())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refusal(load_trajectories, folder, holds=["pyarrow", 'pip install -e ".[arrow]"'])


def test_a_missing_package_is_named_if_a_library_says_so_in_other_words(tmp_path, monkeypatch):
    def read(path):
        try:
            importlib.import_module("pyarrow.no_such_part")
        except ImportError:
            raise ImportError("pyarrow is not installed") from None

    folder = save_to_disk(tmp_path / "demos", imitation())
    monkeypatch.setattr("rl_il.datasets.formats.load", lambda name: read)
    refusal(load_trajectories, folder, holds=["pyarrow.no_such_part", 'pip install -e ".[arrow]"'])
