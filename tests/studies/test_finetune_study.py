"""The study of PPO from clones: what its numbers mean, and a small one with Stable-Baselines3 (`make test-sb3`)."""

import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from calling import call_script
from PIL import Image
from run_folders import write_run

from rl_il.errors import InputError
from rl_il.files import read_csv
from rl_il.finetune_config import FinetuneConfig
from rl_il.report.runs import Variant, read_run
from rl_il.studies import finetune
from rl_il.studies.ablation.launch import Launcher
from rl_il.studies.finetune import TASKS, VARIANTS, Task, run_finetuning, tuning_config
from rl_il.studies.finetune_results import FILES, Group, lowest_shown, table_rows, verdict

SEEDS = {  # two episodes in each of five evaluations
    1: [[10, 30], [0, 10], [210, 190], [220, 220], [210, 210]],
    2: [[50, 50], [0, 0], [390, 410], [0, 0], [0, 0]],
    3: [[60, 60], [250, 250], [200, 200], [240, 240], [90, 110]],
}


def group(tmp_path: Path, goal: float = 174, seeds=(1, 2, 3), key: str = "", returns=SEEDS) -> Group:
    """Return seeds of PPO. All three have the means 43.3, 85, 266.7, 153.3, 103.3."""
    config = FinetuneConfig(policy="clone.pt", env_name="Corridor-v0", from_nothing=key in ("nothing", "plain"))
    runs = [
        read_run(write_run(tmp_path / f"{key}_{seed}", replace(config, seed=seed), dict(enumerate(returns[seed]))))
        for seed in seeds
    ]
    return Group("Corridor-v0", Variant(runs, "tuned"), goal, key=key)


def test_steps_to_a_return_are_those_of_the_mean_and_of_each_seed(tmp_path):
    (heading, row) = table_rows([group(tmp_path)])
    found = dict(zip(heading, row, strict=True))  # `write_run` counts 1,000 environment steps an iteration
    assert found["steps to 174"] == "2,000"  # the means of three in a row are 131.7, 168.3, 174.4
    assert found["single seeds"] == "2,000, not reached, 1,000"  # a single evaluation of 400 does not count
    assert (found["at the beginning"], found["at the end"]) == ("43.3", "103.3")
    assert found["lowest below it (steps)"] == "-41.7 (1,000)"


def test_new_weights_do_not_decide_where_the_axis_begins(tmp_path):
    clone = group(tmp_path, seeds=[1], key="protected", returns={1: [[10], [210]]})
    nothing = group(tmp_path, seeds=[1], key="nothing", returns={1: [[-100], [300]]})
    assert lowest_shown([clone, nothing]) == pytest.approx(-10)  # a tenth of 200 below 10
    assert lowest_shown([nothing]) is None


def test_too_few_evaluations_reach_nothing(tmp_path):
    assert group(tmp_path, goal=0).steps_to_goal([1, 2]) == np.inf
    assert group(tmp_path / "more", goal=0).steps_to_goal([1, 2, 3]) == 0


def test_the_lowest_is_of_the_mean_over_the_seeds_after_the_beginning(tmp_path):
    assert group(tmp_path, seeds=[1, 2]).lowest == (pytest.approx(35 - 2.5), 1000)
    assert group(tmp_path / "last", seeds=[3]).lowest == (-40, 4000)  # never below


def test_a_seed_that_lacks_an_evaluation_is_named(tmp_path):
    with pytest.raises(InputError, match="_2: "):
        group(tmp_path, returns=SEEDS | {2: SEEDS[2][:4]})


@pytest.mark.parametrize(
    ("protected", "nothing", "answers"),
    [
        ([10, -40, 200, 200, 200], [-100, 0, 0, 200, 200], ["yes", "yes", "yes"]),
        ([10, -41, 200, 200, 200], [-100, 200, 200, 200, 200], ["no", "yes", "no"]),
        ([10, 200, 200, 200, 10], [-100, 0, 200, 200, 200], ["yes", "no", "yes"]),
        ([10, 20, 20, 20, 20], [0, 0, 0, 0, 0], ["yes", "yes", "no"]),  # none reaches the goal
    ],
)
def test_the_verdict_says_yes_and_no(tmp_path, protected, nothing, answers):
    both = {"protected": protected, "nothing": nothing}
    groups = [group(tmp_path, 200, [1], key, {1: [[mean] for mean in means]}) for key, means in both.items()]
    said = [part.rpartition(": ")[2].strip(".") for part in verdict(groups).split(";")]
    assert said == answers
    assert "yes" not in verdict(groups[:1])
    never = group(tmp_path, 200, [1], "plain", {1: [[0]] * 5})
    answer = verdict([*groups, never]).rpartition(": ")[2]
    assert answer == ("yes." if max(protected) >= 200 else "no.")


