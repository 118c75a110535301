"""Scores of environments that are not their returns, and fixed seeds of the evaluations.

In these tests the corridor is judged by its length: the score of an episode is a tenth of its steps.
"""

import json

import numpy as np
import pytest
from fakes import corridor_length, walk
from small_runs import corridor, rows_of, run_in, stop_after

from rl_il.config import RunConfig
from rl_il.envs import ENVS, EnvRow, env_row
from rl_il.envs.table import largest_reward
from rl_il.errors import InputError
from rl_il.report.runs import find_runs, read_run
from rl_il.report.scores import result_blocks
from rl_il.report.tables import Result, measure_name, results_table
from rl_il.report.tasks import tasks_of
from rl_il.runs.evaluate import INTERVAL, evaluate, result_rows
from rl_il.runs.experiment import resume
from rl_il.statistics import bootstrap_interval
from rl_il.studies.ablation.grid import Ablation
from rl_il.studies.ablation.jobs import measure_reference, read_reference, reference_folder, train
from rl_il.studies.ablation.results import gather, write_results
from rl_il.types import RETURN, SCORE


def tenth_of_length(trajectory) -> float:
    return len(trajectory) / 10


@pytest.fixture(autouse=True)
def judged_by_length(monkeypatch):
    monkeypatch.setitem(ENVS, "Corridor-v0", EnvRow(score=tenth_of_length))


def scores_of(seeds) -> np.ndarray:
    return np.array([corridor_length(seed) / 10 for seed in seeds])


@pytest.fixture
def finished(tmp_path):
    """Return the result of a run that was evaluated on the seeds 0 to 4, twice."""
    config = corridor(tmp_path / "files", n_iter=2, eval_episodes=None, eval_seeds="0:5")
    return run_in(tmp_path / "run", config)


# The rows of environments ----------------------------------------------------------------------------------


def test_push_t_is_judged_by_its_largest_reward():
    row = env_row("gym_pusht/PushT-v0")
    episode = walk(3, rewards=np.array([0.2, 0.9, 0.4]))
    assert (row.score, row.score(episode), row.measure) == (largest_reward, 0.9, SCORE)
    assert row.success(episode) and not row.success(walk(3, terminated=False, truncated=True))


def test_others_are_judged_by_their_return():
    judged = ("gym_pusht/PushT-v0", "Corridor-v0")
    assert all(row.measure is RETURN for name, row in ENVS.items() if name not in judged)
    assert EnvRow().score(walk(4, action=2)) == 8


# Runs --------------------------------------------------------------------------------------------------------


def test_the_summary_has_both_by_hand(finished):
    summary, scores = finished.summary, scores_of(range(5))
    returns = finished.results[-1].returns
    low, high = bootstrap_interval([scores])
    assert summary["eval_return_mean"] == pytest.approx(returns.mean())
    assert summary["eval_score_mean"] == summary["expert_score_mean"] == pytest.approx(scores.mean())
    assert (summary["eval_score_ci95_low"], summary["eval_score_ci95_high"]) == pytest.approx((low, high))
    assert summary["percent_of_expert"] == pytest.approx(100)  # of the scores; the returns differ
    assert summary["eval_return_mean"] != summary["expert_return_mean"]
    assert json.loads((finished.folder / "summary.json").read_text())["eval_score_mean"] == summary["eval_score_mean"]


def test_the_tables_of_a_run_have_columns_for_the_scores(finished):
    for row in rows_of(finished.folder):
        assert float(row["Eval_AverageScore"]) == pytest.approx(scores_of(range(5)).mean())
        assert (float(row["Eval_MaxScore"]), float(row["Eval_MinScore"])) == (0.6, 0.3)
    rows = rows_of(finished.folder, "episodes.csv")
    assert [float(row["score"]) for row in rows] == [*scores_of(range(5))] * 3  # the expert, and two iterations
    assert [float(row["score"]) * 10 for row in rows] == pytest.approx([int(row["length"]) for row in rows])


def test_where_the_score_is_the_return_it_is_written_once(tmp_path, monkeypatch):
    monkeypatch.delitem(ENVS, "Corridor-v0")
    result = run_in(tmp_path / "run", corridor(tmp_path / "files", n_iter=2))
    assert not [name for name in rows_of(result.folder)[0] if "Score" in name]
    assert "score" not in rows_of(result.folder, "episodes.csv")[0]
    assert result.summary["eval_score_mean"] == result.summary["eval_return_mean"]


def test_the_printed_lines_name_the_score(tmp_path, capsys):
    from rl_il.runs.experiment import run

    run(corridor(tmp_path / "files", n_iter=2, eval_seeds="0:5", eval_episodes=None, logdir=str(tmp_path / "run")))
    out = capsys.readouterr().out
    low, high = bootstrap_interval([scores_of(range(5))])
    assert f"eval score 0.420 (this policy's 95 % interval: {low:.3f} to {high:.3f})" in out
    assert f"{low:.3f} to {high:.3f}" in next(line for line in out.splitlines() if line.startswith(INTERVAL))
    assert "score, mean +- std" in out and "eval return" not in out


def test_a_resumed_run_has_the_same_scores(tmp_path, monkeypatch):
    config = corridor(tmp_path / "files", eval_seeds="3:6", eval_episodes=None)
    whole = run_in(tmp_path / "whole", config)
    stop_after(monkeypatch, tmp_path / "stopped", config, 2)
    resume(tmp_path / "stopped", verbose=False)
    for name in ("metrics.csv", "episodes.csv"):
        assert rows_of(tmp_path / "stopped", name) == rows_of(whole.folder, name)
    read = read_run(tmp_path / "stopped")
    assert read.scores[2].tolist() == read.expert.scores.tolist() == scores_of(range(3, 6)).tolist()


