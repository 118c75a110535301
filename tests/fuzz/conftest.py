"""Settings of Hypothesis (few inputs, or 20,000 of each kind for `make fuzz`), and a count of the outcomes."""

from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, Phase, settings

COMMON = {
    "deadline": None,
    "database": None,
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
}
settings.register_profile("small", max_examples=150, derandomize=True, **COMMON)
settings.register_profile("large", max_examples=20_000, derandomize=False, **COMMON)
settings.load_profile("small")

OUTCOMES = defaultdict(Counter)
"""For each kind of input: how many gave a value, an `InputError`, or a crash of the library that reads it."""


@pytest.fixture
def outcomes(request):
    """Return the counter of this test's inputs."""
    return OUTCOMES[request.node.name]


def pytest_terminal_summary(terminalreporter):
    """Print the counts after the tests."""
    for name, counts in OUTCOMES.items():
        listed = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(counts.items()))
        terminalreporter.write_line(f"{name}: {counts.total():,} inputs; {listed}")
