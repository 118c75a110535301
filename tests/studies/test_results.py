"""The table over all environments, from small runs."""

from dataclasses import replace

import numpy as np
import pytest

from rl_il.errors import InputError
from rl_il.report.runs import read_run
from rl_il.studies import results

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
    ok = results.make_results(folder / "runs", folder / "all.md", NAMES, n_seeds=2, processes=2, settings=TINY)
    assert ok
    return folder


def rows_of(path) -> list[dict[str, str]]:
    table = path.read_text().split("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    header = [f"{name} {header[:i].count(name)}" for i, name in enumerate(header)]  # some columns have one name
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_row_holds_the_numbers_of_its_runs(made):
    row, car = rows_of(made / "all.md")
    runs = [read_run(path) for path in sorted((made / "runs/runs/env_name=LunarLander-v3").iterdir())]
    assert len(runs) == 2
    bc, dagger = (np.mean([run.returns[itr] for run in runs]) for itr in (0, 2))
    expert = np.mean([run.expert_returns for run in runs])
    labels = [np.mean([run.metrics[itr]["Expert_LabelsSoFar"] for run in runs]) for itr in (0, 2)]
    assert row["environment 0"] == "LunarLander-v3"
    assert row["expert, measured now 0"].startswith(f"{expert:.1f} (")
    assert row["BC 0"].startswith(f"{bc:,.1f} (") and row["DAgger 0"].startswith(f"{dagger:,.1f} (")
    assert [row["labels 0"], row["labels 1"]] == [f"{n:,.0f}" for n in labels]
    means = [run.returns[2].mean() for run in runs]
    assert row["its seeds 0"] == f"{min(means):,.1f} to {max(means):,.1f}"
    assert row["% of expert 1"] == f"{100 * dagger / expert:.1f}"
    assert car["environment 0"] == "MountainCar-v0"
    assert car["% of expert 0"] == car["% of expert 1"] == ""  # its returns are negative


def test_it_says_what_was_run_and_with_what(made):
    text = (made / "all.md").read_text()
    for words in ("2 seeds", "3 fresh", "1 demonstration", "30 gradient", "2 more", "100 labelled", "gymnasium 1."):
        assert words in text


def test_it_is_refused_if_no_run_ended_well(tmp_path):
    broken = replace(TINY, learning_rate=1e30, env_name="Hopper-v5")
    with pytest.raises(InputError, match=r"log\.txt"):
        results.make_results(tmp_path, tmp_path / "all.md", ["Hopper-v5"], 1, 1, broken)
    assert not (tmp_path / "all.md").exists()
