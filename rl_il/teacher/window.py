"""A window in the place of the page, where there is a display: `record_demos.py --human --local`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from rl_il.errors import InputError
from rl_il.teacher.display import UNDO_SECONDS, picture
from rl_il.teacher.teaching import Teaching

LEAST_WIDTH = 480  # pixels; smaller pictures are scaled up


def check_display() -> None:
    """Raises `InputError` where a window would be invisible."""
    hidden = os.environ.get("SDL_VIDEODRIVER") in ("dummy", "offscreen")
    headless = sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if hidden or headless:
        raise InputError("--local: there is no display here; drop it, and open the page in a browser")


def run_window(teaching: Teaching, check_signals: Callable[[], None], finished: Callable[[], bool]) -> None:
    """Steps the session until `finished()`, or until the window is closed."""
    import pygame

    window = Window(teaching, pygame)
    try:
        while not finished() and window.obey():
            check_signals()
            teaching.learner.check()
            begun = time.monotonic()
            if not teaching.session.paused:
                teaching.session.step()
            window.draw()
            session = teaching.session
            time.sleep(max(0.0, begun + 1 / (session.fps * session.speed) - time.monotonic()))
    finally:
        pygame.display.quit()


class Window:
    """What pygame shows, and the keys it reports, by the names that browsers give them."""

    def __init__(self, teaching: Teaching, pygame: Any):
        self.teaching, self.session, self.pygame = teaching, teaching.session, pygame
        self.codes = key_codes(pygame)
        self.held: list[str] = []
        pygame.display.init()
        height, width = picture(self.session).shape[:2]
        scale = -(-LEAST_WIDTH // width)
        self.screen = pygame.display.set_mode((scale * width, scale * height))

    def obey(self) -> bool:
        """Reads what was pressed since the last time; False where the window was closed."""
        pygame = self.pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
                return False
            if event.type == pygame.WINDOWFOCUSLOST:
                self.held.clear()
                self.session.paused = True
            elif event.type == pygame.KEYDOWN:
                self._press(event.key)
            elif event.type == pygame.KEYUP and self.codes.get(event.key) in self.held:
                self.held.remove(self.codes[event.key])
        self.session.hold(self.held)
        return True

    def _press(self, key: int) -> None:
        if key == self.pygame.K_p:
            self.session.paused = not self.session.paused
        elif key == self.pygame.K_BACKSPACE:
            self.teaching.undo(UNDO_SECONDS)
        elif key in self.codes:
            self.held.append(self.codes[key])

    def draw(self) -> None:
        """Shows the session as it is."""
        pygame, session = self.pygame, self.session
        surface = pygame.surfarray.make_surface(picture(self.session).swapaxes(0, 1))
        self.screen.blit(pygame.transform.scale(surface, self.screen.get_size()), (0, 0))
        pygame.display.flip()
        keys = "  ".join(f"{key.label} {key.does}" for key in session.keys.keys)
        state = "paused (P goes on)" if session.paused else f"return {sum(session.rewards):.1f}"
        pygame.display.set_caption(
            f"episode {session.episode + 1}, {state} | {keys} | P pause, Backspace undo, Esc end"
        )


def key_codes(pygame: Any) -> dict[int, str]:
    """pygame's keys to `KeyboardEvent.code`."""
    codes = {getattr(pygame, f"K_{name.lower()}"): f"Key{name}" for name in "ABCDEFGHIJKLMNOQRSTUVWXYZ"}
    codes |= {getattr(pygame, f"K_{digit}"): f"Digit{digit}" for digit in range(10)}
    arrows = {getattr(pygame, f"K_{name.upper()}"): f"Arrow{name}" for name in ("Left", "Right", "Up", "Down")}
    return codes | arrows | {pygame.K_SPACE: "Space"}
