"""Marks of tests about what some systems do not have."""

import os
from pathlib import Path

import pytest

WINDOWS = os.name == "nt"
needs_signals = pytest.mark.skipif(WINDOWS, reason="Windows sends no SIGINT or SIGTERM to another process")
needs_modes = pytest.mark.skipif(WINDOWS, reason="Windows has no file modes")
needs_shell = pytest.mark.skipif(WINDOWS, reason="the attacks are commands of a POSIX shell")
needs_timers = pytest.mark.skipif(WINDOWS, reason="Windows has no interval timers")
needs_limits = pytest.mark.skipif(WINDOWS, reason="Windows has no limits of resources")
needs_pipes = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits with Linux's pidfd and named pipes")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc, which only Linux has")
