"""`examine`: run all checks on a file, and return what they found. As text or JSON."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets import load_trajectories
from rl_il.datasets.columns import find_content
from rl_il.datasets.content import Content, ReadOptions
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Check, Demos, Finding, counted, run_checks
from rl_il.datasets.loading import AS_FOUND, files_of, naming, read_tree
from rl_il.datasets.npz import read_meta
from rl_il.envs import env_row, episode_limit, make_env, make_recipe, name_of
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.files import reading
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import returns_and_lengths
from rl_il.studies.doctor.arrays import ARRAY_CHECKS, alike_episodes, episode_boundaries, joined, salvage
from rl_il.studies.doctor.checks import CHECKS, expert_disagreement
from rl_il.studies.doctor.versions import base_of, make_similar, name_in
from rl_il.types import Expert, Trajectory

SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Examination:
    """The result of an examination."""

    file: str
    env_name: str | None
    env_from: str  # the source of that name
    trajectories: list[Trajectory]  # those that could be examined
    findings: list[Finding]  # errors first

    def count(self, severity: str) -> int:
        """Count the findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(
    file: str | Path,
    env_name: str | None = None,
    expert: str | None = None,
    options: ReadOptions = AS_FOUND,
    activation: str | None = None,
    no_normalizer: bool = False,
    env_kwargs: str | None = None,
    wrappers: str | None = None,
) -> Examination:
    """Return a report on a file of demonstrations. No code in the file is run, and the file is not changed.

    Args:
      file: a file or folder of any format that `load_trajectories` reads, even one whose numbers it refuses.
      env_name: the file's environment; None: the one that the file's meta, or else its name, names.
      expert: the expert whose labels they should be, for `load_actor`; None: the one shipped, if it can act on
        recorded observations.
      options: what the user says about names and layout.
      activation, no_normalizer: for the expert, as `load_actor` takes them.
      env_kwargs, wrappers: the arguments and wrappers of the named environment, as in `make_recipe`.

    Raises:
      InputError: the file is missing, or it has no observations and actions under names that are known or in
        `options`; the environment or the expert does not exist or fit.
    """
    path = Path(file)
    with naming(path):
        trees = [read_tree(each) for each in files_of(path)]
    meta = meta_of(trees[0])
    given = make_env(make_recipe(env_name, env_kwargs, wrappers)) if env_name else None
    env, env_from, findings = find_env(path, meta, given)
    found_expert = find_expert(env, expert, activation, no_normalizer)
    with np.errstate(all="ignore"):  # overflows are findings, not warnings
        with naming(path), reading("set of demonstrations"):
            ndim = len(env.observation_space.shape) if env else None
            contents = [find_content(tree, options, ndim) for tree in trees]
        findings += what_was_read(contents)
        contents, others = alike_episodes(contents)
        findings += [*others, *run_checks(ARRAY_CHECKS, joined(contents), env)]
        limit = episode_limit(env) if env else None
        findings += run_checks({"episode_boundaries": episode_boundaries}, contents, limit, options.split_every)
        trajectories, refusals = load_what_is_intact(path, contents, env, options)
        demos = Demos(trajectories, env)
        checks = checks_for(demos, found_expert, expert, meta)
        for name, check in progress(checks.items(), len(checks), f"examining {path.name}"):
            findings += run_checks({name: check}, demos)
    findings += refusals
    if env and not found_expert:
        text = "the labels were not compared with an expert: none is shipped that can label them; give --expert FILE"
        findings.append(Finding(NOTE, text, check="expert"))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Examination(str(file), name_of(env) if env else None, env_from, trajectories, findings)


def meta_of(tree: Any) -> dict[str, Any]:
    """Return the JSON object that our own files have under `meta`; an empty one for other programs' files."""
    try:
        return read_meta(tree)
    except InputError:
        return {}


def what_was_read(contents: Sequence[Content]) -> list[Finding]:
    """Return a note of the names and layout as which the file was read, if they are not our own."""
    notes = dict.fromkeys(content.note() for content in contents)
    return [Finding(NOTE, note, check="names") for note in notes if note]


