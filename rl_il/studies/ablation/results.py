"""What an ablation found: results.csv, table.md, table.tex, figure.png and figure.svg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.files import atomic_write, read_csv, write_csv
from rl_il.report.figures import Curve, add_caption, draw_curves, new_figure, save
from rl_il.report.runs import Run, Variant, read_run
from rl_il.report.tables import Result, latex, markdown, results_table
from rl_il.runs.folders import is_finished
from rl_il.statistics import normalise
from rl_il.studies.ablation.grid import STEPS, Ablation, variant_name
from rl_il.studies.ablation.jobs import read_reference, reference_folder

LOGARITHMIC_FROM = 20  # an axis is logarithmic if its largest value is so many times its smallest


@dataclass(frozen=True)
class Finding:
    """One combination of values, and its finished runs."""

    values: dict[str, Any]
    variant: Variant
    random: Result

    @property
    def result(self) -> Result:
        """Return what its policies scored in the last iteration."""
        return self.variant.result(", ".join(map(str, self.values.values())))


def gather(ablation: Ablation, outdir: Path) -> list[Finding]:
    """Return every combination that has a finished run, in the order given."""
    findings = []
    for values in ablation.variants:
        configs = [ablation.config(values, seed) for seed in ablation.seeds]
        done = [config for config in configs if has_result(config, outdir)]
        if done:
            random = Result("random policy", [read_reference(config, outdir)["random"][0] for config in done])
            runs = [read_run(outdir / config.logdir) for config in done]
            runs = [at_length(run, values[STEPS]) for run in runs] if ablation.lengths else runs
            findings.append(Finding(values, Variant(runs), random))
    return findings


def has_result(config: RunConfig, outdir: Path) -> bool:
    """Return whether the run is finished, and what it is compared with is measured."""
    return is_finished(outdir / config.logdir) and is_finished(outdir / reference_folder(config))


def at_length(run: Run, steps: int) -> Run:
    """Return the cloning as if it had ended with its evaluation after so many gradient steps."""
    rows, episodes = (
        [row for row in read_csv(run.folder / name) if row["gradient_steps"] == str(steps)]
        for name in ("metrics.csv", "episodes.csv")
    )
    return replace(
        run,
        config=replace(run.config, num_agent_train_steps_per_iter=steps, eval_interval=None),
        metrics=[{name: float(cell) if cell else np.nan for name, cell in row.items()} for row in rows],
        returns={0: np.array([float(row["return"]) for row in episodes])},
        lengths={0: np.array([int(row["length"]) for row in episodes])},
    )


def write_results(ablation: Ablation, findings: Sequence[Finding], outdir: Path) -> str:
    """Write all files into `outdir`, and return the table in Markdown."""
    rows = [finding.values | _run_row(run, outdir) for finding in findings for run in finding.variant.runs]
    write_csv(outdir / "results.csv", rows)
    experts = [finding.variant.expert or Result("none", [np.array([np.nan])]) for finding in findings]
    rows = results_table([finding.result for finding in findings], experts, name=", ".join(ablation.params))
    caption = describe(ablation, findings)
    table = markdown(rows)
    for name, text in (("table.md", f"{table}\n\n{caption}"), ("table.tex", latex(rows))):
        with atomic_write(outdir / name) as file:
            file.write(f"{text}\n".encode())
    plot(ablation, findings, caption, outdir / "figure.png", outdir / "figure.svg")
    return table


def _run_row(run: Run, outdir: Path) -> dict[str, Any]:
    returns, metrics = run.returns[run.last], run.metrics[run.last]
    return {
        "seed": run.config.seed,
        "eval_return_mean": float(returns.mean()),
        "eval_return_std": float(returns.std()),
        "eval_episodes": len(returns),
        "expert_return_mean": float(run.expert_returns.mean()) if len(run.expert_returns) else "",
        "expert_labels": int(metrics["Expert_LabelsSoFar"]),
        "training_loss": metrics["Training Loss"],
        "validation_loss": metrics.get("Validation Loss", ""),
        "folder": str(run.folder.relative_to(outdir)),
    }


def describe(ablation: Ablation, findings: Sequence[Finding]) -> str:
    """Return the caption: what varied, what did not, and how it was measured."""
    config, varied = findings[0].variant.config, ablation.params
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
        "ep_len": "longest episode",
        "normalize_obs": "standardised observations",
        "n_demos": "demonstrated episodes",
    }
    values = {name: getattr(config, name) for name in settings} | {"n_demos": config.n_demos or "all"}
    same = [f"{settings[name]} {value}" for name, value in values.items() if value and name not in varied]
    last = "the last iteration" if "n_iter" in varied else f"iteration {config.n_iter - 1}"
    algorithm = f"DAgger, {last}" if config.do_dagger else "behavioural cloning"
    where = "" if "env_name" in varied else f"{config.env_name}, "
    n_seeds = {len(finding.variant.runs) for finding in findings}
    episodes = {len(returns) for finding in findings for returns in finding.result.returns}
    return (
        f"{where}{algorithm}; varied: {', '.join(varied)}. {_span(n_seeds)} seeds, {_span(episodes)} fresh"
        " episodes each. The 95 % interval is a bootstrap over episodes within seeds; dots are the seeds' means. The"
        f" same for all: {', '.join(same)}."
    )


def _span(numbers: set[int]) -> str:
    return f"{min(numbers)}" if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def plot(ablation: Ablation, findings: Sequence[Finding], caption: str, *paths: Path) -> None:
    """Draw the return against the values of one setting, with a curve for each combination of the others.

    Across environments returns cannot be compared: the random policy's is then 0 and the expert's 1.
    """
    axis, across = _axis(ablation), "env_name" in ablation.params
    values = [value for value in ablation.params[axis] if any(f.values[axis] == value for f in findings)]
    numeric = all(type(value) in (int, float) for value in values)
    positions = dict(zip(values, values if numeric else range(len(values)), strict=True))
    curves: dict[str, list[tuple[float, Result]]] = {}
    for finding in findings:
        others = {name: value for name, value in finding.values.items() if name != axis}
        name = variant_name(others).replace(",", ", ") or "learner, 95 % interval"
        point = positions[finding.values[axis]], _score(finding) if across else finding.result
        curves.setdefault(name, []).append(point)
    with new_figure() as (figure, (axes,)):
        in_order = {name: sorted(points, key=lambda point: point[0]) for name, points in curves.items()}
        drawn = [Curve(name, *zip(*points, strict=True)) for name, points in in_order.items()]
        draw_curves(axes, drawn, [] if across else _levels(findings), joined=numeric)
        if numeric and min(values) > 0 and max(values) >= LOGARITHMIC_FROM * min(values):
            axes.set_xscale("log")
            axes.minorticks_off()
        labels = [f"{value:,}" if type(value) is int else f"{value:g}" for value in values] if numeric else values
        axes.set_xticks(list(positions.values()), [str(label) for label in labels])
        axes.set_xlabel(axis)
        if across:
            axes.set_ylabel("return, from 0 (random policy) to 1 (expert)")
        axes.set_title("" if across else findings[0].variant.config.env_name)
        add_caption(figure, caption)
        save(figure, *paths)


def _axis(ablation: Ablation) -> str:
    """Return the setting along the axis: the numeric one with the most values, or else the one with the most."""
    numeric = [name for name, values in ablation.params.items() if all(type(v) in (int, float) for v in values)]
    return max(numeric or ablation.params, key=lambda name: len(ablation.params[name]))


def _score(finding: Finding) -> Result:
    expert = finding.variant.expert
    low, high = finding.random.mean, expert.mean if expert else np.nan
    return Result(finding.result.name, [normalise(returns, low, high) for returns in finding.result.returns])


def _levels(findings: Sequence[Finding]) -> list[Result]:
    """Return the expert and the random policy, unless what decides their scores was varied too."""
    if len({reference_folder(replace(finding.variant.config, seed=0)) for finding in findings}) > 1:
        return []
    fullest = max(findings, key=lambda finding: len(finding.variant.runs))
    return [level for level in (fullest.variant.expert, fullest.random) if level is not None]
