"""Run folders that are read back: numbers chosen by hand, and folders with one fault each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from run_folders import write_run

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.report.runs import differences, find_runs, group_runs, read_run
from rl_il.runs.folders import is_finished

BC = RunConfig(env_name="Corridor-v0", n_demos=2)
DAGGER = replace(BC, do_dagger=True, n_iter=3)


def test_a_run_is_read_back(tmp_path):
    returns = {0: {100: [1, 3], 300: [5, 7]}, 2: {400: [8, 10]}}
    run = read_run(write_run(tmp_path / "run", DAGGER, returns, expert=[10, 20, 60]))
    assert (run.config, run.last) == (DAGGER, 2)
    # An iteration's last evaluation counts as its own.
    assert {itr: values.tolist() for itr, values in run.scores.items()} == {0: [5, 7], 2: [8, 10]}
    assert run.lengths[0].tolist() == [105, 107]
    assert {n: values.tolist() for n, values in run.by_steps.items()} == {100: [1, 3], 300: [5, 7], 400: [8, 10]}
    assert run.expert.scores.tolist() == [10, 20, 60]
    assert run.expert.lengths.tolist() == [7, 7, 7]
    assert [row["Expert_LabelsSoFar"] for row in run.metrics] == [50, 51, 52]
    assert run.metrics[0]["gradient_steps"] == 300
    assert np.isnan(run.metrics[1]["Eval_AverageReturn"])
    assert np.isnan(run.summary["eval_return_mean"])


def test_a_run_without_an_expert_or_steps(tmp_path):
    run = read_run(write_run(tmp_path / "run", BC, {0: [1, 3]}, expert=[]))
    assert run.expert.scores.shape == run.expert.lengths.shape == (0,)
    assert run.by_steps == {}
    assert group_runs([run])[0].expert is None


def test_a_setting_of_another_version_is_ignored(tmp_path):
    folder = write_run(tmp_path / "run", BC, {0: [1, 3]}, data=[{"file": "of_tomorrow"}])
    record = json.loads((folder / "config.json").read_text())
    record["config"] = {**record["config"], "of_tomorrow": 1}
    del record["config"]["size"]
    (folder / "config.json").write_text(json.dumps(record))
    assert read_run(folder).config == BC


def test_is_finished(tmp_path):
    assert is_finished(write_run(tmp_path / "a", BC, {0: [1]}))
    assert not is_finished(write_run(tmp_path / "b", BC, {0: [1]}, status="interrupted"))
    assert not is_finished(tmp_path / "c")


def test_runs_are_found_once_in_the_order_of_their_numbers(tmp_path):
    names = ["lr_0.0005", "lr_0.01", "n_2", "n_2_seed_3", "n_10", "x"]
    for name in reversed(names):
        write_run(tmp_path / "deep" / name, BC, {0: [1]})
    assert [run.folder.name for run in find_runs([tmp_path, tmp_path / "deep" / ".." / "deep" / "x"])] == names


def test_a_summary_alone_is_no_run(tmp_path):
    write_run(tmp_path / "run", BC, {0: [1]})
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "summary.json").write_text('{"status": "finished"}')
    assert [run.folder.name for run in find_runs([tmp_path])] == ["run"]
    (tmp_path / "empty").mkdir()
    for named in ("references/config.json", "empty"):
        with pytest.raises(InputError, match=named):
            find_runs([tmp_path / named.partition("/")[0]])


HEADER = "policy,iteration,return,length\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", None),
        ("config.json", "{"),
        ("config.json", '{"config": {"learning_rate": "fast"}}'),
        ("summary.json", None),
        ("metrics.csv", "iteration,Expert_LabelsSoFar\n0,many\n"),
        ("metrics.csv", "iteration,Expert_LabelsSoFar\n"),
        ("metrics.csv", "iteration,Expert_LabelsSoFar\n1,50\n"),
        ("metrics.csv", "iteration\n0\n"),
        ("episodes.csv", HEADER),
        ("episodes.csv", HEADER + "learner,zero,1.0,1\n"),
        ("episodes.csv", HEADER + "learner,0,nan,1\n"),
        ("episodes.csv", HEADER + "learner,0,1.0,-1\n"),
        ("episodes.csv", HEADER + "learner,0,1.0,1\nexpert,0,inf,1\n"),
    ],
)
def test_a_broken_file_is_named(tmp_path, file, text):
    folder = write_run(tmp_path / "run", BC, {0: [1, 3]})
    (folder / file).unlink() if text is None else (folder / file).write_text(text)
    with pytest.raises(InputError, match=rf"run/{file}: "):
        read_run(folder)


def runs_of(tmp_path, configs, returns=None):
    return [
        read_run(write_run(tmp_path / str(i), config, returns[i] if returns else {0: [1, 3]}))
        for i, config in enumerate(configs)
    ]


def test_runs_that_differ_in_seed_or_name_are_one_variant(tmp_path):
    configs = [replace(BC, seed=3), replace(BC, learning_rate=1e-3), replace(BC, seed=2, exp_name="x", num_workers=2)]
    one, other = group_runs(runs_of(tmp_path, configs))
    assert [run.config.seed for run in one.runs] == [2, 3]
    assert other.config.learning_rate == 1e-3
    assert differences([one, other]) == ["learning_rate"]
    assert differences([one]) == []


def test_the_same_seed_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\[1, 1\]: .*0, .*1"):
        group_runs(runs_of(tmp_path, [BC, replace(BC, exp_name="copy")]))


def test_a_variants_numbers_are_worked_out_by_hand(tmp_path):
    configs = [replace(DAGGER, seed=1), replace(DAGGER, seed=2)]
    returns = [{0: [0, 2], 1: [4], 2: [6, 8]}, {0: [10, 20], 2: [30, 50]}]
    (variant,) = group_runs(runs_of(tmp_path, configs, returns))
    assert variant.itrs == [0, 2]
    result = variant.result("x", 2)
    assert (result.mean, result.seed_means) == ((6 + 8 + 30 + 50) / 4, [7.0, 40.0])
    assert result.expert_labels == 52
    assert variant.metric("Training Loss", 1) == 0.5
    assert np.isnan(variant.metric("Validation Loss", 1))
    assert variant.expert.mean == 20
