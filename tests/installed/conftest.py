"""The package as a user installs it: a wheel in a new virtual environment, and a working folder elsewhere."""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = "setup.py pyproject.toml MANIFEST.in LICENSE rl_il scripts experts data/demos".split()


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, in `folder`."""

    folder: Path
    wheel: Path

    @property
    def programs(self) -> Path:
        return self.folder / "venv" / ("Scripts" if os.name == "nt" else "bin")

    @property
    def packages(self) -> Path:
        """Return the folder of the installed package."""
        (found,) = (self.folder / "venv").rglob("site-packages/rl_il")
        return found

    def call(self, *command: str, cwd: Path, status: int = 0, **variables: str) -> subprocess.CompletedProcess:
        """Call a program of the environment, such as `rl-il`, and return its output. Its status is checked."""
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RL_IL_DATA")}
        program = shutil.which(command[0], path=str(self.programs))
        environment = clean | {"OMP_NUM_THREADS": "1"} | variables
        pipes = {"capture_output": True, "encoding": "utf-8"}
        done = subprocess.run([program, *command[1:]], cwd=cwd, env=environment, **pipes)
        assert done.returncode == status, f"{command}: {done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """Build the wheel in a copy of the sources, and install it with the tested versions of its dependencies."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # one GB, which pytest would keep
        folder = Path(folder).resolve()
        for name in SOURCES:
            source, target = REPOSITORY / name, folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "wheel", "--no-deps", "-w", folder / "dist", folder / "source"], check=True)
        (wheel,) = (folder / "dist").glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        found = Installed(folder, wheel)
        constraints = str(REPOSITORY / "constraints.txt")
        found.call("pip", "install", "-q", "-c", constraints, str(wheel), cwd=folder)
        yield found
