"""Tables and figures of the returns of all policies in an environment, with statistics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rl_il.infrastructure.progress import progress
from rl_il.report.alike import compared
from rl_il.report.page import Note, PageBlock, Table, Text
from rl_il.report.pictures import in_parts, profiles_picture, results_picture
from rl_il.report.runs import Run, Variant
from rl_il.report.tables import (
    PAIRED,
    Result,
    interval_caption,
    interval_cell,
    interval_heading,
    measure_name,
    results_table,
    span,
)
from rl_il.report.tasks import NO_EXPERT, Task
from rl_il.runs.checkpoint import checksum
from rl_il.statistics import bootstrap_interval, iqm, normalise, optimality_gap, probability_of_improvement

INTERVALS = (
    "The 95 % intervals are bootstrap intervals. For a variant with three seeds or more, seeds are drawn again, and"
    " then the episodes of each: the interval includes the differences between seeds. For a single policy (one"
    " seed, the expert, the random policy) only its episodes are drawn again, the percentiles are moved outwards"
    ' as few episodes require, and the table says "this policy". There is no interval for two seeds, nor for'
    " fewer than 5 episodes of a single policy."
)
EXPLANATIONS = [
    Text(INTERVALS),
    Text(
        '"Std over episodes" is the standard deviation of the episodes within a seed: the square root of the seeds\''
        ' mean variance. "Std over seeds" is the standard deviation of the seeds\' means. Both divide by n - 1. The'
        " expert was measured on the same episodes as the learner's evaluations, that is with the same seeds of the"
        ' environment. "Expert labels" is the number of labelled steps,'
        " including those that were held out for validation."
    ),
    Text(
        "The statistics are those of Agarwal et al. (2021), over episodes. The interquartile mean is the mean of the"
        " middle half of the episodes. A normalised score is 0 for the mean of the random policy, and 1 for that of"
        " the live expert. The optimality gap is the mean difference between 1 and the normalised scores, where one"
        " above 1 counts as 1. The probability of improvement is the probability that an episode is better than an"
        " episode of the policy in the first row. A tie counts half. The resamples of its interval draw episodes of"
        " both policies."
    ),
]
ONLY_DAGGER = ("do_dagger", "n_iter", "rule", "beta_decay", "batch_size", "batch_episodes")  # not used in iteration 0
NO_SCORES = Text(
    "There are no normalised scores without a random policy and a live expert that is better. Then there is no"
    " optimality gap and no performance profile."
)


def last_result(variant: Variant, name: str) -> Result:
    """Return the variant's result in the last iteration in which all its runs were evaluated."""
    return variant.result(name, variant.itrs[-1])


def measured(task: Task) -> list[tuple[Result, Variant]]:
    """Return the results of each variant's last iteration, and of the clone: of DAgger's and PPO's iteration 0.

    Equal results of BC are returned only once.
    """
    rows, cloned = [], distinct_clones(task)
    for variant in task.variants:
        name = variant.name
        if variant.config.algorithm != "BC":
            if variant in cloned:
                rows.append((clone(task, variant), variant))
            name = f"{name}, iteration {variant.itrs[-1]}"
        rows.append((last_result(variant, name), variant))
    return rows


def distinct_clones(task: Task) -> list[Variant]:
    """Return the variants whose iteration 0 is a clone that differs from all BC variants and from those before."""
    found: list[Variant] = []
    for variant in [*task.dagger, *(each for each in task.ppo if not each.config.from_nothing)]:
        if 0 in variant.itrs and not any(_cloned_alike(variant, other) for other in [*task.bc, *found]):
            found.append(variant)
    return found


def _cloned_alike(one: Variant, other: Variant) -> bool:
    """Return whether iteration 0 of both is the same: the settings except DAgger's, the seeds and the returns.

    PPO begins with a clone that another run trained. Its settings do not say how, so the files are compared.
    """
    ppo = "PPO" in (one.config.algorithm, other.config.algorithm)
    if not ppo and compared(one.config, *ONLY_DAGGER) != compared(other.config, *ONLY_DAGGER):
        return False
    if [run.config.seed for run in one.runs] != [run.config.seed for run in other.runs]:
        return False
    return all(_same_clone(*runs, files=ppo) for runs in zip(one.runs, other.runs, strict=True))


def _same_clone(one: Run, other: Run, files: bool) -> bool:
    """Return whether iteration 0 of both has the same scores, and with `files` the same file, where it is known."""
    checksums = {_clone_checksum(run) for run in (one, other)} - {None} if files else ()
    return len(checksums) < 2 and np.array_equal(*(run.scores.get(0, np.empty(0)) for run in (one, other)))


