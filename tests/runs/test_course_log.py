"""log.csv, as CS285's train.py of 2026 writes it."""

import csv

import numpy as np
import pytest
from small_runs import corridor, rows_of, run_in, stop_after

from rl_il.errors import InputError
from rl_il.runs.experiment import resume
from rl_il.runs.run_folder import RunFolder

SETTINGS = {"do_dagger": False, "n_iter": 1, "num_agent_train_steps_per_iter": 50, "eval_interval": "20"}

HEADER = "train/loss,eval/mean_reward,step"


def log_of(folder) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return [*csv.DictReader(file)]


def test_every_fifteenth_loss_and_each_evaluation_has_a_row(tmp_path, monkeypatch):
    losses, save = [], RunFolder.save

    def keep(self, block, *args):
        losses.extend(block.losses.tolist())
        return save(self, block, *args)

    monkeypatch.setattr(RunFolder, "save", keep)
    run_in(tmp_path / "run", corridor(tmp_path / "files", **SETTINGS, log_interval=15))
    rows = log_of(tmp_path / "run")
    assert [*rows[0]] == ["train/loss", "eval/mean_reward", "step"]
    assert [int(row["step"]) for row in rows] == [15, 20, 30, 40, 45, 50]
    assert [row["train/loss"] for row in rows] == [str(losses[14]), "", str(losses[29]), "", str(losses[44]), ""]
    scores = [row["Eval_AverageReturn"] for row in rows_of(tmp_path / "run")]  # the score of the corridor
    assert [row["eval/mean_reward"] for row in rows] == ["", scores[0], "", scores[1], "", scores[2]]
    assert np.isfinite([float(score) for score in scores]).all()


def test_a_step_with_both_has_one_row(tmp_path):
    run_in(tmp_path / "run", corridor(tmp_path / "files", **SETTINGS, log_interval=10))
    rows = log_of(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50]
    assert [bool(row["eval/mean_reward"]) for row in rows] == [False, True, False, True, True]
    assert all(row["train/loss"] for row in rows)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_a_resumed_run_leaves_the_same_file(tmp_path, monkeypatch, blocks):
    config = corridor(tmp_path / "files", **SETTINGS | {"n_iter": 2, "do_dagger": True}, log_interval=7)
    run_in(tmp_path / "whole", config)
    stop_after(monkeypatch, tmp_path / "stopped", config, blocks)
    with (tmp_path / "stopped" / "log.csv").open("a") as file:  # what a killed process wrote after its checkpoint
        file.write("9.5,,98\n")
    resume(tmp_path / "stopped", verbose=False)
    rows = log_of(tmp_path / "stopped")
    assert rows == log_of(tmp_path / "whole")
    assert sum(bool(row["eval/mean_reward"]) for row in rows) == 6 and rows[-1]["step"] == "100"


@pytest.mark.parametrize(
    ("header", "row"),
    [("loss,step", "9.5,7"), *((HEADER, row) for row in ("9.5", "1,2,x", "1,2,7,8")), ("\xff\0", "")],
    ids=["header", "cut", "word", "long", "bytes"],
)
def test_another_log_is_refused_and_named(tmp_path, monkeypatch, header, row):
    config = corridor(tmp_path / "files", **SETTINGS, log_interval=7)
    stop_after(monkeypatch, tmp_path / "run", config, 1)
    (tmp_path / "run" / "log.csv").write_text(f"{header}\n{row}\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"log\.csv.*remove"):
        resume(tmp_path / "run", verbose=False)


def test_a_log_that_was_removed_is_noted(tmp_path, monkeypatch, capsys):
    config = corridor(tmp_path / "files", **SETTINGS, log_interval=7)
    stop_after(monkeypatch, tmp_path / "run", config, 1)
    (tmp_path / "run" / "log.csv").unlink()
    resume(tmp_path / "run", verbose=False)
    assert "log.csv" in capsys.readouterr().err
    assert [int(row["step"]) for row in log_of(tmp_path / "run")] == [21, 28, 35, 40, 42, 49, 50]


def test_without_the_flag_there_is_no_such_file(tmp_path):
    run_in(tmp_path / "run", corridor(tmp_path / "files", **SETTINGS))
    assert not (tmp_path / "run" / "log.csv").exists()
