"""The teacher's page in a real Chromium with a real session, and a script that presses its keys.

`python tests/teacher/browsing.py page.png` makes the README's picture of the page: LunarLander, being taught.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rl_il.envs import make_env
from rl_il.experts.loading import load_expert
from rl_il.files import atomic_write
from rl_il.teacher.acting import ScriptedTeacher
from rl_il.teacher.metrics import measure
from rl_il.teacher.page_loop import PageLoop
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import open_teaching

if TYPE_CHECKING:  # pytest must collect the tests also if Playwright is not installed
    from playwright.sync_api import Browser

SECONDS = 15  # to wait for anything, on a busy machine
# One evaluation checks the condition in every frame: the page's security policy forbids evaluating text later.
UNTIL = """([condition, seconds]) => new Promise((resolve, reject) => {
  const holds = eval(condition), end = performance.now() + seconds * 1000;
  const look = () =>
    holds() ? resolve(true) : performance.now() > end ? reject(condition) : requestAnimationFrame(look);
  look();
})"""


def expect(locator):
    """Return Playwright's assertions about `locator`, which wait up to `SECONDS`."""
    from playwright.sync_api import expect

    expect.set_options(timeout=SECONDS * 1000)
    return expect(locator)


@contextmanager
def chromium():
    """Run the installed Chromium without a window."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise RuntimeError("Chromium is not installed; run apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class ServedTeaching:
    """A session whose page is served in a thread; scripts/teach.py serves it in its main thread."""

    def __init__(self, folder: Path, **settings):
        self.stack = ExitStack()
        config = TeachConfig(logdir=str(folder), port=0, **({"eval_every": -1} | settings))
        self.teaching = open_teaching(self.stack, config)
        self.session = self.teaching.session
        self.steps: queue.Queue = queue.Queue()
        self.failure: BaseException | None = None
        self.page = PageLoop(self.teaching, 0)
        self.page.server.start()
        self.url, self.ended = self.page.server.url, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.page.run(self._show_step, self.ended.is_set)
        except BaseException as error:
            self.failure = error

    def _show_step(self) -> None:
        session = self.session
        ob = session.rollout.obs[-1]
        own = session.player.get_action(ob)  # what the agent will do next
        self.steps.put((session.episode, len(session.rollout), ob, own))

    def close(self) -> None:
        """End the session."""
        self.ended.set()
        self.thread.join()
        self.page.server.stop()
        self.teaching.abandon()
        self.stack.close()
        if self.failure:
            raise self.failure

    def newest_step(self):
        """Wait for a step that was not returned yet; return the newest one."""
        step = self.steps.get(timeout=SECONDS)
        while not self.steps.empty():
            step = self.steps.get_nowait()
        return step


class Tab:
    """A browser tab with the page, its console output (`said`) and the addresses it requested (`asked`)."""

    def __init__(self, browser: Browser, **context):
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | context))
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"pageerror: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))

    def open(self, teacher: ServedTeaching, start: bool = True) -> Tab:
        """Open the page and, if `start`, start the session."""
        self.page.goto(teacher.url)
        if start:
            self.start()
        return self

    def start(self) -> None:
        """Press the button that starts or resumes, and wait until the veil is gone."""
        self.page.click("#veil-button")
        expect(self.page.locator("#veil")).to_be_hidden()

    def until(self, condition: str, seconds: float = SECONDS) -> None:
        """Wait until the JavaScript expression is true in the page."""
        self.page.evaluate(UNTIL, [f"() => {condition}", seconds])

    def link(self, status: str) -> None:
        """Wait for this status of the connection."""
        expect(self.page.locator("body")).to_have_attribute("data-link", status)

    def acting(self, who: str) -> None:
        """Wait until the page says that `who` acts."""
        expect(self.page.locator("body")).to_have_attribute("data-acting", who)

    def more_frames(self, frames: int = 5) -> None:
        """Wait until so many more frames are drawn."""
        drawn = int(self.page.get_attribute("#picture", "data-drawn") or 0)
        self.until(f"+document.querySelector('#picture').dataset.drawn >= {drawn + frames}", 60)

    def frames_per_second(self, frames: int) -> float:
        """Return the frame rate, measured over so many frames."""
        start = self.page.evaluate("performance.now()")
        self.more_frames(frames)
        return 1000 * frames / (self.page.evaluate("performance.now()") - start)

    def key_to_picture(self, code: str) -> float:
        """Press the key; return the milliseconds until the first frame that shows its effect is drawn."""
        self.page.evaluate("delete document.querySelector('#picture').dataset.keyToPicture")
        self.page.keyboard.down(code)
        self.until("document.querySelector('#picture').dataset.keyToPicture")
        return float(self.page.get_attribute("#picture", "data-key-to-picture"))


class Hands:
    """Presses the scripted teacher's keys in the browser, as a person who corrects the agent would."""

    def __init__(self, tab: Tab, teacher: ServedTeaching):
        config = teacher.teaching.config
        expert = load_expert(config.expert_policy_file, teacher.teaching.env)
        self.tab, self.teacher = tab, teacher
        self.scripted = ScriptedTeacher(expert, teacher.session.keys, config)
        self.held: tuple[str, ...] = ()
        self.episode = -1

    def teach(self, episodes: int) -> list[dict]:
        """Teach until so many episodes are finished; return the session's history."""
        history = self.teacher.teaching.metrics.history
        while len(history) < episodes:
            self.react()
        self.hold(())
        return history

    def react(self) -> int:
        """Hold the keys that the newest step needs; return the step's number in its episode."""
        episode, step, ob, own = self.teacher.newest_step()
        if episode != self.episode:
            self.episode = episode
            self.scripted.reset()
        self.hold(self.scripted.choose(ob, own))
        return step

    def hold(self, keys: tuple[str, ...]) -> None:
        """Release the other keys, and press these."""
        for code in set(self.held) - set(keys):
            self.tab.page.keyboard.up(code)
        for code in keys:
            if code not in self.held:
                self.tab.page.keyboard.down(code)
        self.held = tuple(keys)


def returns_alone(teacher: ServedTeaching, episodes: int) -> np.ndarray:
    """Return the `(episodes,)` returns of the newest snapshot acting alone."""
    config = teacher.teaching.config
    env = make_env(config.env_name)
    try:
        return measure(teacher.teaching.learner.newest.actor, env, replace(config, eval_episodes=episodes))
    finally:
        env.close()


def make_picture(path: Path) -> None:
    """Teach LunarLander for a while, and take a screenshot of the page while the agent is corrected."""
    before = os.getcwd()
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the page shows the path of the run folder
        teacher = ServedTeaching(Path("data/teach_LunarLander-v3"), env_name="LunarLander-v3", eval_every=5)
        tab = Tab(browser).open(teacher)
        hands = Hands(tab, teacher)
        hands.teach(episodes=18)
        while hands.react() < 80 or not hands.held:
            pass
        tab.acting("human")
        picture = tab.page.screenshot(animations="disabled")  # as colours are after their transitions
        hands.hold(())
        teacher.close()
        os.chdir(before)
    with atomic_write(path) as file:
        file.write(picture)
    print(f"{path}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    make_picture(Path(sys.argv[1]))
