"""Ctrl-C, SIGTERM and SIGHUP: handled at a boundary, at once the second time or if no boundary comes for a while."""

import signal
import threading
import time

import pytest
from systems import needs_signals, needs_timers

from rl_il.errors import Interrupted, run_command
from rl_il.runs.signals import SIGNALS, noted_signals


def send(number: int) -> None:
    signal.raise_signal(number)


def compute_until_interrupted(bound: float = 30) -> None:
    """Compute until a signal interrupts it; the limit only keeps a broken test from running for ever."""
    end = time.monotonic() + bound
    while time.monotonic() < end:
        sum(range(1000))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_handled_at_the_check(number):
    with pytest.raises(Interrupted) as caught, noted_signals(grace=60) as check:
        check()
        send(number)
        done = sum(range(1000))  # it goes on
        check()
    assert done == 499500
    assert (caught.value.signal_number, caught.value.between_steps) == (number, True)


@pytest.mark.parametrize(
    ("grace", "numbers"),
    [
        (60, [signal.SIGTERM, signal.SIGTERM]),
        (60, [signal.SIGTERM, signal.SIGINT]),
        pytest.param(0.05, [signal.SIGTERM], marks=needs_timers),
    ],
)
def test_a_second_signal_or_the_end_of_the_grace_interrupts_at_once(grace, numbers):
    with pytest.raises(Interrupted) as caught, noted_signals(grace):
        for number in numbers:
            send(number)
        compute_until_interrupted()
        pytest.fail("nothing interrupted it")
    assert (caught.value.signal_number, caught.value.between_steps) == (signal.SIGTERM, False)


@needs_signals
def test_a_second_hangup_waits_for_the_check():
    with pytest.raises(Interrupted) as caught, noted_signals(grace=60) as check:
        send(signal.SIGHUP)
        send(signal.SIGHUP)
        check()
    assert (caught.value.signal_number, caught.value.between_steps) == (signal.SIGHUP, True)


@needs_timers
def test_an_interruption_that_is_lost_is_repeated(monkeypatch):
    monkeypatch.setattr("rl_il.runs.signals.AGAIN", 0.05)
    with noted_signals(grace=0.05):
        send(signal.SIGTERM)
        for _ in range(3):
            with pytest.raises(Interrupted):  # a callback of C code loses it in the same way
                compute_until_interrupted()


@needs_timers
def test_without_a_grace_a_signal_waits_for_the_check():
    with noted_signals() as check:
        send(signal.SIGINT)
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        with pytest.raises(Interrupted):
            check()


@needs_timers
def test_the_handlers_from_before_come_back():
    numbers = [*SIGNALS, signal.SIGALRM]
    before = [signal.getsignal(number) for number in numbers]
    with noted_signals(grace=60):
        send(signal.SIGINT)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_signal_that_the_parent_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_signals(grace=60) as check:
            send(signal.SIGINT)
            check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_no_handler():
    found = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with noted_signals(grace=60) as check:
            check()
            found.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


@needs_signals
@pytest.mark.parametrize("ignored", [False, True])
def test_a_hangup_ends_a_script_unless_nohup_ignores_it(capsys, ignored):
    numbers = [signal.SIGTERM, signal.SIGHUP]
    before = [signal.getsignal(number) for number in numbers]
    if ignored:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as exit_:
            run_command(lambda: signal.raise_signal(signal.SIGHUP) or exit(3))
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert exit_.value.code == (3 if ignored else 129)
