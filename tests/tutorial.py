"""Execution of the tutorial in a new kernel. `python tests/tutorial.py` stores the outputs in its file."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

REPOSITORY = Path(__file__).resolve().parent.parent
TUTORIAL = REPOSITORY / "scripts" / "tutorial.ipynb"
TIMEOUT = 300  # seconds for each cell; on an idle machine, the whole notebook takes about 20


def execute(path: Path, folder: Path, *cells: str) -> NotebookNode:
    """Execute the notebook in the folder, with more `cells` at its end, and return it with its outputs.

    The kernel is of this Python. It sets MPLBACKEND itself, as for a user, and its own files are in the folder too.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += map(new_code_cell, cells)
    settings = {"IPYTHONDIR": str(folder / ".ipython"), "JUPYTER_RUNTIME_DIR": str(folder / ".jupyter")}
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | settings
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources, record_timing=False
    )
    return client.execute(env=env | {"PYTHONPATH": str(REPOSITORY)})


def text_of(notebook: NotebookNode, kind: str = "stdout") -> str:
    """Return what the cells printed on stdout or stderr."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.text for output in outputs if output.get("name") == kind)


def main() -> None:
    """Execute the tutorial in an empty folder, and write it with its outputs."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(TUTORIAL, Path(folder))
    sys.stderr.write(text_of(notebook, "stderr"))
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}  # else it changes with each version of Python
    nbformat.write(notebook, TUTORIAL)
    print(f"{TUTORIAL}: {TUTORIAL.stat().st_size / 1000:.0f} kB, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
