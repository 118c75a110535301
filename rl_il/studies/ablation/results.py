"""The results of an ablation, and its files: results.csv, table.md, table.tex, figure.png and figure.svg."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import ENV, RunConfig
from rl_il.envs import env_row
from rl_il.files import atomic_write, read_csv, write_csv
from rl_il.report.figures import Curve, add_caption, draw_curves, new_figure, save
from rl_il.report.runs import Run, Variant, read_episodes, read_run
from rl_il.report.tables import PAIRED, Result, count, interval_caption, latex, markdown, measure_name, results_table
from rl_il.runs.folders import is_finished
from rl_il.statistics import episode_spread, normalise
from rl_il.studies.ablation.grid import STEPS, Ablation, variant_name
from rl_il.studies.ablation.jobs import read_reference, reference_folder

LOGARITHMIC_FROM = 20  # the axis is logarithmic if the largest value is at least this many times the smallest


@dataclass(frozen=True)
class VariantResult:
    """One combination of values, its finished runs, and the random policy's returns on their episodes."""

    values: dict[str, Any]
    variant: Variant
    random: Result

    @functools.cached_property
    def final(self) -> Result:
        """Return the result of the runs' last evaluations; its name has the values."""
        return self.variant.result(", ".join(map(str, self.values.values())))


def gather(ablation: Ablation, outdir: Path) -> list[VariantResult]:
    """Return a result for each combination that has a finished run, in the order of the ablation's values."""
    results = []
    for values in ablation.variants:
        configs = [ablation.config(values, seed) for seed in ablation.seeds]
        done = [config for config in configs if has_result(config, outdir)]
        if done:
            runs = [read_run(outdir / config.logdir) for config in done]
            read = [read_reference(config, outdir)["random"] for config in done]
            episodes = {run.start: each for run, each in zip(runs, read, strict=True)}
            scores, measure = [each.scores for each in episodes.values()], env_row(done[0].env_name).measure
            random = Result.of_one_policy("random policy", scores, measure)
            runs = [at_length(run, values[STEPS]) for run in runs] if ablation.lengths else runs
            results.append(VariantResult(values, Variant(runs), random))
    return results


def has_result(config: RunConfig, outdir: Path) -> bool:
    """Return whether the run is finished and its reference returns are measured."""
    return is_finished(outdir / config.logdir) and is_finished(outdir / reference_folder(config))


def at_length(run: Run, steps: int) -> Run:
    """Return the run as if its training had ended at the evaluation after `steps` gradient steps."""
    rows, episodes = (
        [row for row in read_csv(run.folder / name) if row["gradient_steps"] == str(steps)]
        for name in ("metrics.csv", "episodes.csv")
    )
    return replace(
        run,
        config=replace(run.config, num_agent_train_steps_per_iter=steps, eval_interval=None),
        metrics=[{name: float(cell) if cell else np.nan for name, cell in row.items()} for row in rows],
        scores={0: read_episodes(episodes).scores},
        lengths={0: read_episodes(episodes).lengths},
    )


def write_results(ablation: Ablation, results: Sequence[VariantResult], outdir: Path) -> tuple[str, str]:
    """Write all files into `outdir`; return the table in Markdown, and its caption."""
    rows = [result.values | _run_row(run, outdir) for result in results for run in result.variant.runs]
    write_csv(outdir / "results.csv", rows)
    experts = [result.variant.expert or Result("none", [np.array([np.nan])]) for result in results]
    rows = results_table(
        [result.final for result in results], experts, name=", ".join(ablation.params), show_experts=True
    )
    caption = make_caption(ablation, results)
    table = markdown(rows)
    for name, text in (("table.md", f"{table}\n\n{caption}"), ("table.tex", f"% {caption}\n{latex(rows)}")):
        with atomic_write(outdir / name) as file:
            file.write(f"{text}\n".encode())
    plot(ablation, results, caption, outdir / "figure.png", outdir / "figure.svg")
    return table, caption


def _run_row(run: Run, outdir: Path) -> dict[str, Any]:
    scores, metrics, expert = run.scores[run.last], run.metrics[run.last], run.expert.scores
    measure = env_row(run.config.env_name).measure.name
    return {
        "seed": run.config.seed,
        f"eval_{measure}_mean": float(scores.mean()),
        f"eval_{measure}_std": episode_spread([scores]) if len(scores) > 1 else "",
        "eval_episodes": len(scores),
        f"expert_{measure}_mean": float(expert.mean()) if len(expert) else "",
        "expert_labels": int(metrics["Expert_LabelsSoFar"]),
        "training_loss": metrics["Training Loss"],
        "validation_loss": metrics.get("Validation Loss", ""),
        "folder": str(run.folder.relative_to(outdir)),
    }


