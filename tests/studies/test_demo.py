"""The demo on a small scale: its files, and that its table agrees with the run folders."""

import csv
from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.report.tables import SEEDS, THIS_POLICY, Result
from rl_il.runs.experiment import run
from rl_il.studies.demo import make_caption, run_demo

CONFIG = RunConfig(
    do_dagger=True,
    n_iter=3,
    num_agent_train_steps_per_iter=30,
    batch_size=100,
    eval_episodes=3,
    ep_len=60,
    video_log_freq=-1,
)
NAMES = [
    "untrained policy",
    "expert, same episodes",
    "BC, 1 demonstration",
    "BC, 10 demonstrations",
    "DAgger, 1 demonstration, iteration 1",
    "DAgger, 1 demonstration, iteration 2",
]


def rows_of(table: str) -> dict[str, dict[str, str]]:
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def metrics_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run_demo(CONFIG, [1, 2], out)


def test_every_file_is_written(demo):
    out, table = demo
    assert list(rows_of(table)) == NAMES
    folders = {f"{kind}_seed_{seed}" for kind in ("dagger", "bc_10_demos") for seed in (1, 2)}
    files = {"table.md", "learning_curve.png", "bc_1_demo.gif", "dagger.gif"}
    assert {path.name for path in out.iterdir()} == files | folders
    assert (out / "table.md").read_text().startswith(table + "\n\n2 seeds, 3 ")
    assert (out / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_gifs_show_four_moving_episodes(demo):
    out, _ = demo
    clone, dagger = (imageio.imread(out / name) for name in ("bc_1_demo.gif", "dagger.gif"))
    for frames in (clone, dagger):
        assert len(frames) > 10
        quarters = [half for rows in np.split(frames[0], 2) for half in np.split(rows, 2, axis=1)]
        assert all((quarters[0] != other).any() for other in quarters[1:])
        assert (frames[0] != frames[-1]).any()
    np.testing.assert_array_equal(clone[0], dagger[0])  # the same episodes
    assert clone.shape != dagger.shape or (clone != dagger).any()


def test_each_row_pools_the_episodes_of_all_seeds(demo):
    out, table = demo
    rows = rows_of(table)
    assert {row["episodes"] for row in rows.values()} == {"6"}
    runs = [metrics_of(out / f"dagger_seed_{seed}") for seed in (1, 2)]
    for itr, name in ((0, NAMES[2]), (1, NAMES[4]), (2, NAMES[5])):
        means = [float(run[itr]["Eval_AverageReturn"]) for run in runs]
        assert rows[name]["mean return"] == f"{np.mean(means):.1f}"
        assert rows[name]["seed means, min to max"] == f"{min(means):.1f} to {max(means):.1f}"
        labels = [float(run[itr]["Expert_LabelsSoFar"]) for run in runs]
        assert rows[name]["expert labels"] == f"{np.mean(labels):,.0f}"
    one, ten = (int(rows[name]["expert labels"].replace(",", "")) for name in NAMES[2:4])
    assert ten > 5 * one


def test_too_few_seeds_or_episodes_have_no_interval(demo):
    out, table = demo
    rows = rows_of(table)
    assert rows.pop("expert, same episodes")["95 % interval over seeds"].endswith("(this policy)")  # 6 are enough
    assert {row["95 % interval over seeds"] for row in rows.values()} == {""}
    assert "nan" not in (out / "table.md").read_text().lower()


@pytest.mark.parametrize(("n_seeds", "n_episodes", "kinds"), [(3, 2, [SEEDS]), (1, 5, [THIS_POLICY]), (2, 5, [])])
def test_the_caption_says_what_the_intervals_redraw(n_seeds, n_episodes, kinds):
    result = Result("BC", list(np.random.default_rng(0).normal(size=(n_seeds, n_episodes))))
    caption = make_caption(CONFIG, n_seeds, [result])
    assert [kind for kind in (SEEDS, THIS_POLICY) if kind in caption] == kinds
    assert ("at least 3 seeds, or 5 episodes" in caption) is (not kinds)


def test_cloning_one_demonstration_is_daggers_iteration_zero(demo, tmp_path):
    out, _ = demo
    config = replace(CONFIG, do_dagger=False, n_iter=1, n_demos=1, seed=1, logdir=str(tmp_path / "bc"))
    cloned = run(config, verbose=False)
    row = metrics_of(out / "dagger_seed_1")[0]
    assert float(row["Eval_AverageReturn"]) == cloned.summary["eval_return_mean"]
    policies = [MLPPolicySL.load(folder / "policy_itr_0.pt") for folder in (out / "dagger_seed_1", cloned.folder)]
    weights = [policy.head.network[0].weight.detach().numpy() for policy in policies]
    np.testing.assert_array_equal(*weights)


def test_an_existing_folder_is_not_changed_and_the_files_are_named(demo, tmp_path, capsys):
    taken = tmp_path / "out"
    taken.mkdir()
    (taken / "table.md").write_text("mine")
    config = replace(CONFIG, n_iter=2, env_name="MountainCar-v0")
    table = run_demo(config, [3], taken)
    assert (taken / "table.md").read_text() == "mine"
    assert (tmp_path / "out_2/table.md").read_text().startswith(table)
    assert list(rows_of(table)) == NAMES[:5]
    assert "seed means" not in table
    printed = capsys.readouterr().out
    assert table in printed
    for name in ("table.md", "learning_curve.png", "bc_1_demo.gif", "dagger.gif"):
        assert str(tmp_path / "out_2" / name) in printed


@pytest.mark.parametrize(
    ("changes", "seeds", "message"),
    [
        ({"env_name": "LunarLander-v9"}, [1], "LunarLander-v3"),
        ({"env_name": "CarRacing-v3"}, [1], "--n_demos"),
        ({"env_name": "CartPole-v1"}, [1], "CartPole-v1"),
        ({}, [1, -1], "seed"),
        ({}, [1, 1], "seeds .*1 1"),
    ],
)
def test_nothing_is_written_for_bad_input(tmp_path, changes, seeds, message):
    with pytest.raises(InputError, match=message):
        run_demo(replace(CONFIG, **changes), seeds, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
