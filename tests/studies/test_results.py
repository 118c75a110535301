"""The table of all environments, from small runs."""

import re
from dataclasses import replace

import numpy as np
import pytest

from rl_il.errors import InputError
from rl_il.report.runs import read_run
from rl_il.report.tables import SEEDS, Result
from rl_il.studies import results
from rl_il.studies.ablation.grid import Ablation
from rl_il.studies.ablation.results import gather

TINY = replace(
    results.SETTINGS,
    n_iter=3,
    batch_size=100,
    num_agent_train_steps_per_iter=30,
    size=16,
    eval_episodes=3,
    scalar_log_freq=2,
    ep_len=60,
)
NAMES = ["LunarLander-v3", "MountainCar-v0"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    ok = results.make_results(folder / "runs", folder / "all.md", NAMES, n_seeds=3, processes=2, settings=TINY)
    assert ok
    return folder


def rows_of(path) -> list[dict[str, str]]:
    table = path.read_text().split("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_row_holds_the_numbers_of_its_runs(made):
    row, mountain_car = rows_of(made / "all.md")
    runs = [read_run(path) for path in sorted((made / "runs/runs/env_name=LunarLander-v3").iterdir())]
    assert len(runs) == 3
    bc, dagger = (np.mean([run.scores[itr] for run in runs]) for itr in (0, 2))
    expert = np.mean([run.expert.scores for run in runs])
    labels = [np.mean([run.metrics[itr]["Expert_LabelsSoFar"] for run in runs]) for itr in (0, 2)]
    assert row["environment"] == "LunarLander-v3"
    assert row["expert, same episodes"].startswith(f"{expert:.1f} (")
    assert row["BC"].startswith(f"{bc:,.1f} (") and row["DAgger"].startswith(f"{dagger:,.1f} (")
    assert [row["labels, BC"], row["labels, DAgger"]] == [f"{n:,.0f}" for n in labels]
    means = [run.scores[2].mean() for run in runs]
    assert row["seed means, DAgger"] == f"{min(means):,.1f} to {max(means):,.1f}"
    assert row["% of expert, DAgger"] == (f"{100 * dagger / expert:.1f}" if min(dagger, expert) >= 0 else "")
    assert mountain_car["environment"] == "MountainCar-v0"
    assert mountain_car["% of expert, BC"] == mountain_car["% of expert, DAgger"] == ""  # its returns are negative


@pytest.mark.parametrize(("n_seeds", "cell"), [(3, r"2\.0 \(\S+ to \S+\)"), (2, r"2\.0")])
def test_a_mean_without_an_interval_has_no_brackets(n_seeds, cell):
    result = Result("BC", [np.array([1.0, 3.0])] * n_seeds)
    assert re.fullmatch(cell, results.with_interval(result))


def test_demonstrations_that_were_cut_off_are_marked(made, monkeypatch):
    found = {name: results.cut_off_lengths(replace(TINY, env_name=name)) for name in ("Humanoid-v5", *NAMES)}
    assert found == {"Humanoid-v5": (170, 1000), NAMES[0]: None, NAMES[1]: None}
    monkeypatch.setattr(results, "cut_off_lengths", lambda config: (17, 999) if config.env_name == NAMES[0] else None)
    variants = gather(Ablation(TINY, {"env_name": NAMES}, 3), made / "runs")
    cut_off, whole = (dict(zip(results.COLUMNS, results.row(each), strict=True)) for each in variants)
    assert [cut_off["environment"], whole["environment"]] == [f"{NAMES[0]} *", NAMES[1]]
    caption = results.make_caption(TINY, 3, variants)
    assert "* LunarLander-v3: " in caption and "17" in caption and "999" in caption and NAMES[1] not in caption


def test_it_says_what_was_run_and_with_what(made):
    text = (made / "all.md").read_text()
    words = "3 seeds|3 new|1 demonstration|30 gradient|2 more|100 labelled|gymnasium 1.".split("|")
    assert [each for each in (*words, SEEDS) if each not in text] == []


def test_there_is_no_table_if_all_runs_failed(tmp_path):
    broken = replace(TINY, learning_rate=1e30, env_name="Hopper-v5")
    with pytest.raises(InputError, match=r"log\.txt"):
        results.make_results(tmp_path, tmp_path / "all.md", ["Hopper-v5"], 1, 1, broken)
    assert not (tmp_path / "all.md").exists()
