"""An installed wheel: what is in it, and that its commands work from any folder. `make test-wheel` runs this."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from rl_il.files import REPOSITORY

pytestmark = pytest.mark.wheel


def files_of(folder: Path) -> set[str]:
    """Return the files in a folder, without those that Python compiles."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_the_wheel_has_the_files_that_a_user_needs_and_no_others(installed):
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    for folder in ("experts", "data/demos"):
        files = {path.name for path in (REPOSITORY / folder).glob("*.npz")}
        shipped = f"rl_il/shipped/{folder}/"
        assert files == {name.removeprefix(shipped) for name in names if name.startswith(shipped)}
    sources = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "rl_il").rglob("*.py")}
    assert {name for name in names if name.endswith(".py") and "/shipped/" not in name} == sources
    assert {Path(name).suffix for name in names} == {".py", ".npz", ".html", ".css", ".js"}


def test_commands_are_listed_and_named(installed, tmp_path):
    listed = installed.call("rl-il", "--help", cwd=tmp_path).stdout
    assert listed == installed.call("python", "-m", "rl_il", cwd=tmp_path).stdout
    shown = installed.call("rl-il", "run", "--help", cwd=tmp_path).stdout
    assert "usage: rl-il run" in shown and "rl-il run --env_name" in shown and "scripts/" not in shown
    assert "LunarLander-v3.npz" in installed.call("rl-il", "list", "envs", cwd=tmp_path).stdout
    refused = installed.call("rl-il", "run_hw1", cwd=tmp_path, status=2)
    assert refused.stderr.count("\n") == 1 and "'run_hw1'" in refused.stderr
    assert files_of(tmp_path) == set()


def test_lunar_lander_is_cloned_in_another_folder(installed, tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # the commit of another project is not ours
    before = files_of(installed.packages.parent)
    flags = "--env_name LunarLander-v3 --n_demos 10 --eval_episodes 5 --num_workers 2"
    out = installed.call("rl-il", "run", *flags.split(), cwd=tmp_path).stdout
    (folder,) = (tmp_path / "data").iterdir()
    assert str(folder) in out
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "finished" and summary["eval_return_mean"] > 150
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert record["git_commit"] is None and record["command_line"] == ["rl-il", "run", *flags.split()]
    assert {path.name for path in tmp_path.iterdir()} - {"MUJOCO_LOG.TXT"} == {".git", "data"}
    evaluated = installed.call("rl-il", "evaluate", *"--policy latest --episodes 2 --json".split(), cwd=tmp_path)
    assert json.loads(evaluated.stdout)["policy"] == str(folder)
    assert files_of(installed.packages.parent) == before


def test_the_data_folder_may_be_elsewhere(installed, tmp_path):
    (tmp_path / "work").mkdir()
    flags = "--env_name MountainCar-v0 --num_agent_train_steps_per_iter 5 --eval_episodes 1 --ep_len 5"
    words = ["rl-il", "run", *flags.split(), "--video_log_freq", "-1"]
    installed.call(*words, cwd=tmp_path / "work", RL_IL_DATA=str(tmp_path / "runs"))
    assert [path.name[:20] for path in (tmp_path / "runs").iterdir()] == ["q1_bc_MountainCar-v0"]
    assert files_of(tmp_path / "work") - {"MUJOCO_LOG.TXT"} == set()
