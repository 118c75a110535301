"""What was run, and how to run it again."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from rl_il.config import RunConfig, command_of
from rl_il.report.page import Block, Commands, Note, Table, Text, shown_path
from rl_il.report.runs import NOT_COMPARED, Run, differences
from rl_il.report.tasks import Task, algorithm, shown_value


def setting_blocks(tasks: Sequence[Task]) -> list[Block]:
    """In what the variants differ, what they share, and which folders are theirs."""
    named = [(name, variant) for task in tasks for name, variant in task.named]
    variants = [variant for _, variant in named]
    names = [name for name in differences(variants) if name not in ("env_name", "do_dagger")]
    rows = [["variant", "environment", "algorithm", *names, "seeds"]]
    for name, variant in named:
        seeds = ", ".join(str(run.config.seed) for run in variant.runs)
        values = [shown_value(variant, setting) for setting in names]
        rows.append([name, variant.config.env_name, algorithm(variant), *values, seeds])
    shared = [
        item.name
        for item in dataclasses.fields(RunConfig)
        if item.name not in (*NOT_COMPARED, *names, "env_name", "do_dagger")
    ]
    # A default may come to something else in each environment.
    same = [[name, ", ".join(dict.fromkeys(shown_value(v, name) for v in variants))] for name in shared]
    folders = [
        [shown_path(run.folder), name, run.config.env_name, str(run.config.seed)]
        for name, v in named
        for run in v.runs
    ]
    return [
        Table("The settings in which the variants differ" if len(variants) > 1 else "What was run", rows),
        Table("The settings that are the same in all runs", [["setting", "value"], *same], folded=True),
        Table("The run folders", [["folder", "variant", "environment", "seed"], *folders], folded=True),
        *_interruptions([run for variant in variants for run in variant.runs]),
    ]


def _interruptions(runs: Sequence[Run]) -> list[Block]:
    cut = [shown_path(run.folder) for run in runs if run.summary.get("status") != "finished"]
    if not cut:
        return []
    return [Note(f"Not run to the end: {', '.join(cut)}. What counts is the last iteration that all seeds reached.")]


def reproduce_blocks(runs: Sequence[Run]) -> list[Block]:
    """The command line of each run, and what it ran on."""
    lines = []
    for run in runs:
        recorded = run.record.get("command_line")
        lines.append(shlex.join(map(str, recorded)) if recorded else command_of(run.config))
    setups: dict[str, list[Run]] = {}
    for run in runs:
        setups.setdefault(json.dumps(_setup(run), sort_keys=True), []).append(run)
    blocks: list[Block] = [
        Text("Each run's command, from the repository's root; a folder given with `--logdir` must be new or empty."),
        Commands(lines),
    ]
    if len(setups) > 1:
        blocks.append(Note("The runs were not all made with the same software: see the table."))
    names = ["all runs"] if len(setups) == 1 else [_first_and_more(same) for same in setups.values()]
    columns = [_setup(same[0]) for same in setups.values()]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [[key, *(column.get(key, "") for column in columns)] for key in keys]
    blocks.append(Table("What the runs were made with", [["", *names], *rows], folded=True))
    if any(str(column.get("git commit", "")).endswith("-dirty") for column in columns):
        blocks.append(Text("`-dirty`: the checkout differed from that commit."))
    return blocks


def _setup(run: Run) -> dict[str, str]:
    record = run.record
    setup = {"git commit": record.get("git_commit"), "platform": record.get("platform")}
    for name in ("versions", "defaults"):
        if isinstance(record.get(name), dict):
            setup |= record[name] if name == "versions" else {"device": record[name].get("device")}
    return {name: str(value) for name, value in setup.items() if value is not None}


def _first_and_more(runs: Sequence[Run]) -> str:
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return Path(shown_path(runs[0].folder)).name + more
