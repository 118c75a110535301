"""The teacher's page in a real Chromium with a real session that trains: what a person sees and does."""

import pytest
from browsing import Hands, expect, returns_alone

from rl_il.datasets import load_trajectories
from rl_il.types import HUMAN

pytestmark = pytest.mark.browser


def test_a_held_key_overrides_the_agent_until_it_is_released(lesson):
    _, tab = lesson()
    tab.acting("agent")
    delay = tab.key_to_picture("ArrowLeft")
    print(f"\nkey to picture: {delay:.0f} ms")
    assert 0 < delay < 1000
    tab.acting("human")
    expect(tab.page.locator("#acting-word")).to_have_text("You act")
    expect(tab.page.locator("#choices li.human")).to_have_text("push left")
    expect(tab.page.locator("[data-code=ArrowLeft]")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.down("ArrowRight")  # the key that was pressed last decides
    expect(tab.page.locator("#choices li.human")).to_have_text("push right")
    tab.page.keyboard.up("ArrowRight")
    expect(tab.page.locator("#choices li.human")).to_have_text("push left")
    tab.page.keyboard.up("ArrowLeft")
    tab.acting("agent")
    expect(tab.page.locator("#choices li.human")).to_have_count(0)


def test_losing_focus_releases_the_keys_and_hiding_the_page_pauses(lesson):
    teacher, tab = lesson()
    tab.page.keyboard.down("ArrowLeft")
    tab.acting("human")
    tab.page.evaluate("dispatchEvent(new Event('blur'))")
    tab.acting("agent")
    assert teacher.session.person.held == ()
    tab.page.keyboard.down("ArrowLeft")  # it was held all the time: this is a repeat, which is ignored
    tab.more_frames()
    tab.acting("agent")
    tab.page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.page.locator("#veil-title")).to_have_text("Paused")
    expect(tab.page.locator("#veil-text")).to_contain_text("not visible")
    assert teacher.session.paused


def test_pause_stops_the_session_and_resume_goes_on(lesson):
    teacher, tab = lesson()
    tab.page.click("#pause")
    expect(tab.page.locator("#acting-word")).to_have_text("Paused")
    steps = len(teacher.session.rollout)
    expect(tab.page.locator("#clock")).to_have_text(f"Episode 1 · step {steps}")
    tab.page.keyboard.press("ArrowLeft")
    tab.page.keyboard.press("s")  # its answer comes after the key, which did nothing
    expect(tab.page.locator("#notices")).to_contain_text("saved")
    assert len(teacher.session.rollout) == steps
    tab.page.keyboard.press("p")
    expect(tab.page.locator("#veil")).to_be_hidden()
    tab.until(f"+document.querySelector('#clock').textContent.split(' ').at(-1) > {steps}")


def test_a_key_pressed_while_paused_asks_for_the_button_and_acts_after_it(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher, start=False)
    text, button = tab.page.locator("#veil-text"), tab.page.locator("#veil-button")
    expect(button).to_have_text("Start")
    tab.page.evaluate("document.activeElement.blur()")
    tab.page.keyboard.down("ArrowLeft")
    expect(text).to_contain_text("Press Start first")
    expect(button).to_be_focused()
    assert len(teacher.session.rollout) == 0
    tab.page.keyboard.press("Enter")  # the key is still held, and acts from the first step on
    tab.acting("human")
    assert teacher.session.rollout.sources[0] == HUMAN
    tab.page.keyboard.up("ArrowLeft")
    tab.acting("agent")
    tab.page.keyboard.press("p")
    expect(button).to_have_text("Resume")
    expect(text).to_be_empty()
    tab.page.keyboard.press("ArrowRight")
    expect(text).to_contain_text("Press Resume first")
    tab.page.click("[data-mode=watch]")  # where keys never act
    expect(text).to_be_empty()
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("s")  # its answer comes after the key
    expect(tab.page.locator("#notices")).to_contain_text("saved")
    expect(text).to_be_empty()