def make_caption(ablation: Ablation, results: Sequence[VariantResult]) -> str:
    """Return the caption: what was varied, how the returns were measured, and the other settings."""
    config, varied = results[0].variant.config, ablation.params
    settings = {
        "n_layers": "layers",
        "size": "units a layer",
        "activation": "activation",
        "n_epochs" if config.n_epochs else STEPS: "training length",
        "train_batch_size": "minibatch",
        "learning_rate": "learning rate",
        **({"batch_size": "environment steps an iteration"} if config.do_dagger else {}),
        "weight_decay": "weight decay",
        "loss": "loss",
        "policy_class": "policy class",
        "head": "head",
        "ep_len": "longest episode",
        "normalize_obs": "standardised observations",
        "n_demos": "demonstrated episodes",
    }
    if config.policy_class:  # its network may have other layers
        settings = {name: text for name, text in settings.items() if name not in ("n_layers", "size", "activation")}
    values = {name: getattr(config, name) for name in settings} | {"n_demos": config.n_demos or "all"}
    shown = {settings[name]: value for name, value in values.items() if value and name not in varied}
    same = [name if value is True else f"{name} {value}" for name, value in shown.items()]
    last = "the last iteration" if "n_iter" in varied else f"iteration {config.n_iter - 1}"
    algorithm = f"DAgger, {last}" if config.do_dagger else "behavioural cloning"
    where = "" if {*ENV} & {*varied} else f"{config.env_title}, "
    finals = [result.final for result in results]
    n_seeds = _counted({len(result.variant.runs) for result in results}, "seed")
    episodes = _counted({len(scores) for final in finals for scores in final.scores}, "new episode")
    dots = (
        "" if all(final.is_one_policy for final in finals) else " Dots in the figure are the means of single seeds."
    )
    paired = f" {PAIRED}" if any(result.variant.expert for result in results) else ""
    return (
        f"{where}{algorithm}; varied: {', '.join(varied)}. {n_seeds}, {episodes} each."
        f" {interval_caption(finals)}{dots}{paired} The same for all: {', '.join(same)}."
    )


def _counted(numbers: set[int], what: str) -> str:
    """Return `5 seeds`, or `3 to 5 seeds` if the numbers differ."""
    return ("" if len(numbers) == 1 else f"{min(numbers)} to ") + count(max(numbers), what)


def plot(ablation: Ablation, results: Sequence[VariantResult], caption: str, *paths: Path) -> None:
    """Draw the return against the values of one setting, with a curve for each combination of the others.

    If the environment is varied, returns cannot be compared. Then they are normalised: the random policy has 0 and
    the expert 1.
    """
    axis, across = _axis(ablation), "env_name" in ablation.params
    values = [value for value in ablation.params[axis] if any(r.values[axis] == value for r in results)]
    numeric = all(type(value) in (int, float) for value in values)
    positions = dict(zip(values, values if numeric else range(len(values)), strict=True))
    curves: dict[str, list[tuple[float, Result]]] = {}
    for result in results:
        others = {name: value for name, value in result.values.items() if name != axis}
        name = variant_name(others).replace(",", ", ") or "learner"
        point = positions[result.values[axis]], _score(result) if across else result.final
        curves.setdefault(name, []).append(point)
    with new_figure() as (figure, (axes,)):
        in_order = {name: sorted(points, key=lambda point: point[0]) for name, points in curves.items()}
        drawn = [Curve(name, *zip(*points, strict=True)) for name, points in in_order.items()]
        draw_curves(axes, drawn, [] if across else _levels(results), joined=numeric)
        if numeric and min(values) > 0 and max(values) >= LOGARITHMIC_FROM * min(values):
            axes.set_xscale("log")
            axes.minorticks_off()
        labels = [f"{value:,}" if type(value) is int else f"{value:g}" for value in values] if numeric else values
        axes.set_xticks(list(positions.values()), [str(label) for label in labels])
        axes.set_xlabel(axis)
        if across:
            axes.set_ylabel(
                f"{measure_name([result.final for result in results])}, from 0 (random policy) to 1 (expert)"
            )
        axes.set_title("" if across else results[0].variant.config.env_title)
        add_caption(figure, caption)
        save(figure, *paths)


def _axis(ablation: Ablation) -> str:
    """Return the setting for the x axis: the one with the most values, numeric if possible."""
    numeric = [name for name, values in ablation.params.items() if all(type(v) in (int, float) for v in values)]
    return max(numeric or ablation.params, key=lambda name: len(ablation.params[name]))


def _score(result: VariantResult) -> Result:
    expert = result.variant.expert
    low, high = result.random.mean, expert.mean if expert else np.nan
    return Result(result.final.name, [normalise(scores, low, high) for scores in result.final.scores])


def _levels(results: Sequence[VariantResult]) -> list[Result]:
    """Return the expert and the random policy; an empty list if their returns depend on a setting that was varied."""
    if len({reference_folder(replace(result.variant.config, seed=0)) for result in results}) > 1:
        return []
    fullest = max(results, key=lambda result: len(result.variant.runs))
    return [level for level in (fullest.variant.expert, fullest.random) if level is not None]
