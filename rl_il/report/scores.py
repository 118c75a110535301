"""Tables and figures of what the policies of an environment scored."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rl_il.infrastructure.progress import progress
from rl_il.report.page import Block, Note, Table, Text
from rl_il.report.pictures import in_parts, profiles_picture, results_picture
from rl_il.report.runs import Variant
from rl_il.report.tables import Result, results_table, span
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
NO_SCORES = Text(
    "Without a random policy and a better live expert there are no scores, and so no optimality gap and no"
    " performance profiles."
)


def last_result(variant: Variant, name: str) -> Result:
    """Return the variant's result in the last iteration that all of its runs evaluated."""
    return variant.result(name, variant.itrs[-1])


def measured(task: Task) -> list[tuple[Result, Variant]]:
    """Return behavioural cloning and each variant's last iteration, in order; DAgger's iteration 0 is cloning."""
    rows = []
    for variant in task.variants:
        name = variant.name
        if variant.config.do_dagger:
            if 0 in variant.itrs and len(variant.itrs) > 1:
                rows.append((clone(task, variant), variant))
            name = f"{name}, iteration {variant.itrs[-1]}"
        rows.append((last_result(variant, name), variant))
    return rows


def clone(task: Task, variant: Variant) -> Result:
    """Return the result of a DAgger variant's iteration 0."""
    return variant.result("BC (iteration 0)" if len(task.variants) == 1 else f"BC (iteration 0 of {variant.name})", 0)


def result_blocks(task: Task) -> list[Block]:
    """Return the table of returns, the table of statistics, and the figures of both."""
    results, variants = zip(*measured(task), strict=True)
    experts = [task.expert(variant) for variant in variants]
    scores = [_scores(task, result, expert) for result, expert in zip(results, experts, strict=True)]
    blocks: list[Block] = [Table(f"Returns in {task.env_name}", _returns(task, results, experts))]
    blocks += [Note(task.note)] if task.note else []
    blocks.append(Table(f"Statistics in {task.env_name}", _statistics(results, scores)))
    blocks += [NO_SCORES] if None in scores else []
    caption = "Mean return, its 95 % interval (bar) and the means of single seeds (small dots)."
    for suffix, part in in_parts(results if len(results) > 1 else [], 12):
        blocks.append(results_picture(file_name(task, "results") + suffix, caption, part, task.levels))
    shown = [(result.name, np.concatenate(score)) for result, score in zip(results, scores, strict=True) if score]
    caption = "Performance profiles: the fraction of episodes, all seeds pooled, that score above each value."
    for suffix, part in in_parts(shown):
        blocks.append(profiles_picture(file_name(task, "profiles") + suffix, caption, part))
    return blocks


def _returns(task: Task, results: Sequence[Result], experts: Sequence[Result]) -> list[list[str]]:
    """Return the rows of the random policy, the experts and the variants; one expert for all needs no column."""
    measured_experts = list(task.experts.values())
    first = next(iter(measured_experts), NO_EXPERT)
    random = [task.random] if task.random else []
    rows = [*random, *measured_experts, *results]
    one_for_all = len(measured_experts) < 2 and len({expert is NO_EXPERT for expert in experts}) < 2
    return results_table(rows, first if one_for_all else [first] * len(random) + measured_experts + [*experts])


def _scores(task: Task, result: Result, expert: Result) -> list[np.ndarray] | None:
    """Return normalised scores, an array for each seed; None where there is nothing to normalise by."""
    if task.random is None or not expert.mean > task.random.mean:
        return None
    return [normalise(returns, task.random.mean, expert.mean) for returns in result.returns]


def _statistics(results: Sequence[Result], scores: Sequence[list[np.ndarray] | None]) -> list[list[str]]:
    rows = [["policy", "interquartile mean", "95 % interval", "optimality gap", "95 % interval"]]
    rows[0] += ["probability of improvement", "95 % interval"] if len(results) > 1 else []
    first = results[0]
    for result, score in progress(zip(results, scores, strict=True), len(results), "statistics"):
        row = [result.name, f"{iqm(result.episodes):.1f}", span(bootstrap_interval(result.returns, iqm))]
        if score is None:
            row += ["", ""]
        else:
            gap, interval = optimality_gap(np.concatenate(score)), bootstrap_interval(score, optimality_gap)
            row += [f"{gap:.3f}", span(interval, ".3f")]
        if result is not first:
            probability, interval = probability_of_improvement(result.returns, first.returns)
            row += [f"{probability:.3f}", span(interval, ".3f")]
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    return rows


def file_name(task: Task, name: str) -> str:
    """Return a figure's name, without its suffix."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', task.env_name)}_{name}"
