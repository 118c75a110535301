"""What an ablation found: results.csv, table.md, table.tex, figure.png and figure.svg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.ablation.grid import Ablation, variant_name
from rl_il.ablation.jobs import Reference
from rl_il.config import RunConfig
from rl_il.files import atomic_write, write_csv
from rl_il.infrastructure.logger import is_finished
from rl_il.report.figures import Curve, add_caption, draw_curves, new_figure, save
from rl_il.report.runs import Variant, read_run
from rl_il.report.tables import Result, latex, markdown, results_table
from rl_il.statistics import normalise

LOGARITHMIC_FROM = 20  # times the least value that the greatest one must be


@dataclass(frozen=True)
class Finding:
    """One combination of values, and its finished runs."""

    values: dict[str, Any]
    variant: Variant
    random: Result

    @property
    def result(self) -> Result:
        """What its policies scored in the last iteration."""
        return self.variant.result(", ".join(map(str, self.values.values())))


def gather(ablation: Ablation, configs: Sequence[RunConfig], outdir: Path) -> list[Finding]:
    """Every combination that has a finished run, in the order given."""
    findings = []
    for values in ablation.variants:
        folders = {ablation.config(values, seed).logdir for seed in ablation.seeds}
        done = [config for config in configs if config.logdir in folders and has_result(config, outdir)]
        if done:
            references = [Reference(config).read(outdir)["random"][0] for config in done]
            runs = [read_run(outdir / config.logdir) for config in done]
            findings.append(Finding(values, Variant(runs), Result("random policy", references)))
    return findings


def has_result(config: RunConfig, outdir: Path) -> bool:
    """Whether the run is finished, and what it is compared with is measured."""
    return is_finished(outdir / config.logdir) and is_finished(outdir / Reference(config).folder)


def write_results(ablation: Ablation, findings: Sequence[Finding], outdir: Path) -> str:
    """Writes all files into `outdir`; returns the table in Markdown."""
    write_csv(outdir / "results.csv", [row for finding in findings for row in _run_rows(finding, outdir)])
    experts = [finding.variant.expert or Result("none", [np.array([np.nan])]) for finding in findings]
    rows = results_table([finding.result for finding in findings], experts, name=", ".join(ablation.params))
    caption = describe(ablation, findings)
    table = markdown(rows)
    _write(outdir / "table.md", f"{table}\n\n{caption}\n")
    _write(outdir / "table.tex", latex(rows) + "\n")
    plot(ablation, findings, caption, outdir / "figure.png", outdir / "figure.svg")
    return table


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def _run_rows(finding: Finding, outdir: Path) -> list[dict[str, Any]]:
    rows = []
    for run in finding.variant.runs:
        returns, metrics = run.returns[run.last], run.metrics[run.last]
        expert = float(run.expert_returns.mean()) if len(run.expert_returns) else ""
        rows.append(
            finding.values
            | {
                "seed": run.config.seed,
                "eval_return_mean": float(returns.mean()),
                "eval_return_std": float(returns.std()),
                "eval_episodes": len(returns),
                "expert_return_mean": expert,
                "expert_labels": int(metrics["Expert_LabelsSoFar"]),
                "training_loss": metrics["Training Loss"],
                "validation_loss": metrics.get("Validation Loss", ""),
                "folder": str(run.folder.relative_to(outdir)),
            }
        )
    return rows


def describe(ablation: Ablation, findings: Sequence[Finding]) -> str:
    """The caption: what varied, what did not, and how it was measured."""
    config = findings[0].variant.config
    fixed = {
        name: getattr(config, name) for name in ("n_layers", "size", "activation") if name not in ablation.params
    }
    settings = {
        "n_epochs" if config.n_epochs else "num_agent_train_steps_per_iter": "training length",
        "train_batch_size": "minibatch",
        "learning_rate": "learning rate",
        **({"batch_size": "environment steps an iteration"} if config.do_dagger else {}),
        **({"weight_decay": "weight decay"} if config.weight_decay else {}),
        **({"loss": "loss"} if config.loss else {}),
        **({"ep_len": "longest episode"} if config.ep_len else {}),
    }
    network = " x ".join(str(fixed[name]) for name in ("n_layers", "size") if name in fixed)
    parts = [
        f"{network} {fixed.get('activation', '')} network".strip(),
        *(f"{text} {getattr(config, name)}" for name, text in settings.items() if name not in ablation.params),
        "observations standardised" if config.normalize_obs and "normalize_obs" not in ablation.params else "",
    ]
    n_seeds = {len(finding.variant.runs) for finding in findings}
    episodes = {len(returns) for finding in findings for returns in finding.result.returns}
    demos = "all" if config.n_demos is None else config.n_demos
    data = f"{demos} demonstrated episodes" if "n_demos" not in ablation.params else "demonstrated episodes as given"
    last = "the last iteration" if "n_iter" in ablation.params else f"iteration {config.n_iter - 1}"
    algorithm = f"DAgger, {last}" if config.do_dagger else "behavioural cloning"
    where = "" if "env_name" in ablation.params else f"{config.env_name}, "
    return (
        f"{where}{algorithm}; varied: {', '.join(ablation.params)}. {_span(n_seeds)} seeds, {_span(episodes)} fresh"
        " episodes each. The 95 % interval is a bootstrap over episodes within seeds; dots are the seeds' means. The"
        f" same for all: {', '.join(filter(None, parts))}; data: {data}."
    )


def _span(numbers: set[int]) -> str:
    return f"{min(numbers)}" if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def plot(ablation: Ablation, findings: Sequence[Finding], caption: str, *paths: Path) -> None:
    """Return against the values of one setting, a curve for each combination of the others.

    Across environments returns cannot be compared: the random policy's is then 0 and the expert's 1.
    """
    axis = _axis(ablation)
    across = "env_name" in ablation.params
    values = [value for value in ablation.params[axis] if any(f.values[axis] == value for f in findings)]
    numeric = all(type(value) in (int, float) for value in values)
    positions = values if numeric else list(range(len(values)))
    curves: dict[str, list[tuple[float, Result]]] = {}
    for finding in findings:
        others = {name: value for name, value in finding.values.items() if name != axis}
        name = variant_name(others).replace(",", ", ") or "learner, 95 % interval"
        position = positions[values.index(finding.values[axis])]
        curves.setdefault(name, []).append((position, _score(finding) if across else finding.result))
    with new_figure() as (figure, (axes,)):
        drawn = [
            Curve(name, *zip(*sorted(points, key=lambda p: p[0]), strict=True)) for name, points in curves.items()
        ]
        draw_curves(axes, drawn, [] if across else _levels(findings), joined=numeric)
        if numeric and min(values) > 0 and max(values) >= LOGARITHMIC_FROM * min(values):
            axes.set_xscale("log")
            axes.minorticks_off()
        labels = [f"{value:,}" if type(value) is int else f"{value:g}" for value in values] if numeric else values
        axes.set_xticks(positions, [str(label) for label in labels])
        axes.set_xlabel(axis)
        if across:
            axes.set_ylabel("return, from 0 (random policy) to 1 (expert)")
        axes.set_title("" if across else findings[0].variant.config.env_name)
        add_caption(figure, caption)
        save(figure, *paths)


def _axis(ablation: Ablation) -> str:
    """The setting along the axis: the numeric one with the most values, or else the one with the most."""
    numeric = [name for name, values in ablation.params.items() if all(type(v) in (int, float) for v in values)]
    return max(numeric or ablation.params, key=lambda name: len(ablation.params[name]))


def _score(finding: Finding) -> Result:
    expert = finding.variant.expert
    low, high = finding.random.mean, expert.mean if expert else np.nan
    return Result(finding.result.name, [normalise(returns, low, high) for returns in finding.result.returns])


def _levels(findings: Sequence[Finding]) -> list[Result]:
    """The expert and the random policy, unless what decides their scores was varied too."""
    if len({Reference(replace(finding.variant.config, seed=0)).folder for finding in findings}) > 1:
        return []
    fullest = max(findings, key=lambda finding: len(finding.variant.runs))
    return [level for level in (fullest.variant.expert, fullest.random) if level is not None]
