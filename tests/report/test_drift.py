"""The strip of frames: an action in words."""

import numpy as np
import pytest

from rl_il.envs.keys import CAR_RACING, LUNAR_LANDER
from rl_il.report.drift import action_text


@pytest.mark.parametrize(
    ("ac", "names", "text"),
    [
        (np.int64(2), LUNAR_LANDER.names, "main engine"),
        (np.int64(2), (), "2"),
        (np.int64(9), LUNAR_LANDER.names, "9"),
        (np.float32([0.5, 0, 1]), CAR_RACING.names, "steering 0.50, gas 0.00, brake 1.00"),
        (np.float32([0.5, -1]), (), "0.50 -1.00"),
        (np.arange(5.0), ("one",), "0.00 1.00 2.00 ..."),
    ],
)
def test_an_action_has_its_names_where_they_are_known(ac, names, text):
    assert action_text(ac, names) == text