def find_env(path: Path, meta: dict[str, Any], given: gym.Env | None) -> tuple[gym.Env | None, str, list[Finding]]:
    """Return the environment that was given or that the file names, the source of its name, and findings about it."""
    in_meta, in_name = name_in(str(meta.get("env_name", ""))), name_in(path.stem)
    named, where = in_meta or in_name, "meta" if in_meta else "name"
    env, env_from, finding = given, "--env_name", None
    if env is not None:
        if named and base_of(named) != base_of(name_of(env)):
            finding = WARNING, f"the file's {where} says {named}, not {name_of(env)}", {"named": named}
    elif named and not meta.get("wrappers") and (env := make_similar(named, str(meta.get("env_kwargs") or ""))):
        env_from = f"the file's {where}"
        if name_of(env) != named:
            text = f"the file names {named}, which does not exist any more; it was examined as {name_of(env)}"
            finding = NOTE, text, {"named": named}
    else:
        env_from, says = "", f"{named}, which is not made because a file names it" if named else "none"
        text = (
            f"no environment is known (the file names {says}): sizes, bounds, time limits and the expert were not"
            " checked; give --env_name, and --env_kwargs and --wrappers if it had some"
        )
        finding = WARNING, text, {}
    return env, env_from, [Finding(*finding, check="environment")] if finding else []


def find_expert(
    env: gym.Env | None, expert: str | None, activation: str | None = None, no_normalizer: bool = False
) -> Expert | None:
    """Return the expert that was given, or the one shipped; None if neither can act on recorded observations."""
    if env is None and expert:
        raise InputError("--expert needs the environment; give --env_name")
    if env is None or not (expert or env_row(name_of(env)).expert):
        return None
    found = load_expert(expert, env, activation, no_normalizer)
    if found.answers_recorded:
        return found
    if expert:
        raise InputError(f"--expert {expert}: it acts only during an episode, and cannot label recorded states")
    return None


def load_what_is_intact(
    path: Path, contents: Sequence[Content], env: gym.Env | None, options: ReadOptions
) -> tuple[list[Trajectory], list[Finding]]:
    """Return the trajectories that training would get; if it refuses the file, those that are intact, and why."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its notes are findings already
            return load_trajectories(path, env, options=options), []
    except InputError as error:
        text = f"training refuses the file: {str(error).removeprefix(f'{path}: ')}"
        findings = [Finding(ERROR, text, check="loader")]
    trajectories, left_out = salvage(contents, episode_limit(env) if env else None)
    if left_out:
        text = f"{counted(left_out, 'row')} with NaN or infinity were left out below"
        findings.append(Finding(NOTE, text, {"rows": left_out}, check="loader"))
    return trajectories, findings


def checks_for(demos: Demos, expert: Expert | None, named: str | None, meta: dict[str, Any]) -> dict[str, Check]:
    """Return the checks to run: none without an episode, and the expert's only if the shapes fit."""
    if not demos.trajectories:
        return {}
    shapes = demos.trajectories[0].obs.shape[1:], demos.trajectories[0].labels.shape[1:]
    if expert is None or shapes != (demos.env.observation_space.shape, demos.env.action_space.shape):
        return CHECKS
    name = named or env_row(name_of(demos.env)).expert
    is_theirs = bool(named) or meta.get("policy") == "expert"
    return CHECKS | {"expert": partial(expert_disagreement, expert=expert, name=name, is_theirs=is_theirs)}


def to_dict(report: Examination) -> dict[str, Any]:
    """Return the report for programs, in plain Python types."""
    returns, lengths = returns_and_lengths(report.trajectories)
    return {
        "file": report.file,
        "env_name": report.env_name,
        "episodes": len(lengths),
        "steps": int(lengths.sum()),
        "returns": _spread(returns),
        "lengths": _spread(lengths),
        "findings": [{"check": f.check, "severity": f.severity, "text": f.text} | f.numbers for f in report.findings],
        "errors": report.count(ERROR),
        "warnings": report.count(WARNING),
    }


def _spread(values: np.ndarray) -> dict[str, float | None]:
    known = len(values) and not np.isnan(values).any()
    return {name: float(getattr(values, name)()) if known else None for name in ("min", "mean", "max")}


def to_text(report: Examination) -> str:
    """Return the report as text: a summary of the file, then one line for each finding, errors first."""
    summary = to_dict(report)
    env = f"{report.env_name} (from {report.env_from})" if report.env_name else "unknown"
    rows = [("file", report.file), ("environment", env)]
    rows += [("episodes", f"{summary['episodes']:,}"), ("steps", f"{summary['steps']:,}")]
    for name, digits in (("returns", 1), ("lengths", 0)):
        low, mean, high = summary[name].values()
        known = low is not None
        rows.append((name, f"{low:,.{digits}f} to {high:,.{digits}f}, mean {mean:,.1f}" if known else "unknown"))
    lines = [f"{name:<11}  {value}" for name, value in rows] + [""]
    lines += [f"{f.severity:<7}  {f.check}: {f.text}" for f in report.findings]
    counts = [counted(report.count(severity), severity) for severity in (ERROR, WARNING)]
    return "\n".join([*lines, ", ".join(counts)])
