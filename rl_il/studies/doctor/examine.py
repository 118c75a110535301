"""`examine`: run all checks on a file, and return what they found. As text or JSON."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets import load_trajectories
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Check, Demos, Finding, counted, run_checks
from rl_il.envs import env_spec, episode_limit, make_env, name_of
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.rollouts import returns_and_lengths
from rl_il.studies.doctor.checks import CHECKS, expert_disagreement
from rl_il.studies.doctor.raw import RAW_CHECKS, RawFile, read_raw, salvage
from rl_il.studies.doctor.versions import base_of, make_similar, name_in
from rl_il.types import Expert, Trajectory

SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Report:
    """The result of an examination."""

    file: str
    env_name: str | None
    env_from: str  # the source of that name
    trajectories: list[Trajectory]  # those that could be examined
    findings: list[Finding]  # errors first

    def count(self, severity: str) -> int:
        """Count the findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(file: str | Path, env_name: str | None = None, expert: str | None = None) -> Report:
    """Return a report on a file of demonstrations. No code in the file is run, and the file is not changed.

    Args:
      file: an `.npz` file, or a `.pkl` file of the course, even one that `load_trajectories` refuses.
      env_name: the file's environment; None: the one that the file's meta, or else its name, names.
      expert: the expert whose labels they should be, for `load_actor`; None: the one shipped, if it can act on
        recorded observations.

    Raises:
      InputError: the file is missing or not a data set; the environment or the expert does not exist or fit.
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
    with np.errstate(all="ignore"):  # overflows are findings, not warnings
        findings += [*raw.findings, *run_checks(RAW_CHECKS, raw.arrays, env)]
        trajectories, refusals = load_what_is_intact(path, raw, env)
        demos = Demos(trajectories, env)
        checks = checks_for(demos, found_expert, expert, raw.meta)
        for name, check in progress(checks.items(), len(checks), f"examining {path.name}"):
            findings += run_checks({name: check}, demos)
    findings += refusals
    if env and not found_expert:
        text = "the labels were not compared with an expert: none is shipped that can label them; give --expert FILE"
        findings.append(Finding(NOTE, text, check="expert"))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(str(file), name_of(env) if env else None, env_from, trajectories, findings)


def find_env(path: Path, raw: RawFile, env_name: str | None) -> tuple[gym.Env | None, str, list[Finding]]:
    """Return the environment that was given or that the file names, the source of its name, and findings about it."""
    in_meta, in_name = name_in(str(raw.meta.get("env_name", ""))), name_in(path.stem)
    named, where = in_meta or in_name, "meta" if in_meta else "name"
    env, env_from, finding = make_env(env_name) if env_name else None, "--env_name", None
    if env is not None:
        if named and base_of(named) != base_of(env_name):
            finding = WARNING, f"the file's {where} says {named}, not {env_name}", {"named": named}
    elif named and (env := make_similar(named)):
        env_from = f"the file's {where}"
        if name_of(env) != named:
            text = f"the file names {named}, which does not exist any more; it was examined as {name_of(env)}"
            finding = NOTE, text, {"named": named}
    else:
        env_from, says = "", f"{named}, which cannot be made here" if named else "none"
        text = (
            f"no environment is known (the file names {says}): sizes, bounds, time limits and the expert were not"
            " checked; give --env_name"
        )
        finding = WARNING, text, {}
    return env, env_from, [Finding(*finding, check="environment")] if finding else []


def find_expert(env: gym.Env | None, expert: str | None) -> Expert | None:
    """Return the expert that was given, or the one shipped; None if neither can act on recorded observations."""
    if env is None and expert:
        raise InputError("--expert needs the environment; give --env_name")
    if env is None or not (expert or env_spec(name_of(env)).expert):
        return None
    found = load_expert(expert, env)
    if found.answers_recorded:
        return found
    if expert:
        raise InputError(f"--expert {expert}: it acts only during an episode, and cannot label recorded states")
    return None


def load_what_is_intact(path: Path, raw: RawFile, env: gym.Env | None) -> tuple[list[Trajectory], list[Finding]]:
    """Return the trajectories that training would get; if it refuses the file, those that are intact, and why."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its note on the course's Ant is already a finding
            return load_trajectories(path, env), []
    except InputError as error:
        text = f"training refuses the file: {str(error).removeprefix(f'{path}: ')}"
        findings = [Finding(ERROR, text, check="loader")]
    trajectories, left_out = salvage(raw.arrays, episode_limit(env) if env else None)
    if left_out:
        text = f"{counted(left_out, 'row')} with NaN or infinity, or beyond the shortest array, were left out below"
        findings.append(Finding(NOTE, text, {"rows": left_out}, check="loader"))
    return trajectories, findings


def checks_for(demos: Demos, expert: Expert | None, named: str | None, meta: dict[str, Any]) -> dict[str, Check]:
    """Return the checks to run: none without an episode, and the expert's only if the shapes fit."""
    if not demos.trajectories:
        return {}
    shapes = demos.trajectories[0].obs.shape[1:], demos.trajectories[0].labels.shape[1:]
    if expert is None or shapes != (demos.env.observation_space.shape, demos.env.action_space.shape):
        return CHECKS
    name = named or env_spec(name_of(demos.env)).expert
    is_theirs = bool(named) or meta.get("policy") == "expert"
    return CHECKS | {"expert": partial(expert_disagreement, expert=expert, name=name, is_theirs=is_theirs)}


def to_dict(report: Report) -> dict[str, Any]:
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


def to_text(report: Report) -> str:
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