def test_the_variants_differ_in_what_their_names_say(tmp_path):
    for task in TASKS.values():
        protected, other, library, nothing, plain = (tuning_config(task, name, 7, tmp_path) for name in VARIANTS)

        def changed(one, two):
            names = {name for name, value in vars(one).items() if getattr(two, name) != value}
            return names - {"logdir"}

        assert protected.warmup > 0 and protected.kl_weight(0) > 0
        assert all(each.warmup == each.kl_weight(0) == 0 for each in (other, library, nothing))
        protections = {"critic_warmup", "kl_to_clone", "kl_until"}
        assert changed(protected, other) == protections | {"temperature"} and other.temperature == 1
        assert changed(protected, nothing) - {"temperature"} == protections | {"from_nothing"}
        assert nothing.from_nothing and nothing.softening == 1
        assert "lr_schedule" in changed(other, library) <= {"lr_schedule", "learning_rate"}
        assert plain.from_nothing and plain.n_envs == plain.reward_scale == 1 and plain.lr_schedule == "constant"
        assert protected.policy.endswith("clone/seed_7/policy_itr_0.pt")


def test_a_missing_library_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(InputError, match="sb3"):
        run_finetuning(list(TASKS.values()), tmp_path / "out", [1])
    assert not (tmp_path / "out").exists()


SMALL = {"n_envs": 2, "n_steps": 16, "train_batch_size": 16, "total_timesteps": 64, "eval_every": 32, "ep_len": 30}
CAR = {"env_name": "MountainCar-v0", "eval_episodes": 2}
TASK = Task(
    replace(finetune.LANDER.cloning, num_agent_train_steps_per_iter=10, ep_len=30, **CAR),
    replace(finetune.LANDER.tuning, critic_warmup=32, **CAR, **SMALL),
    goal=-29,
)


@pytest.mark.sb3
def test_the_settings_of_the_library_are_its_defaults(tmp_path):
    from stable_baselines3 import PPO

    parameters = signature(PPO).parameters
    for task in TASKS.values():
        plain = tuning_config(task, "plain", 7, tmp_path)
        for name in "learning_rate n_steps n_epochs gamma gae_lambda clip_range ent_coef".split():
            assert getattr(plain, name) == parameters[name].default
        assert plain.train_batch_size == parameters["batch_size"].default


@pytest.mark.sb3
def test_a_small_study_is_made_once_and_keeps_the_page(tmp_path):
    (tmp_path / "README.md").write_text("Before.\n<!-- written by finetune_study.py: begin -->\n")
    assert run_finetuning([TASK], tmp_path, [1, 2], Launcher(processes=2))
    page, rows = (tmp_path / "README.md").read_text(), read_csv(tmp_path / "results.csv")
    assert page.startswith("Before.\n") and all(name in page for name, _ in VARIANTS.values())
    assert page.count("Was the aim reached?") == 1 and "{" not in page
    assert len(rows) == (len(VARIANTS) - 1) * 2 * 3 + 2 * 2
    assert {row["environment_steps"] for row in rows} == {"0", "32", "64", "2048"}  # the library's steps an update
    firsts = [row["mean_return"] for row in rows if row["environment_steps"] == "0"]
    assert firsts[:2] == firsts[2:4]  # both begin with the same clones
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > 400
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    ended = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    assert len(ended) > len(VARIANTS) * 2
    assert run_finetuning([TASK], tmp_path, [1, 2])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == ended  # none is made again
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before


def test_the_command_names_the_tasks(monkeypatch, capsys):
    assert {*TASKS} == {"LunarLander-v3", "Hopper-v5"}
    status, _, err = call_script("finetune_study --env_names Ant-v5", monkeypatch, capsys)
    assert status == 2 and "LunarLander-v3" in err


@pytest.mark.parametrize(
    ("flags", "folder"),
    [("", "results/finetune"), ("--env_names Hopper-v5", "finetune"), ("--seeds 1", "finetune")],
)
def test_only_the_whole_study_replaces_the_committed_page(flags, folder, monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setenv("RL_IL_DATA", str(tmp_path))
    monkeypatch.setattr(finetune, "run_finetuning", lambda _, outdir, *__: asked.append(outdir) or True)
    assert call_script(f"finetune_study {flags}", monkeypatch, capsys)[0] == 0
    assert asked == [tmp_path / folder]
