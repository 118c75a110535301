"""What a label buys: which rules, seeds and policies are measured, and small studies."""

import json
from dataclasses import replace
from types import SimpleNamespace

import fakes
import numpy as np
import pytest
from calling import assert_refused, call_script
from label_points import LOW, run_with, seeds_at
from PIL import Image

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.errors import InputError
from rl_il.files import read_csv
from rl_il.report.runs import read_run
from rl_il.studies.ablation import sweep
from rl_il.studies.label_cost import measure, results, study
from rl_il.studies.label_cost.compare import ONE_SETTING
from rl_il.studies.label_cost.measure import due_iterations, measure_run
from rl_il.studies.label_cost.results import LABELS
from rl_il.studies.label_cost.study import CHOSEN, VARIANTS, Study, run_label_cost, settings_of

OWN_RULE = """
import numpy as np
from rl_il.infrastructure.dagger import Rule

class First(Rule):
    def select(self, trajectories, budget, rng):
        return [np.arange(len(trajectory)) == 0 for trajectory in trajectories]
"""


@pytest.mark.parametrize(
    ("labels", "due"),
    [
        ([100], [0]),
        ([100, 119, 120, 143, 144, 150], [0, 2, 4, 5]),
        ([100, 100, 100, 100], [0, 3]),  # a rule that asks nobody
        ([100, 1000], [0, 1]),
    ],
)
def test_an_iteration_is_evaluated_where_labels_have_grown_by_a_fifth(labels, due):
    assert due_iterations(labels) == due


def test_a_text_names_a_rule_and_its_settings():
    assert settings_of("hg_50") == VARIANTS["hg_50"]
    assert settings_of("hg_50 labels_per_iter=7 ensemble=3") == {"rule": "hg", "labels_per_iter": 7, "ensemble": 3}
    assert settings_of("my_rule:Mine rule_kwargs='a=1 b=2'") == {"rule": "my_rule:Mine", "rule_kwargs": "a=1 b=2"}
    for wrong in ("no_rule", "hg labels_per_iter", "hg seed=3", "hg no_setting=3", "hg ensemble=x"):
        with pytest.raises(InputError):
            settings_of(wrong)


def refused(**changed):
    """Return the variants that are refused on LunarLander with these settings changed."""
    configs = Study(list(VARIANTS), ["LunarLander-v3"]).configs()
    names = set()
    for (_, name), (config, *_) in configs.items():
        try:
            study._check_rule(replace(config, **changed))
        except InputError:
            names.add(name)
    return names


def test_every_variant_can_be_made_and_needs_its_settings():
    choosing = {name for name in VARIANTS if name.startswith(("random", "kcentre", "disagreement"))}
    assert refused() == set()
    assert refused(labels_per_iter=None) == choosing | {name for name in VARIANTS if "hg_kcentre" in name}
    in_doubt = {name for name in VARIANTS if name.startswith("disagreement")}
    assert refused(ensemble=1) == in_doubt | {"ensemble_dagger", "thrifty"}


def test_the_best_two_rules_get_more_seeds(monkeypatch, tmp_path):
    asked = []

    def make(wanted, outdir, how):
        asked.append({rule: len(runs) for (_, rule), runs in wanted.items()})
        labels = {"vanilla": 900, "random_50": 90, "random_25": 95, "hg": 300, "safe": 100, "dart": 200}
        labels[ONE_SETTING] = 80
        return [seeds_at("LunarLander-v3", rule, n) for rule, n in labels.items()], {}, 0

    monkeypatch.setattr(study, "_make", make)
    monkeypatch.setattr(study, "write_results", lambda *_: None)
    rules = [*CHOSEN, "hg", "safe", "dart"]
    assert run_label_cost(Study(rules, ["LunarLander-v3"]), tmp_path)
    first = dict.fromkeys(CHOSEN, 5) | {"hg": 3, "safe": 3, "dart": 3}
    assert asked == [first, first | {"safe": 5, "dart": 5}]
    asked.clear()
    assert run_label_cost(Study(rules, ["LunarLander-v3"], n_seeds=2), tmp_path)
    assert asked == [dict.fromkeys(rules, 2)]


