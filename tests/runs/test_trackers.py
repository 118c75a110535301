"""Metrics of runs that are sent to a tracker: a fake Weights & Biases here, the real one with `make test-wandb`."""

import json
import os
import sys
from types import ModuleType

import pytest
from small_runs import corridor, run_in, stop_after

from rl_il.errors import InputError
from rl_il.runs.experiment import resume
from rl_il.runs.trackers import check_tracker

SETTINGS = {"do_dagger": False, "n_iter": 1, "num_agent_train_steps_per_iter": 250, "eval_interval": "200"}


class FakeWandB(ModuleType):
    """A module with the part of wandb's interface that is used. It keeps what it gets, and makes a run's folder."""

    def __init__(self, fails: str | None = None):
        super().__init__("wandb")
        self.__file__ = __file__
        self.fails, self.begun, self.points, self.finished = fails, [], [], 0

    def init(self, **settings):
        self.begun.append(settings)
        if self.fails == "init":
            raise ConnectionError("no key\nand much more")
        run_id = settings["id"] or os.environ.get("WANDB_RUN_ID") or f"id{len(self.begun)}"
        folder = f"{settings['dir']}/wandb/offline-run-20261127_1200-{run_id}"
        os.makedirs(folder, exist_ok=True)
        return self

    def log(self, scalars, step):
        if self.fails == "log":
            raise ConnectionError("no server")
        self.points.append((step, scalars))

    def finish(self):
        if self.fails == "finish":
            raise ConnectionError("no server")
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    """Return a function that puts a fake module in the place of wandb, and returns it."""

    def install(fails=None):
        monkeypatch.setitem(sys.modules, "wandb", FakeWandB(fails))
        return sys.modules["wandb"]

    for name in ("WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return install


def test_settings_losses_and_evaluations_are_sent_in_order(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    fake = wandb()
    run_in(tmp_path / "run", corridor(tmp_path / "files", **SETTINGS, tracker="wandb"))
    (begun,) = fake.begun
    assert (begun["project"], begun["name"], begun["dir"]) == ("mine", "run", str(tmp_path / "run"))
    assert begun["config"]["num_agent_train_steps_per_iter"] == 250 and begun["id"] is None
    assert [step for step, _ in fake.points] == [100, 200, 200, 250, 250]
    assert ["Training Loss" in scalars for _, scalars in fake.points] == [True, True, False, True, False]
    assert all("Eval_AverageReturn" in scalars for _, scalars in (fake.points[2], fake.points[4]))
    assert fake.finished == 1


@pytest.mark.parametrize("run_id", ["id1", "my-run", "run-1"])
def test_a_resumed_run_continues_the_same_one(tmp_path, wandb, monkeypatch, run_id):
    fake = wandb()
    monkeypatch.setenv("WANDB_RUN_ID", run_id)
    config = corridor(tmp_path / "files", **SETTINGS, tracker="wandb")
    stop_after(monkeypatch, tmp_path / "run", config, 1)
    assert fake.finished == 1
    resume(tmp_path / "run", verbose=False)
    assert [(begun["id"], begun["resume"]) for begun in fake.begun] == [(None, None), (run_id, "allow")]
    assert [step for step, _ in fake.points] == [100, 200, 200, 250, 250]


def test_a_tracker_that_cannot_be_started_says_what_to_do(tmp_path, wandb):
    wandb("init")
    config = corridor(tmp_path / "files", **SETTINGS, tracker="wandb")
    with pytest.raises(InputError, match=r"--tracker wandb: no key; run `wandb login`.*--resume") as error:
        run_in(tmp_path / "run", config)
    assert "much more" not in str(error.value)
    fake = wandb()
    resume(tmp_path / "run", verbose=False)
    assert fake.points[-1][0] == 250


@pytest.mark.parametrize("fails", ["log", "finish"])
def test_a_tracker_that_fails_later_does_not_end_the_run(tmp_path, wandb, capsys, fails):
    wandb(fails)
    result = run_in(tmp_path / "run", corridor(tmp_path / "files", **SETTINGS, tracker="wandb"))
    assert result.summary["status"] == "finished" and (tmp_path / "run" / "summary.json").exists()
    assert capsys.readouterr().err.count("no server") == 1


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_makes_no_folder(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"--tracker {package}.*pip install {package}"):
        run_in(tmp_path / "run", corridor(tmp_path / "files", tracker=package))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    """`wandb` leaves a folder `wandb` where it is called, which Python can import as an empty package."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(each for each in sys.path if "site-packages" not in each)])
    with pytest.raises(InputError, match=r"--tracker wandb.*pip install wandb"):
        check_tracker("wandb")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)


@pytest.mark.wandb
def test_the_real_one_writes_the_run_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = corridor(tmp_path / "files", **SETTINGS, tracker="wandb")
    stop_after(monkeypatch, tmp_path / "run", config, 1)
    resume(tmp_path / "run", verbose=False)
    folders = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    ids = {folder.name.split("-")[3] for folder in folders}  # after it, a second folder of one second has a number
    assert len(folders) == 2 and len(ids) == 1
    content = b"".join(file.read_bytes() for folder in folders for file in folder.glob("*.wandb"))
    assert all(word in content for word in (b"Training Loss", b"Eval_AverageReturn", b"train_batch_size"))
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"
