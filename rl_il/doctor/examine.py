"""`examine`: one file, all checks, and what they found as text or JSON."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets import load_trajectories
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Demos, Finding, run_checks
from rl_il.datasets.odd import CHEAP_CHECKS, constant_numbers, duplicate_numbers
from rl_il.doctor.checks import beside_the_environment, equal_states, expert_disagreement, near_states
from rl_il.doctor.raw import RAW_CHECKS, RawFile, read_raw, salvage
from rl_il.doctor.versions import base_of, make_similar, name_in
from rl_il.envs import env_spec, episode_limit, make_env, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import returns_and_lengths
from rl_il.policies.experts import load_expert
from rl_il.types import Expert, Trajectory, answers_live_only

SEVERITIES = (ERROR, WARNING, NOTE)
CHECKS: dict[str, Callable[..., Iterator[Finding]]] = CHEAP_CHECKS | {
    "constant_numbers": beside_the_environment(constant_numbers),
    "duplicate_numbers": beside_the_environment(duplicate_numbers),
    "equal_states": equal_states,
    "near_states": near_states,
}
"""All checks of trajectories but the expert's, which needs one."""


@dataclass(frozen=True)
class Report:
    """What the doctor says about a file."""

    file: str
    env_name: str | None
    env_from: str  # where that name comes from
    trajectories: list[Trajectory]  # what could be examined
    findings: list[Finding]  # errors first

    def count(self, severity: str) -> int:
        """How many findings are of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(file: str | Path, env_name: str | None = None, expert: str | None = None) -> Report:
    """Looks at a file of demonstrations as a doctor would: nothing in it is run, and nothing is changed.

    Args:
      file: `.npz`, or a `.pkl` of the course; it may be one that `load_trajectories` refuses.
      env_name: the environment it is for; None: the file's own meta says so, or its name.
      expert: whose labels they should be, as `load_actor` reads it; None: the one shipped, if it reads observations.

    Raises:
      InputError: the file is missing or no data set at all; the environment or the expert does not exist or fit.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        raw = read_raw(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    env, env_from, findings = find_env(path, raw, env_name)
    found_expert = find_expert(env, expert)
    with np.errstate(all="ignore"):  # numbers that overflow are reported, not computed with
        findings += [*raw.findings, *run_checks(RAW_CHECKS, raw.arrays, env)]
        trajectories, refusals = load_what_is_whole(path, raw, env)
        demos = Demos(trajectories, env)
        checks = dict(CHECKS) if trajectories else {}
        if checks and found_expert and _fits(demos):
            is_theirs = bool(expert) or raw.meta.get("policy") == "expert"
            name = expert or env_spec(name_of(env)).expert
            checks["expert"] = partial(expert_disagreement, expert=found_expert, name=name, is_theirs=is_theirs)
        for name, check in progress(checks.items(), len(checks), f"examining {path.name}"):
            findings += run_checks({name: check}, demos)
    findings += refusals
    if env and not found_expert:
        text = "no expert at hand that reads observations, to compare the labels with; give --expert FILE"
        findings.append(Finding(NOTE, text, check="expert"))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(str(file), name_of(env) if env else None, env_from, trajectories, findings)


def find_env(path: Path, raw: RawFile, env_name: str | None) -> tuple[gym.Env | None, str, list[Finding]]:
    """The environment that was asked for, or that the file names; where from; and what is odd about that."""
    in_meta, in_name = name_in(str(raw.meta.get("env_name", ""))), name_in(path.stem)
    named = in_meta or in_name
    if env_name:
        env, findings = make_env(env_name), []
        if named and base_of(named) != base_of(env_name):
            text = f"the file is for {named}, by its {'meta' if in_meta else 'name'}, not for {env_name}"
            findings.append(Finding(WARNING, text, {"named": named}, check="environment"))
        return env, "--env_name", findings
    env = make_similar(named) if named else None
    if env is None:
        says = f"{named}, which cannot be made here" if named else "none"
        text = (
            f"no environment is known (the file names {says}): sizes, bounds, time limits and the expert were not"
            " checked; give --env_name"
        )
        return None, "", [Finding(WARNING, text, check="environment")]
    findings = []
    if name_of(env) != named:
        text = f"the file names {named}, which is not made any more; it was examined as {name_of(env)}"
        findings.append(Finding(NOTE, text, {"named": named}, check="environment"))
    return env, "the file's meta" if in_meta else "the file's name", findings


def find_expert(env: gym.Env | None, expert: str | None) -> Expert | None:
    """The expert that was named, or the one shipped; None where there is none to show recorded states to."""
    if env is None:
        if expert:
            raise InputError("--expert needs the environment; give --env_name")
        return None
    if not (expert or env_spec(name_of(env)).expert):
        return None
    found = load_expert(expert, env)
    if answers_live_only(found) and expert:
        raise InputError(
            f"--expert {expert}: answers only while an episode goes on, so it cannot label recorded states"
        )
    return None if answers_live_only(found) else found


def load_what_is_whole(path: Path, raw: RawFile, env: gym.Env | None) -> tuple[list[Trajectory], list[Finding]]:
    """The trajectories as training would get them; if it would not, what can be examined, and why."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its note on the course's Ant is a finding here
            return load_trajectories(path, env), []
    except InputError as error:
        text = f"training refuses the file: {str(error).removeprefix(f'{path}: ')}"
        findings = [Finding(ERROR, text, check="loader")]
    trajectories, left_out = salvage(raw.arrays, episode_limit(env) if env else None)
    if left_out:
        text = f"{left_out:,} rows with such numbers, or beyond the shortest array, were left out of what follows"
        findings.append(Finding(NOTE, text, {"rows": left_out}, check="loader"))
    return trajectories, findings


def _fits(demos: Demos) -> bool:
    """Whether the environment's expert can be asked about these observations, and its answers compared."""
    first, env = demos.trajectories[0], demos.env
    return first.obs.shape[1:] == env.observation_space.shape and first.labels.shape[1:] == env.action_space.shape


# What people and programs read ------------------------------------------------------------------------------


def to_dict(report: Report) -> dict[str, Any]:
    """The report for programs, in plain Python types."""
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
    if not len(values) or np.isnan(values).any():
        return {"min": None, "mean": None, "max": None}
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}


def to_text(report: Report) -> str:
    """The report for people: what it is, then a line a finding, errors first."""
    summary = to_dict(report)
    env = f"{report.env_name} (from {report.env_from})" if report.env_name else "unknown"
    rows = [("file", report.file), ("environment", env)]
    rows += [("episodes", f"{summary['episodes']:,}"), ("steps", f"{summary['steps']:,}")]
    rows += [("returns", _range(summary["returns"], ".1f")), ("lengths", _range(summary["lengths"], ".0f"))]
    lines = [f"{name:<11}  {value}" for name, value in rows] + [""]
    lines += [f"{f.severity:<7}  {f.check}: {f.text}" for f in report.findings]
    counts = [(report.count(severity), severity) for severity in (ERROR, WARNING)]
    return "\n".join([*lines, ", ".join(f"{n} {severity}{'' if n == 1 else 's'}" for n, severity in counts)])


def _range(spread: dict[str, float | None], digits: str) -> str:
    if spread["min"] is None:
        return "unknown"
    return f"{spread['min']:,{digits}} to {spread['max']:,{digits}}, mean {spread['mean']:,.1f}"
