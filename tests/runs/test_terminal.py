"""A run in a terminal that is closed: it cannot print any more, but saves, and can be resumed."""

import json
import os
import signal
import subprocess
import sys

import pytest

from rl_il.files import REPOSITORY

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

# Opening the terminal makes it the one of this process session, to which the system sends SIGHUP at its end.
IN_TERMINAL = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
FLAGS = (
    "--do_dagger --n_iter 5000 --compile off --n_demos 1 --num_agent_train_steps_per_iter 20 --size 16 --ep_len 60"
)
FLAGS += " --batch_size 100 --eval_episodes 2"


def test_a_closed_terminal_saves_the_run_and_ends_it(tmp_path):
    ours, theirs = pty.openpty()
    script = [str(REPOSITORY / "scripts" / "run_hw1.py"), *FLAGS.split(), "--logdir", str(tmp_path / "run")]
    command = [sys.executable, "-c", IN_TERMINAL, *script]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        printed = b""
        while b"itr    1/" not in printed:
            printed += os.read(ours, 1000)
        os.close(ours)
    assert process.returncode == 128 + signal.SIGHUP
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"