def test_modes(lesson):
    teacher, tab = lesson()
    tab.page.click("[data-mode=demonstrate]")
    tab.acting("human")
    expect(tab.page.locator("#choices li.human")).to_have_text("do nothing")  # no key is held
    tab.page.keyboard.press("3")
    expect(tab.page.locator("[data-mode=watch]")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.down("ArrowLeft")
    tab.more_frames()
    tab.acting("agent")
    assert teacher.session.person.held == ("ArrowLeft",)
    tab.page.keyboard.press("2")
    tab.acting("human")


def test_save_and_undo(lesson):
    teacher, tab = lesson(updates_per_step=0)
    last = round(5 * teacher.session.fps)
    tab.page.click("[data-speed='4']")
    tab.page.keyboard.down("ArrowLeft")
    tab.until(f"+document.querySelector('#labels-human').textContent > {last + 10}", 30)
    tab.page.click("#pause")
    expect(tab.page.locator("#veil")).to_be_visible()
    before = teacher.teaching.labels.counts["human"]
    tab.page.keyboard.up("ArrowLeft")
    tab.page.keyboard.press("s")
    expect(tab.page.locator("#notices")).to_contain_text("saved: ")
    episode = load_trajectories(teacher.teaching.folder)[-1]
    assert (episode.source == HUMAN).any() and (episode.acs[episode.source == HUMAN] == 0).all()
    tab.page.click("#undo")
    expect(tab.page.locator("#notices")).to_contain_text(f"{last}")
    expect(tab.page.locator("#labels-human")).to_have_text(f"{before - last}")


def test_the_totals_of_the_session(lesson):
    teacher, tab = lesson(max_labels=1000)
    for _ in range(2):
        tab.page.keyboard.down("ArrowLeft")
        tab.acting("human")
        tab.page.keyboard.up("ArrowLeft")
        tab.acting("agent")
    tab.page.click("[data-mode=watch]")  # here the person is not consulted
    tab.more_frames()
    tab.page.click("#pause")
    expect(tab.page.locator("#veil")).to_be_visible()
    counts = teacher.session.counts
    assert counts.takeovers == 2 and 2 <= counts.expert_steps < counts.consulted < counts.env_steps
    expect(tab.page.locator("#env-steps")).to_have_text(f"{counts.env_steps}")
    expect(tab.page.locator("#consulted")).to_have_text(f"{counts.consulted}")
    expect(tab.page.locator("#expert-steps")).to_have_text(f"{counts.expert_steps}")
    expect(tab.page.locator("#takeovers")).to_have_text("2")
    assert tab.page.evaluate("document.documentElement.scrollHeight") <= 800  # all is visible without scrolling
    expect(tab.page.locator("#labels-left")).to_have_text(f"{1000 - counts.expert_labels} left")


def test_speed_and_new_episode(lesson):
    teacher, tab = lesson()
    tab.page.click("[data-speed='4']")
    expect(tab.page.locator("[data-speed='4']")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.press("-")
    expect(tab.page.locator("[data-speed='2']")).to_have_attribute("aria-pressed", "true")
    assert teacher.session.speed == 2
    tab.page.click("#reset")
    expect(tab.page.locator("#clock")).to_contain_text("Episode 2 ")
    assert len(teacher.teaching.metrics.history) == 1


def test_episodes_fill_the_charts_and_are_there_after_a_reload(lesson):
    teacher, tab = lesson(ep_len=20)
    tab.page.click("[data-speed='4']")
    tab.page.keyboard.down("ArrowLeft")
    tab.until("document.querySelectorAll('#chart-return circle.dot').length >= 3")
    tab.page.keyboard.up("ArrowLeft")
    tab.page.keyboard.press("p")
    expect(tab.page.locator("#veil")).to_be_visible()
    finished, clock = len(teacher.teaching.metrics.history), tab.page.inner_text("#clock")
    tab.page.reload()
    expect(tab.page.locator("#veil-title")).to_have_text("Paused")
    expect(tab.page.locator("#clock")).to_have_text(clock)
    expect(tab.page.locator("#chart-return circle.dot")).to_have_count(finished)
    expect(tab.page.locator("#chart-rate svg")).to_contain_text(f"episode {finished}")
    assert "token" not in tab.page.url
    tab.start()
    tab.acting("agent")


def test_a_scripted_teacher_teaches_mountain_car_through_the_browser(lesson):
    teacher, tab = lesson()
    tab.page.click("[data-speed='4']")
    history = Hands(tab, teacher).teach(episodes=10)
    tab.page.click("#pause")
    expect(tab.page.locator("#veil")).to_be_visible()
    print()
    for episode in history:
        print("return {return:.0f}, {intervention_rate:.0%} corrected".format(**episode))
    returns = returns_alone(teacher, 20)
    print(f"the last snapshot alone: {returns.mean():.1f} over {len(returns)} episodes")
    assert returns.mean() >= -130
    assert len(history) == 10