def _clone_checksum(run: Run) -> str | None:
    """Return the checksum of the policy of iteration 0: as PPO recorded it, or of the file that the run saved."""
    file = run.folder / "policy_itr_0.pt"
    return run.begins_with or (checksum(file) if run.config.algorithm != "PPO" and file.exists() else None)


def clone(task: Task, variant: Variant) -> Result:
    """Return the result of a variant's iteration 0, which is BC.

    If all seeds of PPO begin with the same clone, it is that of a single policy, and equal episodes are counted once.
    """
    name = "BC (iteration 0)" if len(task.variants) == 1 else f"BC (iteration 0 of {variant.name})"
    result, files = variant.result(name, 0), {run.begins_with for run in variant.runs}
    if len(files) > 1 or None in files:
        return result
    scores = {run.start: run.scores[0] for run in variant.runs}
    return replace(result, scores=[np.concatenate([*scores.values()])])


def result_blocks(task: Task) -> list[PageBlock]:
    """Return the table of returns, the table of statistics, and their figures."""
    results, variants = zip(*measured(task), strict=True)
    experts = [task.expert(variant) for variant in variants]
    normalised = [_normalised(task, result, expert) for result, expert in zip(results, experts, strict=True)]
    blocks: list[PageBlock] = [
        Table(f"{measure_name(results).capitalize()}s in {task.env_name}", _returns(task, results, experts))
    ]
    blocks += [Note(task.note)] if task.note else []
    blocks.append(Table(f"Statistics in {task.env_name}", _statistics(results, normalised)))
    blocks += [NO_SCORES] if None in normalised else []
    caption = f"Mean {measure_name(results)}, its 95 % interval (bar) and the means of single seeds (small dots)."
    caption += f" {interval_caption(results)}"
    caption += f" {PAIRED}" if task.experts else ""
    for suffix, part in in_parts(results if len(results) > 1 else [], 12):
        blocks.append(results_picture(file_name(task, "results") + suffix, caption, part, task.levels))
    shown = [(result.name, np.concatenate(score)) for result, score in zip(results, normalised, strict=True) if score]
    caption = (
        "Performance profiles: the fraction of the episodes of all seeds with a normalised score above each value."
    )
    for suffix, part in in_parts(shown):
        blocks.append(profiles_picture(file_name(task, "profiles") + suffix, caption, part))
    return blocks


def _returns(task: Task, results: Sequence[Result], experts: Sequence[Result]) -> list[list[str]]:
    """Return the rows of the random policy, the experts and the variants. A single expert needs no column."""
    measured_experts = list(task.experts.values())
    first = next(iter(measured_experts), NO_EXPERT)
    random = [task.random] if task.random else []
    rows = [*random, *measured_experts, *results]
    one_for_all = len(measured_experts) < 2 and len({expert is NO_EXPERT for expert in experts}) < 2
    return results_table(rows, [first] * len(random) + measured_experts + [*experts], show_experts=not one_for_all)


def _normalised(task: Task, result: Result, expert: Result) -> list[np.ndarray] | None:
    """Return normalised scores, one array for each seed, or None without a random policy and a better expert."""
    if task.random is None or not expert.mean > task.random.mean:
        return None
    return [normalise(scores, task.random.mean, expert.mean) for scores in result.scores]


def _statistics(results: Sequence[Result], scores: Sequence[list[np.ndarray] | None]) -> list[list[str]]:
    heading, first = interval_heading(results), results[0]
    rows = [["policy", "interquartile mean", heading, "optimality gap", heading]]
    rows[0] += ["probability of improvement", "95 % interval, both drawn again"] if len(results) > 1 else []
    for result, score in progress(zip(results, scores, strict=True), len(results), "statistics"):
        interval = bootstrap_interval(result.scores, iqm)
        row = [result.name, result.show(iqm(result.episodes))]
        row.append(interval_cell(interval, [result], results, result.measure.digits))
        if score is None:
            row += ["", ""]
        else:
            gap, interval = optimality_gap(np.concatenate(score)), bootstrap_interval(score, optimality_gap)
            row += [f"{gap:.3f}", interval_cell(interval, [result], results, ".3f")]
        if result is not first:
            probability, interval = probability_of_improvement(result.scores, first.scores)
            row += [f"{probability:.3f}", span(interval, ".3f")]
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    return rows


def file_name(task: Task, name: str) -> str:
    """Return the name of a figure's file without its suffix."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', task.env_name)}_{name}"