def test_the_flags_choose_the_study():
    quick = study.study_of(None, None, None, 1, quick=True).configs()
    assert sum(map(len, quick.values())) == 4 * 2 * 2
    own = study.study_of(["hg"], ["Hopper-v5"], None, 1001, quick=True).configs()
    assert [config.seed for config in own["Hopper-v5", "hg"]] == [1001, 1002]


# Small studies ----------------------------------------------------------------------------------------------


def in_this_process(jobs, outdir, processes, idle):
    for name, job in jobs.items():
        job(outdir)
        yield name, None


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of a study of three rules in a corridor, and the study."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "my_first_rule.py").write_text(OWN_RULE)
    acs = [np.arange(n) % 3 for n in (3, 4, 5)]
    demos = [fakes.walk(len(each), acs=each, rewards=each.astype(float)) for each in acs]
    save_trajectories(folder / "demos.npz", demos, {"env_name": "Corridor-v0"})
    base = replace(
        study.SETTINGS,
        n_demos=None,
        n_iter=5,
        batch_size=10,
        max_labels=40,
        num_agent_train_steps_per_iter=20,
        size=8,
        eval_episodes=6,
        expert_data=str(folder / "demos.npz"),
        expert_policy_file="fakes:StepModuloThree",
        seed=7,
    )
    asked = Study(["vanilla", "random labels_per_iter=3", "my_first_rule:First"], ["Corridor-v0"], 1, base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "launch_local", in_this_process)
        patch.chdir(folder)
        assert run_label_cost(asked, folder / "out")
    return folder / "out", asked


def read(folder):
    return json.loads((folder / results.EVALUATIONS).read_text())


def test_a_users_own_rule_takes_part(made):
    outdir, asked = made
    (config,) = asked.configs()["Corridor-v0", "my_first_rule:First"]
    first, *_, last = read(outdir / config.logdir)["evaluations"]
    assert first[LABELS] == 12  # of the demonstrations
    assert 12 + 4 * 2 <= last[LABELS] <= 12 + 4 * 4  # one for each episode; 4 rounds of 10 steps have 2 to 4 each
    rules = {row["rule"] for row in read_csv(outdir / "results.csv")}
    assert rules == {*asked.rules}


def test_policies_are_evaluated_on_the_episodes_of_the_run(made):
    outdir, asked = made
    for configs in asked.configs().values():
        for config in configs:
            run, found = read_run(outdir / config.logdir), read(outdir / config.logdir)
            assert found["complete"] and found["expert"] == run.expert.scores.tolist()
            labels = [int(row[LABELS]) for row in run.metrics]
            assert [each["iteration"] for each in found["evaluations"]] == due_iterations(labels)
            last = found["evaluations"][-1]
            assert last[LABELS] == labels[-1] and last["iteration"] == run.last
            assert last["scores"] == run.scores[run.last].tolist()[: len(last["scores"])]
            assert {len(each["scores"]) for each in found["evaluations"]} <= {measure.FEW, 6}
            assert [path.name for path in run.folder.glob("policy_itr_*.pt")] == [f"policy_itr_{run.last}.pt"]


def test_the_run_ends_at_its_labels_and_the_files_are_written(made):
    outdir, asked = made
    (vanilla,) = asked.configs()["Corridor-v0", "vanilla"]
    assert read(outdir / vanilla.logdir)["evaluations"][-1][LABELS] == 40
    page, table = (outdir / "README.md").read_text(), (outdir / "table.md").read_text()
    assert all(rule in page and rule in table for rule in asked.rules)
    assert "nan" not in (page + table).lower() and "gymnasium 1." in page
    with Image.open(outdir / "figure.png") as picture:
        assert picture.mode == "P" and picture.width > 400
    assert (outdir / "figure.png").stat().st_size < 60_000


def test_the_same_call_makes_nothing_again(made, monkeypatch):
    outdir, asked = made
    before = {name: (outdir / name).read_bytes() for name in results.FILES}
    monkeypatch.setattr(sweep, "launch_local", in_this_process)
    monkeypatch.chdir(outdir.parent)
    for name in ("train", "measure_run"):
        monkeypatch.setattr(measure, name, lambda *_: pytest.fail("made again"))
    assert run_label_cost(asked, outdir)
    assert {name: (outdir / name).read_bytes() for name in results.FILES} == before