# evaluate.py ---------------------------------------------------------------------------------------------------


def test_an_evaluation_is_of_the_score():
    result = evaluate("random", "Corridor-v0", eval_seeds="10:16")
    scores = scores_of(range(10, 16))
    assert (result["measure"], result["eval_seeds"], result["episodes"]) == ("score", "10:16", 6)
    assert (result["mean"], result["min"], result["max"]) == pytest.approx((scores.mean(), 0.3, 0.6))
    assert "mean_return" in result and "seed" not in result
    rows = dict(result_rows(result))
    assert (rows["mean"], rows["max"]) == (f"{scores.mean():.3f}", "0.600")


def test_the_number_of_episodes_must_fit_the_seeds(tmp_path):
    assert evaluate("random", "Corridor-v0", 6, eval_seeds="10:16")["episodes"] == 6
    with pytest.raises(InputError, match=r"--eval_seeds 10:16 .*6 episodes.*--episodes is 5"):
        evaluate("random", "Corridor-v0", 5, eval_seeds="10:16")
    with pytest.raises(InputError, match=r"--eval_seeds 0:100 .*100 episodes.*--eval_episodes is 20"):
        RunConfig(eval_seeds="0:100", eval_episodes=20)
    assert RunConfig(eval_seeds="0:100", eval_episodes=100).fixed_seeds == range(100)


@pytest.mark.parametrize("text", ["", "5", "5:", ":5", "5:5", "7:5", "a:b", "-3:5", "0:5:2", f"0:{2**63}", "0 : 5"])
def test_seeds_that_are_no_range_are_refused(text):
    with pytest.raises(InputError, match="--eval_seeds"):
        RunConfig(eval_seeds=text)
    with pytest.raises(InputError, match="--eval_seeds"):
        evaluate("random", "Corridor-v0", eval_seeds=text)


def test_too_many_seeds_are_refused():
    with pytest.raises(InputError, match=r"--eval_seeds 0:\d+: needs"):
        RunConfig(eval_seeds=f"0:{10**15}")


# Reports and studies ---------------------------------------------------------------------------------------------


def test_a_report_compares_scores(finished):
    (task,) = tasks_of(find_runs([finished.folder]))
    (variant,) = task.variants
    assert (variant.measure, variant.expert.measure, task.random.measure) == (SCORE, SCORE, SCORE)
    mean = scores_of(range(5)).mean()
    assert [point.mean for point in variant.curve] == pytest.approx([mean, mean])
    tables = [block for block in result_blocks(task) if getattr(block, "rows", None)]
    assert tables[0].caption == "Scores in Corridor-v0"
    row = dict(zip(tables[0].rows[0], tables[0].rows[-1], strict=True))
    assert (row["mean score"], row["% of expert"]) == (f"{mean:.3f}", "100.0")


def test_equal_episodes_of_the_expert_are_counted_once(tmp_path):
    config = corridor(tmp_path / "files", n_iter=2, eval_episodes=None, eval_seeds="0:5")
    for seed in (1, 2):
        run_in(tmp_path / f"runs/{seed}", config, seed=seed)
    (task,) = tasks_of(find_runs([tmp_path / "runs"]), random_episodes=0)
    assert len(task.variants[0].expert.episodes) == len(next(iter(task.experts.values())).episodes) == 5


def test_a_table_of_returns_and_scores_speaks_of_scores():
    returns = Result("a", [np.array([10.0, 20.0])])
    scores = Result("b", [np.array([0.25, 0.5])], measure=SCORE)
    header, first, second = results_table([returns, scores], Result("none", [np.array([np.nan])]))
    assert (header[1], first[1], second[1]) == ("mean score", "15.0", "0.375")
    assert (measure_name([returns]), measure_name([scores]), measure_name([])) == ("return", "score", "return")


def test_an_ablation_compares_scores_on_the_same_seeds(tmp_path):
    config = corridor(tmp_path / "files", do_dagger=False, n_iter=1, eval_episodes=None, eval_seeds="0:5")
    ablation, scores = Ablation(config, {"size": [4, 8]}, 2), scores_of(range(5))
    for each in ablation.trainings():
        train(each, None, tmp_path)
        measure_reference(each, tmp_path)
    results = gather(ablation, tmp_path)
    assert [len(result.random.episodes) for result in results] == [5, 5]  # equal episodes are counted once
    table, _ = write_results(ablation, results, tmp_path)
    header, _, *rows = ([cell.strip() for cell in line.split("|")] for line in table.splitlines())
    assert [row[header.index("mean score")] for row in rows] == [f"{scores.mean():.3f}"] * 2
    assert {float(row["eval_score_mean"]) for row in rows_of(tmp_path, "results.csv")} == {scores.mean()}


def test_reference_episodes_depend_on_the_fixed_seeds(tmp_path):
    config = corridor(tmp_path / "files", eval_episodes=None, eval_seeds="0:5")
    other = corridor(tmp_path / "files", eval_episodes=None, eval_seeds="5:10")
    assert reference_folder(config) != reference_folder(other)
    measure_reference(other, tmp_path)
    assert read_reference(other, tmp_path)["expert"].scores.tolist() == scores_of(range(5, 10)).tolist()
