import numpy as np
import pytest


@pytest.fixture
def write(tmp_path):
    """Return a function that writes arrays to a file of demonstrations, and returns its path."""

    def write(**arrays):
        np.savez(tmp_path / "demos.npz", **arrays)
        return tmp_path / "demos.npz"

    return write
