"""Measurements of the page: frames per second, the delay from a key to its picture, an agent taught through it."""

import contextlib
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from browsing import Hands, ServedTeaching, Tab, expect, returns_alone

from rl_il.files import REPOSITORY

pytestmark = pytest.mark.browser_slow

FRAMES_PER_SECOND = 30
OWN_PACE = {"MountainCar-v0": 30, "LunarLander-v3": 50}  # steps per second, and so the highest frame rate
KEY_TO_PICTURE = 100  # ms
PRESSES = 30


@contextlib.contextmanager
def teach_py(folder, *flags):
    """Run scripts/teach.py in another process; yield an object with the page's address."""
    command = [sys.executable, "scripts/teach.py", *"--port 0 --eval_every -1 --logdir".split(), str(folder), *flags]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        address = next(found for line in process.stdout if (found := re.search(r"http://127\S+", line)))
        yield SimpleNamespace(url=address[0])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.parametrize("env_name", OWN_PACE)
def test_frames_and_keys_are_fast_while_the_agent_trains(browser, tmp_path, env_name):
    with teach_py(tmp_path / "run", "--env_name", env_name) as teacher:
        tab = Tab(browser).open(teacher)
        tab.page.keyboard.down("ArrowLeft")
        tab.until("document.querySelector('#chart-loss .value').textContent")  # training has begun
        own_pace = tab.frames_per_second(150)
        tab.page.click("[data-speed='4']")
        expect(tab.page.locator("[data-speed='4']")).to_have_attribute("aria-pressed", "true")
        fourfold = tab.frames_per_second(300)
        tab.page.click("[data-speed='1']")
        tab.page.keyboard.up("ArrowLeft")
        delays = []
        for _ in range(PRESSES):
            tab.acting("agent")
            tab.more_frames()
            delays.append(tab.key_to_picture("ArrowRight"))
            tab.page.keyboard.up("ArrowRight")
        tab.context.close()
    print(f"\n{env_name}, while training: {own_pace:.1f} frames/s at its own pace, {fourfold:.1f} at four times that")
    print(f"key to picture: median {np.median(delays):.0f} ms, longest {max(delays):.0f} ms of {len(delays)}")
    assert tab.said == []
    assert own_pace >= min(FRAMES_PER_SECOND, 0.95 * OWN_PACE[env_name])
    assert fourfold >= FRAMES_PER_SECOND
    assert max(delays) < KEY_TO_PICTURE


def test_a_scripted_teacher_teaches_lunar_lander_through_the_browser(browser, tmp_path):
    teacher = ServedTeaching(tmp_path / "run", env_name="LunarLander-v3")
    tab = Tab(browser).open(teacher)
    hands = Hands(tab, teacher)
    print("\nepisodes | mean return | corrected | labels | the newest snapshot alone, 20 episodes")
    for stop in range(10, 61, 10):
        ten = hands.teach(stop)[stop - 10 : stop]
        alone = returns_alone(teacher, 20).mean()
        steps = [episode["length"] for episode in ten]
        rate = np.average([episode["intervention_rate"] for episode in ten], weights=steps)
        labels = ten[-1]["labels"]["human"]
        mean = np.mean([episode["return"] for episode in ten])
        print(f"{stop - 9:>2} to {stop:>2} | {mean:11.1f} | {rate:9.0%} | {labels:6,} | {alone:.1f}", flush=True)
    tab.context.close()
    teacher.close()
    assert tab.said == []
    assert alone > 150
