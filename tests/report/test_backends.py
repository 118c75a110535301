"""Drawing with a notebook's MPLBACKEND: it works without the notebook's packages, and changes no figure of it."""

import os
import subprocess
import sys

import pytest
from calling import SCRIPTS
from run_folders import write_run

from rl_il.config import RunConfig
from rl_il.files import REPOSITORY

INLINE = "module://matplotlib_inline.backend_inline"
WITHOUT_INLINE = """
import importlib.metadata, sys
found = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **which: [] if which["group"] == "matplotlib.backend" else found(**which)
sys.modules["matplotlib_inline"] = None
"""
USER = """
import matplotlib
from matplotlib import pyplot
pyplot.plot([1, 2])
from pathlib import Path
from rl_il.report.figures import new_figure, save
with new_figure() as (figure, (axes,)):
    axes.plot([2, 1])
    save(figure, Path("figure.png"))
print(matplotlib.get_backend(), pyplot.get_fignums(), len(pyplot.gca().lines))
"""
DRAWS_FIRST = """
from pathlib import Path
from rl_il.report.figures import new_figure, save
with new_figure() as (figure, (axes,)):
    save(figure, Path("figure.png"))
import matplotlib
from matplotlib import pyplot
pyplot.plot([1, 2])
print(matplotlib.get_backend(), pyplot.get_fignums(), len(pyplot.gca().lines))
"""


def run_python(folder, *words, backend: str) -> subprocess.CompletedProcess:
    """Run Python in the folder, whose modules it can import, with this MPLBACKEND."""
    env = os.environ | {"MPLBACKEND": backend, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, encoding="utf-8")


@pytest.mark.parametrize("backend", [INLINE, "nonsense"])
def test_a_command_draws_in_a_python_without_the_notebooks_backend(tmp_path, backend):
    write_run(tmp_path / "run", RunConfig(env_name="Corridor-v0"), {0: [1.0, 2.0, 3.0]})
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_INLINE)
    alone = run_python(tmp_path, "-c", "import matplotlib", backend=backend)
    assert "ValueError" in alone.stderr  # so without our care it fails
    done = run_python(tmp_path, SCRIPTS / "report.py", "run", "--no_random", "--out", "page.html", backend=backend)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<svg" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("code", [USER, DRAWS_FIRST])
def test_a_notebook_keeps_its_backend_and_figures(tmp_path, code):
    (tmp_path / "my_backend.py").write_text("from matplotlib.backends.backend_agg import FigureCanvas\n")
    done = run_python(tmp_path, "-c", code, backend="module://my_backend")
    assert done.stdout.split(maxsplit=1) == ["module://my_backend", "[1] 1\n"], done.stderr
    assert (tmp_path / "figure.png").stat().st_size > 1000
