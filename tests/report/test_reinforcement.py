"""Runs of reinforcement learning on the page about runs: beside cloning and DAgger, against environment steps."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from run_folders import dicts, write_run

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.finetune_config import FinetuneConfig
from rl_il.flags import command_of
from rl_il.report.choices import choices_table
from rl_il.report.page import Picture, Table
from rl_il.report.runs import find_runs, group_runs
from rl_il.report.scores import clone, measured
from rl_il.report.sections import runs_report
from rl_il.report.tasks import Task, tasks_of
from rl_il.runs.checkpoint import checksum
from rl_il.runs.inputs import POLICY, Input
from rl_il.studies.diagnosis.subjects import cloning_config, find_policies

BC = RunConfig(env_name="Corridor-v0")
PPO = FinetuneConfig(env_name="Corridor-v0", learning_rate=0.002)
CURVE = {0: [0, 10], 1: [0, 4], 2: [35, 45]}


def cloned(folder: Path, seed: int, weights: str = "", returns=(0, 10), **settings) -> Path:
    """Write the run of a clone, and return its policy, which is no more than a few letters here."""
    config = replace(BC, seed=seed, **settings)
    policy = write_run(folder, config, {0: returns}) / "policy_itr_0.pt"
    policy.write_text(weights or f"{asdict(config)}")
    return policy


def tuned(folder: Path, policy: Path, seed: int, curve=CURVE, **settings) -> Path:
    """Write a run of PPO that begins with this policy, as `finetune.py` records it."""
    config = replace(PPO, policy=str(policy), seed=seed, **settings)
    begun = Input(POLICY, str(policy), str(policy.resolve()), checksum(policy))
    return write_run(folder, config, curve, inputs=[asdict(begun)])


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Return a clone, DAgger, two seeds of PPO that begin with clones of their own, and PPO from nothing."""
    root, clones = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("clones")
    first, second = (cloned(clones / f"q1_bc_{name}", seed) for seed, name in ((1, "09-00"), (2, "09-01")))
    write_run(root / "bc", BC, {0: [0, 10]})
    write_run(root / "dagger", replace(BC, do_dagger=True, n_iter=3), CURVE)
    tuned(root / "ppo_1", first, 1)
    tuned(root / "ppo_2", second, 2)
    tuned(root / "nothing", first, 1, {0: [-90, -90], 1: [0, 0], 2: [5, 5]}, from_nothing=True)
    return tasks_of(find_runs([root]), random_episodes=0)


def test_seeds_with_clones_of_their_own_are_one_variant(tasks):
    (task,) = tasks
    assert [len(variant.runs) for variant in task.ppo] == [1, 2]
    names = [variant.name for variant in task.variants]
    assert names == ["BC", "DAgger", "PPO, from_nothing yes", "PPO, from_nothing no"]


def variants(root: Path) -> list[list[int]]:
    """Return the seeds of each variant of PPO."""
    return [[run.config.seed for run in variant.runs] for variant in group_runs(find_runs([root / "ppo"]))]


def test_two_seeds_from_one_clone_are_one_variant_and_the_clone_one_policy(tmp_path):
    policy = cloned(tmp_path / "clones" / "seed_1", 1)
    tuned(tmp_path / "ppo" / "a", policy, 1)
    tuned(tmp_path / "ppo" / "b", policy, 2, {**CURVE, 0: [4, 6]})
    assert variants(tmp_path) == [[1, 2]]
    (task,) = tasks_of(find_runs([tmp_path / "ppo"]), random_episodes=0)
    assert [scores.tolist() for scores in clone(task, task.variants[0]).scores] == [[0, 10, 4, 6]]
    assert [name for result, _ in measured(task) if (name := result.name).startswith("BC")] == ["BC (iteration 0)"]


def test_equal_episodes_of_one_clone_count_once(tmp_path):
    policy = cloned(tmp_path / "clone", 1)
    for seed in (1, 2):
        tuned(tmp_path / "ppo" / f"{seed}", policy, seed, eval_seeds="7:9")
    (variant,) = group_runs(find_runs([tmp_path / "ppo"]))
    assert [scores.tolist() for scores in clone(Task("", [variant]), variant).scores] == [[0, 10]]


def test_two_clones_and_one_seed_are_one_variant_but_no_run_counts_twice(tmp_path):
    for seed in (1, 2):
        tuned(tmp_path / "ppo" / f"{seed}", cloned(tmp_path / f"clone_{seed}", seed), 1)
    assert variants(tmp_path) == [[1, 1]]
    tuned(tmp_path / "ppo" / "again", tmp_path / "clone_1" / "policy_itr_0.pt", 1)
    with pytest.raises(InputError, match=r"\[1, 1, 1\]"):
        variants(tmp_path)


def test_a_path_that_is_relative_is_the_same_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tuned(tmp_path / "ppo" / "a", cloned(Path("clone"), 1), 1)
    tuned(tmp_path / "ppo" / "b", tmp_path / "clone" / "policy_itr_0.pt", 2)
    assert variants(tmp_path) == [[1, 2]]


