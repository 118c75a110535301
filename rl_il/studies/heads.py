"""Mean squared error, mixture and flow compared where experts do not agree with themselves: the bird, and Push-T."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_il.config import RunConfig
from rl_il.datasets.pusht import find_demonstrations
from rl_il.envs import env_of
from rl_il.envs.bird import GAP
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.files import atomic_write
from rl_il.report.figures import COLOURS, add_caption, new_figure, save
from rl_il.report.tables import PAIRED, Result, count, interval_caption, markdown, results_table
from rl_il.runs.evaluate import record_demos
from rl_il.studies.ablation.grid import Ablation
from rl_il.studies.ablation.launch import Launcher
from rl_il.studies.ablation.results import VariantResult, gather
from rl_il.studies.ablation.sweep import run_ablation
from rl_il.studies.replay import replay, show_episode
from rl_il.types import Actor

HEADS = {"gaussian": "mse", "mixture": "mixture", "flow": "flow"}
"""The heads that are compared, with their names in tables."""

# The bird. The settings were chosen with seed 1001, which the table does not use.
BIRDS = {"Bird-v0": "easy", "BirdHard-v0": "hard"}
BIRD_DEMOS = 20
BIRD = RunConfig(
    do_dagger=True,
    n_iter=3,
    batch_size=5000,
    num_agent_train_steps_per_iter=5000,
    train_batch_size=128,
    learning_rate=1e-3,
    size=128,
    activation="relu",
    normalize_obs=True,
    normalize_acs=True,
    chunk=8,
    eval_episodes=20,
    scalar_log_freq=2,  # evaluate iteration 0, which is behavioural cloning, and the last iteration
    video_log_freq=-1,
)
TWO_GAPS = np.array([1.0, 0.22, 0.78, 0.5], np.float32)  # a pipe with two gaps comes next, the bird is between them
DRAWN = 40  # plans of each policy in the figure

# Push-T, with the settings of CS285 (spring 2026): as many minibatches as its 400 epochs of 24,208 windows have. The
# settings TUNED were chosen on episodes with other seeds than those of the table.
COURSE = RunConfig(
    env_name="gym_pusht/PushT-v0",
    num_agent_train_steps_per_iter=75_600,
    train_batch_size=128,
    learning_rate=3e-4,
    n_layers=3,
    size=256,
    activation="relu",
    normalize_obs=True,
    normalize_acs=True,
    chunk=8,
    eval_seeds="0:100",
    video_log_freq=-1,
)
TUNED = replace(
    COURSE,
    head="mixture",
    modes=20,
    size=512,
    layer_norm=True,
    dropout=0.1,
    execute=4,
    pad_chunks=True,
    train_batch_size=256,
    learning_rate=5e-4,
    lr_schedule="cosine",
    average_weights=True,
    num_agent_train_steps_per_iter=200_000,
)


def study_bird(out: Path, runs: Path, n_seeds: int, processes: int, settings: RunConfig = BIRD) -> bool:
    """Compare BC and DAgger with each head on the bird. Write bird.md and bird.png.

    Args:
      out: the folder of the table and the figure.
      runs: the folder of demonstrations and runs; finished runs are not made again.
      n_seeds: the number of runs of each head, with the seeds 1, 2, ...
      processes: the number of runs at a time.
      settings: the settings of all runs.

    Returns:
      True if every run ended without an error.

    Raises:
      InputError: all runs failed, or `runs` holds runs with other settings.
    """
    ok, results, experts, hard = True, [], [], []
    for env_name, mode in BIRDS.items():
        demos = runs / f"{env_name}.npz"
        if not demos.exists():
            record_demos(env_name, demos, n_demos=BIRD_DEMOS)
        config = replace(settings, env_name=env_name, expert_data=str(demos))
        all_ended, hard = compare(config, list(HEADS), n_seeds, runs / env_name, processes)
        ok &= all_ended
        for algorithm, itr in (("BC", 0), ("DAgger", settings.n_iter - 1)):
            for each in hard:
                name = f"{mode}, {algorithm}, {HEADS[each.values['head']]}"
                results.append(each.variant.result(name, itr))
                experts.append(each.variant.expert)
    rows = results_table(results, experts, name="bird", show_experts=True)
    write_table(out / "bird.md", rows, bird_caption(settings, n_seeds, results))
    draw_plans(out / "bird.png", hard)
    print(out / "bird.png")
    return ok


def study_pusht(
    out: Path,
    runs: Path,
    demos: Path,
    n_seeds: int,
    processes: int,
    course: RunConfig = COURSE,
    tuned: RunConfig | None = None,
) -> bool:
    """Compare each head on Push-T with the course's settings. Write pusht.md and, of tuned settings, pusht.gif.

    Args:
      demos: the file of the demonstrations, or the folder where they are found or downloaded to.
      out, runs, n_seeds, processes: as for `study_bird`.
      course: the settings for each head.
      tuned: the settings of one more row, such as `TUNED`.

    Returns and raises the same as `study_bird`.
    """
    settings = [(course, list(HEADS), "course")] + ([] if tuned is None else [(tuned, [tuned.head], "tuned")])
    found, ok, results = str(find_demonstrations(demos)), True, []
    for config, heads, name in settings:
        config = replace(config, expert_data=found)
        all_ended, compared = compare(config, heads, n_seeds, runs / name, processes)
        ok &= all_ended
        mark = "" if name == "course" else f", {name}"
        results += [each.variant.result(HEADS[each.values["head"]] + mark) for each in compared]
    replayed = replay(replace(course, expert_data=found))
    rows = results_table([*results, replayed], replayed, name="policy")
    write_table(out / "pusht.md", rows, pusht_caption(course, tuned, n_seeds, results))
    if tuned is not None:
        show_episode(out / "pusht.gif", compared[0])
        print(out / "pusht.gif")
    return ok


def compare(
    config: RunConfig, heads: Sequence[str], n_seeds: int, outdir: Path, processes: int
) -> tuple[bool, list[VariantResult]]:
    """Make the missing runs of each head; return whether all ended without an error, and their results.

    Raise `InputError` if all failed.
    """
    ablation = Ablation(config, {"head": list(heads)}, n_seeds)
    outcome = run_ablation(ablation, outdir, Launcher(processes=processes))
    results = gather(ablation, outdir)
    if not results:
        raise InputError(f"{outdir}: all runs failed; log.txt in this folder has the reasons")
    return not outcome.failures, results


def write_table(path: Path, rows: Sequence[Sequence[str]], caption: str) -> None:
    """Write and print the table with its caption."""
    text = f"{markdown(rows)}\n\n{caption}\n"
    with atomic_write(path) as file:
        file.write(text.encode())
    print(f"\n{text}\n{path}")


def bird_caption(settings: RunConfig, n_seeds: int, results: Sequence[Result]) -> str:
    """Return how the bird's returns were measured, and the settings."""
    return (
        f"Steps that the bird survives, of 1,000: {count(n_seeds, 'seed')}, {settings.eval_episodes} new episodes"
        f" each. {interval_caption(results)} {PAIRED} BC: behavioural cloning of {BIRD_DEMOS} episodes. DAgger: after"
        f" {count(settings.n_iter - 1, 'more iteration')} of at least {settings.batch_size:,} labelled steps each."
        f" {training_text(settings)}"
    )


