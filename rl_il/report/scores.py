"""Tables and figures of what the policies of an environment scored."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rl_il.infrastructure.progress import progress
from rl_il.report.page import Block, Note, Table, Text
from rl_il.report.pictures import in_parts, profiles_picture, results_picture
from rl_il.report.runs import Variant
from rl_il.report.tables import Result, results_table
from rl_il.report.tasks import NO_EXPERT, Task
from rl_il.statistics import bootstrap_interval, iqm, normalise, optimality_gap, probability_of_improvement

EXPLANATIONS = [
    Text(
        "The 95 % intervals are bootstrap intervals over episodes, which are redrawn within their seed: they speak of"
        " new episodes of these very runs. What another seed would change stands apart, as the spread of the seeds'"
        ' means. "Expert labels" counts the labelled steps that a policy learnt from.'
    ),
    Text(
        "The statistics are those of Agarwal et al. (2021), over episodes. The interquartile mean is that of the"
        " middle half. A score is 0 for the random policy and 1 for the live expert, as they were measured; the"
        " optimality gap is by how much scores fall short of 1 on average. The probability of improvement is how"
        " probably an episode returns more than one of the first row's policy, a tie counting half."
    ),
]

Measured = tuple[Result, Variant]


def last_result(variant: Variant, name: str) -> Result:
    """The variant in the last iteration that all of its runs evaluated."""
    return variant.result(name, variant.itrs[-1])


def measured(task: Task) -> list[Measured]:
    """Behavioural cloning and each variant's last iteration, in order; DAgger's iteration 0 is cloning."""
    rows = []
    for name, variant in task.named:
        if not variant.config.do_dagger:
            rows.append((last_result(variant, name), variant))
            continue
        if 0 in variant.itrs and len(variant.itrs) > 1:
            rows.append((variant.result(clone_name(task, name), 0), variant))
        rows.append((last_result(variant, f"{name}, iteration {variant.itrs[-1]}"), variant))
    return rows


def clone_name(task: Task, name: str) -> str:
    """What iteration 0 of a DAgger variant is called."""
    return "BC (iteration 0)" if len(task.variants) == 1 else f"BC (iteration 0 of {name})"


def result_blocks(task: Task) -> list[Block]:
    """The table of returns, the table of statistics, and the figures of both."""
    pairs = measured(task)
    scores = [_scores(task, result, variant) for result, variant in pairs]
    blocks: list[Block] = [Table(f"Returns in {task.env_name}", _returns(task, pairs))]
    blocks += [Note(task.note)] if task.note else []
    blocks.append(Table(f"Statistics in {task.env_name}", _statistics(pairs, scores)))
    if None in scores:
        blocks.append(
            Text(
                "Without a random policy and a better live expert there are no scores, and so no optimality gap and"
                " no performance profiles."
            )
        )
    levels = [*task.experts.values(), *([task.random] if task.random else [])]
    caption = "Mean return, its 95 % interval (bar) and the means of single seeds (small dots)."
    for suffix, part in in_parts(pairs if len(pairs) > 1 else [], 12):
        blocks.append(results_picture(file_name(task, "results") + suffix, caption, [r for r, _ in part], levels))
    shown = [(result.name, np.concatenate(score)) for (result, _), score in zip(pairs, scores, strict=True) if score]
    caption = "Performance profiles: the fraction of episodes, all seeds pooled, that score above each value."
    for suffix, part in in_parts(shown):
        blocks.append(profiles_picture(file_name(task, "profiles") + suffix, caption, part))
    return blocks


def _returns(task: Task, pairs: Sequence[Measured]) -> list[list[str]]:
    experts = task.experts
    first = next(iter(experts.values()), NO_EXPERT)
    rows = [(task.random, first)] if task.random else []
    rows += [(expert, expert) for expert in experts.values()]
    rows += [(result, task.expert(variant)) for result, variant in pairs]
    results, beside = [result for result, _ in rows], [expert for _, expert in rows]
    same = len(experts) < 2 and len({id(task.expert(variant)) == id(NO_EXPERT) for _, variant in pairs}) < 2
    return results_table(results, first if same else beside)


def _scores(task: Task, result: Result, variant: Variant) -> list[np.ndarray] | None:
    """Normalised scores, an array a seed; None where there is nothing to normalise by."""
    expert = task.expert(variant)
    if task.random is None or not expert.mean > task.random.mean:
        return None
    return [normalise(returns, task.random.mean, expert.mean) for returns in result.returns]


def _statistics(pairs: Sequence[Measured], scores: Sequence[list[np.ndarray] | None]) -> list[list[str]]:
    rows = [["policy", "interquartile mean", "95 % interval", "optimality gap", "95 % interval"]]
    first = pairs[0][0]
    rows[0] += ["probability of improvement", "95 % interval"] if len(pairs) > 1 else []
    for (result, _), score in progress(zip(pairs, scores, strict=True), len(pairs), "statistics"):
        row = [result.name, f"{iqm(result.episodes):.1f}", _range(bootstrap_interval(result.returns, iqm), ".1f")]
        row += ["", ""] if score is None else _optimality(score)
        if result is not first:
            probability, interval = probability_of_improvement(result.returns, first.returns)
            row += [f"{probability:.3f}", _range(interval, ".3f")]
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    return rows


def _optimality(score: list[np.ndarray]) -> list[str]:
    interval = bootstrap_interval(score, optimality_gap)
    return [f"{optimality_gap(np.concatenate(score)):.3f}", _range(interval, ".3f")]


def _range(interval: tuple[float, float], digits: str) -> str:
    low, high = interval
    return "" if np.isnan(low) else f"{low:{digits}} to {high:{digits}}"


def file_name(task: Task, name: str) -> str:
    """A figure's name, without its suffix."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', task.env_name)}_{name}"