def test_clones_of_other_settings_or_iterations_are_other_variants(tmp_path):
    weak = cloned(tmp_path / "weak" / "seed_1", 1, num_agent_train_steps_per_iter=10)
    strong = cloned(tmp_path / "strong" / "seed_1", 1)
    later = strong.with_name("policy_itr_1.pt")
    later.write_text("later")
    again = Path(shutil.copy(tuned(tmp_path / "first", weak, 5) / "config.json", tmp_path / "first" / "p.pt"))
    for policy in (weak, strong, later, again):
        tuned(tmp_path / "ppo" / f"{policy.parts[-3]}_{policy.stem}", policy, 1)
    found = tasks_of(find_runs([tmp_path / "ppo"]), random_episodes=0)[0].variants
    assert len(found) == len({variant.name for variant in found}) == 4


def test_clones_that_are_gone_or_overwritten_are_told_apart_by_their_checksums(tmp_path):
    for seed in (1, 2, 3, 4):
        policy = cloned(tmp_path / f"clone_{seed}", seed, weights="other" if seed == 4 else "same")
        tuned(tmp_path / "ppo" / f"{seed}", policy, seed)
    shutil.rmtree(tmp_path / "clone_1")
    for seed in (2, 4):
        (tmp_path / f"clone_{seed}" / "policy_itr_0.pt").write_text("new")
    (tmp_path / "clone_3" / "config.json").unlink()
    assert variants(tmp_path) == [[1, 2, 3], [4]]


@pytest.mark.parametrize("inputs", [None, ["policy"], [{"setting": POLICY}], [asdict(Input(POLICY, None, "a", "b"))]])
def test_a_record_that_lists_no_policy_leaves_its_path(tmp_path, inputs):
    for i in (1, 2, 3):
        write_run(tmp_path / "ppo" / f"{i}", replace(PPO, seed=i, policy=f"{min(i, 2)}.pt"), CURVE, inputs=inputs)
    assert variants(tmp_path) == [[1], [2, 3]]


def test_a_path_that_cannot_exist_leaves_the_checksum(tmp_path):
    for i in (1, 2):
        begun = Input(POLICY, "\0", f"{i}\0", "equal")
        write_run(tmp_path / "ppo" / f"{i}", replace(PPO, seed=i, policy=f"{i}.pt"), CURVE, inputs=[asdict(begun)])
    assert variants(tmp_path) == [[1, 2]]


def test_it_is_drawn_with_dagger_against_environment_steps(tasks):
    report = runs_report(tasks)
    names = [picture.name for picture in report.blocks(Picture)]
    assert "Corridor-v0_curve_ppo" in names
    drawn = next(picture for picture in report.blocks(Picture) if picture.name == "Corridor-v0_curve_ppo")
    assert "environment steps" in drawn.inline and all(name in drawn.inline for name in ("DAgger", "from_nothing no"))
    settings = next(table for table in report.blocks(Table) if "differ" in table.caption)
    rows = {row["variant"]: row for row in dicts(settings.rows)}
    assert rows["PPO, from_nothing yes"]["algorithm"] == "PPO" and rows["BC"]["from_nothing"] == ""


def test_the_clone_is_a_row_once(tasks):
    names = [result.name for result, _ in measured(tasks[0])]
    assert names == [
        *("BC", "DAgger, iteration 2", "PPO, from_nothing yes, iteration 2"),
        "BC (iteration 0 of PPO, from_nothing no)",  # of two seeds, unlike the run BC
        "PPO, from_nothing no, iteration 2",
    ]


def test_clones_with_equal_returns_are_rows_of_their_own_if_their_files_differ(tmp_path):
    clones = [cloned(tmp_path / "a", 1), cloned(tmp_path / "b", 1, size=7), cloned(tmp_path / "c", 1, size=8)]
    for policy in clones[:2]:
        tuned(tmp_path / "ppo" / policy.parts[-2], policy, 1)
    tuned(tmp_path / "ppo" / "also_a", clones[0], 1, learning_rate=0.1)
    (task,) = tasks_of(find_runs([tmp_path / "ppo", tmp_path / "c"]), random_episodes=0)
    rows = [result.name for result, _ in measured(task) if result.name.startswith("BC")]
    assert len(rows) == 3  # a and c, both of PPO and of itself, and b
    (task,) = tasks_of(find_runs([tmp_path / "ppo", tmp_path / "a"]), random_episodes=0)
    rows = [result.name for result, _ in measured(task) if result.name.startswith("BC")]
    assert len(rows) == 2 and not any("policy a" in row for row in rows)  # a is the run itself


def test_it_is_no_part_of_the_assignment(tasks):
    rows = {row["run folder"].rpartition("/")[2]: row for row in dicts(choices_table(tasks))}
    assert all(rows["ppo_1"][f"part {i}"] == "left out: PPO" for i in (1, 2, 3))
    assert rows["bc"]["part 1"] == rows["dagger"]["part 3"] == "taken"


def test_its_command_line_is_that_of_its_script():
    words = command_of(PPO).split()
    assert words[1] == "scripts/finetune.py" and "--learning_rate" in words and "--rule" not in words


def test_a_diagnosis_knows_where_its_policies_come_from(tmp_path):
    write_run(tmp_path / "ppo", PPO, CURVE)
    for itr in range(3):
        (tmp_path / "ppo" / f"policy_itr_{itr}.pt").write_bytes(b"")
    named = find_policies([str(tmp_path / "ppo"), str(tmp_path / "ppo" / "policy_itr_0.pt")])
    assert [each.name for each in named] == ["PPO, iteration 2", "BC"]
    config = cloning_config(named[0].run.config)
    assert isinstance(config, RunConfig) and config.env_title == "Corridor-v0"