def pusht_caption(course: RunConfig, tuned: RunConfig | None, n_seeds: int, results: Sequence[Result]) -> str:
    """Return how Push-T's scores were measured, and both settings."""
    changed = [name for name in vars(course) if tuned and getattr(course, name) != getattr(tuned, name)]
    changes = ", ".join(f"{name} {getattr(tuned, name)}" for name in changed)
    return (
        "Score: the largest reward of an episode: the covered share of the goal divided by 0.95, at most 1."
        f" {count(n_seeds, 'training seed')}, on the episodes with the seeds {course.eval_seeds}."
        f" {interval_caption(results)} Replayed: the actions of each demonstration, from its first state; % of expert"
        f" is of their score. {training_text(course)} Minibatches are drawn with replacement, as many as 400 epochs"
        " of the course have." + (f" Tuned: {changes}." if tuned else "")
    )


def training_text(config: RunConfig) -> str:
    """Return the settings of the network and of its training."""
    return (
        f"{config.n_layers} x {config.size} {config.activation}, chunks of {config.chunk} actions,"
        f" {config.num_agent_train_steps_per_iter:,} gradient steps of {config.train_batch_size} rows an iteration,"
        f" learning rate {config.learning_rate:g}, standardised observations and actions."
    )


def draw_plans(path: Path, results: Sequence[VariantResult]) -> None:
    """Draw plans of the expert and of the first seed's BC policy of each head at a state with two gaps."""
    config = results[0].variant.runs[0].config
    with closing(env_of(config)) as env:
        actors = {"expert": load_actor("expert", env)}
        for each in results:
            first = each.variant.runs[0].folder / "policy_itr_0.pt"
            actors[HEADS[each.values["head"]]] = load_actor(first, env)
    with new_figure(len(actors), (9, 2.6)) as (figure, axes):
        for i, (axis, (name, actor)) in enumerate(zip(axes, actors.items(), strict=True)):
            for gap in TWO_GAPS[1:3]:
                axis.axhspan(gap - GAP, gap + GAP, color="#dddddd", linewidth=0)
            drawn = plans(actor, TWO_GAPS, config.chunk)
            axis.plot(range(1, config.chunk + 1), drawn.T, color=COLOURS[i], linewidth=0.8)
            axis.set_title(f"{name}: {count(len(np.unique(drawn, axis=0)), 'plan')}", fontsize=9)
            axis.set_ylim(0, 1)
            axis.set_xlabel("action of the plan")
        axes[0].set_ylabel("target height")
        caption = (
            f"{DRAWN} plans of the expert and of BC policies (seed {config.seed}) at one state of {config.env_name}:"
            " a pipe with two gaps (grey) comes next, and the bird is between them."
        )
        add_caption(figure, caption)
        save(figure, path)


def plans(actor: Actor, ob: np.ndarray, chunk: int) -> np.ndarray:
    """Return `DRAWN` plans of an actor that is at one observation in different episodes, `(DRAWN, chunk)`."""
    found = []
    for seed in range(DRAWN):
        actor.reset(seed)
        found.append([float(actor.get_action(ob)[0]) for _ in range(chunk)])
    return np.array(found)
