import shutil
import sys
import zipfile

import numpy as np
import pytest
import zarr
from refusals import refusal

from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions

IS_3 = zarr.__version__.startswith("3")
OBS = np.arange(24, dtype=np.float32).reshape(12, 2)
ACS = np.arange(12, dtype=np.float32).reshape(12, 1)
PUSHT = {
    "data": {
        "state": OBS,
        "action": ACS,
        "img": np.arange(12 * 48, dtype=np.float32).reshape(12, 4, 4, 3),
        "n_contacts": np.ones((12, 1), np.float32),
    },
    "meta": {"episode_ends": np.array([3, 4, 12])},
}
FORMATS = [2, 3] if IS_3 else [2]


def fill(group, tree):
    for name, value in tree.items():
        if isinstance(value, dict):
            fill(group.create_group(name), value)
        else:
            create = group.create_array if IS_3 else group.create_dataset
            create(name, shape=value.shape, dtype=value.dtype, chunks=(5, *value.shape[1:]))[...] = value


def write(path, tree, zarr_format=2):
    """Write a tree of dicts and arrays to a folder, or to a zip."""
    store = zarr.storage.ZipStore(str(path), mode="w") if path.suffix == ".zip" else str(path)
    fill(zarr.open_group(store, mode="w", **({"zarr_format": zarr_format} if IS_3 else {})), tree)
    if path.suffix == ".zip":
        store.close()
    return path


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", ["pusht.zarr", "pusht.zarr.zip", "pusht"])
def test_diffusion_policy(tmp_path, zarr_format, name, capsys):
    path = write(tmp_path / name, PUSHT, zarr_format)
    trajectories = load_trajectories(path)
    assert [len(t) for t in trajectories] == [3, 1, 8]
    assert trajectories[2].acs.tolist() == ACS[4:].tolist() and trajectories[2].acs.dtype == np.float32
    assert trajectories[0].obs.tolist() == OBS[[0, 1, 2, 2]].tolist()
    assert {"img", "n_contacts"} <= {*capsys.readouterr().err.split("not read: ")[1].replace("\n", "").split(", ")}
    first, *_ = load_trajectories(path, n_demos=1, options=ReadOptions(keys="obs=img"))
    assert first.obs.shape == (4, 4, 4, 3) and first.obs[1, 0, 0].tolist() == [48, 49, 50]
    first, *_ = load_trajectories(path, options=ReadOptions(obs_keys="n_contacts,state"))
    assert first.obs[1].tolist() == [1, 2, 3]


def test_a_zip_of_the_folder(tmp_path):
    write(tmp_path / "pusht" / "replay.zarr", PUSHT)
    archive = shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path, "pusht")
    assert [len(t) for t in load_trajectories(archive)] == [3, 1, 8]


def test_plain_arrays(tmp_path):
    path = write(tmp_path / "x", {"obs": OBS, "acts": ACS, "dones": np.isin(np.arange(12), [4, 11])})
    assert [len(t) for t in load_trajectories(path)] == [5, 7]


def test_episodes_in_groups(tmp_path):
    path = write(tmp_path / "x", {f"episode_{i}": {"obs": OBS[i : i + 2], "actions": ACS[1:2]} for i in (10, 2)})
    assert [t.obs[-1].tolist() for t in load_trajectories(path)] == [OBS[3].tolist(), OBS[11].tolist()]


def test_missing_chunks_are_reported(tmp_path):
    path = write(tmp_path / "x", PUSHT)
    (path / "data" / "img" / "1.0.0.0").unlink()
    assert len(load_trajectories(path)) == 3
    (path / "data" / "state" / "1.0").unlink()
    with pytest.warns(UserWarning, match="1 of 3 chunks of /data/state"):
        load_trajectories(path)


def test_foreign_and_damaged_stores_are_refused(tmp_path):
    ends = {"meta": {"episode_ends": np.array([3, 4, 13])}}
    refusal(load_trajectories, write(tmp_path / "ends", PUSHT | ends), holds=["episode_ends", "12"])
    refusal(load_trajectories, write(tmp_path / "names", {"data": {"x": OBS}, "meta": {}}), holds=["x", "--keys"])
    path = write(tmp_path / "chunk", PUSHT)
    (path / "data" / "action" / "0.0").write_bytes(b"no chunk")
    refusal(load_trajectories, path)
    (path / "data" / "action" / ".zarray").write_text("{")
    refusal(load_trajectories, path)
    archive = write(tmp_path / "x.zip", PUSHT)
    content = archive.read_bytes()
    archive.write_bytes(content[:200] + bytes(400) + content[600:])
    refusal(load_trajectories, archive)
    archive.write_bytes(content[: len(content) // 2])
    refusal(load_trajectories, archive)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zarr.json", "[]")
    refusal(load_trajectories, archive)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "x", PUSHT)
    monkeypatch.setitem(sys.modules, "zarr", None)
    refusal(load_trajectories, path, holds=["zarr", 'pip install -e ".[zarr]"'])
