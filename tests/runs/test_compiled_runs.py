"""Runs with compiled steps: what they write, what they import, and how they are resumed."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest
from small_runs import assert_same_run, corridor, run_in, stop_after

from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.runs.experiment import resume


def test_the_run_folder_says_whether_steps_were_compiled(tmp_path):
    for choice, compiled in (("on", True), ("off", False), ("auto", False)):
        run_in(tmp_path / choice, corridor(tmp_path / "files", compile=choice, n_layers=1, n_iter=1, do_dagger=False))
        record = json.loads((tmp_path / choice / "config.json").read_text())
        assert record["defaults"]["compile"] == ("on" if compiled else "off")
        assert json.loads((tmp_path / choice / "summary.json").read_text())["compiled"] is compiled


@pytest.mark.parametrize("options", [{}, pytest.param({"dropout": 0.2}, marks=pytest.mark.slow)])
def test_a_resumed_run_stays_compiled(options, tmp_path, monkeypatch):
    config = corridor(tmp_path / "files", compile="on", n_layers=1, **options)
    run_in(tmp_path / "whole", config)
    stop_after(monkeypatch, tmp_path / "stopped", config, 2)
    resume(tmp_path / "stopped", verbose=False)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_without_a_compiler_it_is_refused_or_goes_on_if_the_user_accepts_that(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "stopped"
    stop_after(monkeypatch, folder, corridor(tmp_path / "files", compile="on", n_layers=1), 2)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match="--accept_changes"):
        resume(folder, verbose=False)
    resume(folder, verbose=False, accept_changes=True)
    assert "note:" in capsys.readouterr().err
    assert json.loads((folder / "summary.json").read_text())["compiled"] is False


def test_an_eager_run_stays_eager(tmp_path, monkeypatch):
    folder, config = tmp_path / "stopped", corridor(tmp_path / "files", compile="on", n_layers=1)
    with monkeypatch.context() as patch:  # no compiler
        patch.setenv("PATH", str(tmp_path))
        patch.delenv("CXX", raising=False)
        stop_after(patch, folder, config, 2)
    resume(folder, verbose=False)
    assert json.loads((folder / "summary.json").read_text())["compiled"] is False


HANGING = """#!/bin/sh
echo > "$STARTED"
exec cat "$NOTHING"
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a compiler that hangs, a shell script")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_that_waits_for_the_compiler(number, tmp_path):
    (tmp_path / "compiler").write_text(HANGING)
    (tmp_path / "compiler").chmod(0o755)
    os.mkfifo(tmp_path / "nothing")
    os.mkfifo(tmp_path / "started")
    started = os.open(tmp_path / "started", os.O_RDONLY | os.O_NONBLOCK)
    flags = "--n_demos 1 --eval_episodes 1 --ep_len 50 --video_log_freq -1 --compile on --logdir"
    command = [sys.executable, str(REPOSITORY / "scripts" / "run_hw1.py"), *flags.split(), str(tmp_path / "run")]
    environment = {"RL_IL_CACHE": str(tmp_path / "cache"), "CXX": str(tmp_path / "compiler")}
    environment |= {"STARTED": str(tmp_path / "started"), "NOTHING": str(tmp_path / "nothing")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    process = subprocess.Popen(command, env=os.environ | environment, cwd=REPOSITORY, **quiet)
    assert select.select([started], [], [], 60)[0]
    process.send_signal(number)
    error = process.communicate(timeout=8)[1]
    assert process.returncode == 128 + number
    assert "--resume" in error


COMPILER = ("torch._dynamo", "torch._inductor", "sympy")


@pytest.mark.slow
def test_a_run_whose_step_is_in_the_cache_imports_no_compiler(tmp_path):
    flags = "--num_agent_train_steps_per_iter 20 --n_demos 1 --eval_episodes 1 --ep_len 50 --video_log_freq -1"
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "scripts" / "run_hw1.py"), "--compile", "on"]
    environment = os.environ | {"RL_IL_CACHE": str(tmp_path / "cache")}
    imported = []
    for name in ("cold", "warm"):
        whole = [*command, *flags.split(), "--logdir", str(tmp_path / name)]
        done = subprocess.run(whole, capture_output=True, encoding="utf-8", env=environment, cwd=REPOSITORY)
        assert done.returncode == 0
        imported.append({line.rpartition("|")[2].strip() for line in done.stderr.splitlines()})
        assert json.loads((tmp_path / name / "summary.json").read_text())["compiled"] is True
    assert {*COMPILER} <= imported[0]
    assert not {*COMPILER, "matplotlib", "jinja2", "websockets", "pandas"} & imported[1]