def test_a_stopped_measurement_continues_with_the_next_policy(made, monkeypatch, tmp_path):
    outdir, asked = made
    config = replace(asked.configs()["Corridor-v0", "vanilla"][0], logdir="run")
    measure.train(config, None, outdir.parent)
    folder, evaluated, load = outdir.parent / "run", [], measure.load_actor

    def load_two(path, env):
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        evaluated.append(path.name)
        return load(path, env)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "load_actor", load_two)
        with pytest.raises(KeyboardInterrupt):
            measure_run(folder)
    assert not measure.is_measured(folder)
    rest = []
    monkeypatch.setattr(measure, "load_actor", lambda path, env: rest.append(path.name) or load(path, env))
    monkeypatch.setattr(measure, "train", lambda *_: pytest.fail("trained again"))
    measure.train_and_measure(config, None, outdir.parent)
    due = due_iterations([int(row[LABELS]) for row in read_run(folder).metrics])
    assert evaluated + rest == [f"policy_itr_{itr}.pt" for itr in due] and len(due) > 2
    assert [each["iteration"] for each in read(folder)["evaluations"]] == due


@pytest.mark.parametrize(
    ("few", "rest", "fresh", "before", "rolled_out"),
    [
        (84.9, None, None, LOW, [4]),
        (85.1, 90, None, LOW, [4, 2]),
        (95.1, 95.1, 90, LOW, [4, 2, 50, 50]),
        (99, None, None, {"scores": [100] * 6, "fresh": [100]}, [4]),  # an earlier policy has reached it twice
    ],
)
def test_more_episodes_are_rolled_out_only_if_the_first_are_close(monkeypatch, few, rest, fresh, before, rolled_out):
    expert = np.full(6, 100.0)
    run = SimpleNamespace(
        config=RunConfig(), expert=SimpleNamespace(scores=expert), metrics=[dict.fromkeys(measure.SCALARS, 1.0)]
    )
    answers, n_episodes = iter([few, rest, fresh, 100.0]), []

    def scores(run, actor, env, seeds):
        n_episodes.append(len(seeds))
        return np.full(len(seeds), next(answers))

    monkeypatch.setattr(measure, "_scores", scores)
    monkeypatch.setattr(measure, "find_expert", lambda *_: None)
    found = run_with(before, expert=expert, expert_fresh=() if before is LOW else [100])
    evaluation = measure._evaluate(run, 0, None, None, found)
    assert n_episodes == rolled_out
    assert len(evaluation["fresh"]) == (0 if fresh is None else 50)


def test_an_expert_without_a_positive_return_is_refused(made):
    outdir, asked = made
    folder = outdir / asked.configs()["Corridor-v0", "vanilla"][0].logdir
    rows = (folder / "episodes.csv").read_text()
    try:
        (folder / "episodes.csv").write_text(rows.replace("expert,0,0,", "expert,0,0,-"))
        with pytest.raises(InputError, match="Corridor-v0"):
            measure_run(folder)
    finally:
        (folder / "episodes.csv").write_text(rows)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--rules no_such_rule", "no_such_rule"),
        ("--rules hg hg", "--rules"),
        ("--rules 'hg seed=3'", "seed=3"),
        ("--rules random --env_names LunarLander-v3", "--labels_per_iter"),
        ("--rules 'disagreement labels_per_iter=50' --env_names LunarLander-v3", "--ensemble"),
        ("--ray_address auto", "--launcher"),
        ("--shard 3/2", "3/2"),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags, word, monkeypatch, capsys, tmp_path):
    assert_refused(call_script(f"label_cost --outdir {tmp_path / 'out'} {flags}", monkeypatch, capsys), word)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        ("", "results/labels"),
        ("--quick", "labels_quick"),
        ("--rules vanilla", "labels"),
        ("--first_seed 2", "labels"),
    ],
)
def test_only_the_whole_study_replaces_the_committed_page(flags, folder, monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setenv("RL_IL_DATA", str(tmp_path))
    monkeypatch.setattr(study, "run_label_cost", lambda _, outdir, *__: asked.append(outdir) or True)
    assert call_script(f"label_cost {flags}", monkeypatch, capsys)[0] == 0
    assert asked == [tmp_path / folder]
