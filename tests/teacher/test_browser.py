"""The teacher's page in a real Chromium, before a real session that trains: what a person sees and does."""

import http.client
import re

import pytest
from browsing import Hands, Tab, Teacher, chromium, expect, returns_alone

from rl_il.datasets import load_trajectories
from rl_il.types import HUMAN

pytestmark = pytest.mark.browser
MINUS = "\N{MINUS SIGN}"
BIG_ENOUGH = 44  # CSS pixels, for a finger


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def teach(tmp_path):
    """Makes teachers; ends them."""
    teachers = []

    def make(env_name="MountainCar-v0", **settings):
        teachers.append(Teacher(tmp_path / f"run_{len(teachers)}", env_name=env_name, **settings))
        return teachers[-1]

    yield make
    for teacher in teachers:
        teacher.close()


@pytest.fixture
def tabs(browser):
    """Makes tabs; none of them may have complained, or asked anybody else for anything."""
    opened = []

    def make(**context):
        opened.append(Tab(browser, **context))
        return opened[-1]

    yield make
    for tab in opened:
        tab.context.close()
        assert tab.said == []
        assert {re.sub(r":\d+/.*", "", address) for address in tab.asked} <= {"http://127.0.0.1", "ws://127.0.0.1"}


@pytest.mark.parametrize("env_name", ["MountainCar-v0", "LunarLander-v3"])
def test_frames_arrive_while_the_agent_trains(teach, tabs, env_name):
    tab = tabs().open(teach(env_name))
    tab.page.keyboard.down("ArrowLeft")
    tab.until("document.querySelector('#chart-loss .value').textContent")  # training has begun
    rate = tab.frames_per_second(60)
    print(f"\n{env_name}: {rate:.0f} frames/s drawn while training, in the test's own process")
    assert rate > 5
    assert tab.number("#labels-human") > 60
    assert tab.page.evaluate("document.querySelector('#picture').width") == 600


def test_a_held_key_overrides_and_letting_go_gives_back(teach, tabs):
    tab = tabs().open(teach())
    tab.acting("agent")
    delay = tab.key_to_picture("ArrowLeft")
    print(f"\nkey to picture: {delay:.0f} ms")
    assert 0 < delay < 1000
    tab.acting("human")
    expect(tab.page.locator("#acting-word")).to_have_text("You act")
    expect(tab.page.locator("#choices li.human")).to_have_text("push left")
    expect(tab.page.locator("[data-code=ArrowLeft]")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.down("ArrowRight")  # the key pressed last decides
    expect(tab.page.locator("#choices li.human")).to_have_text("push right")
    tab.page.keyboard.up("ArrowRight")
    expect(tab.page.locator("#choices li.human")).to_have_text("push left")
    tab.page.keyboard.up("ArrowLeft")
    tab.acting("agent")
    expect(tab.page.locator("#choices li.human")).to_have_count(0)


def test_keys_are_let_go_when_the_page_loses_the_focus(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
    tab.page.keyboard.down("ArrowLeft")
    tab.acting("human")
    tab.page.evaluate("dispatchEvent(new Event('blur'))")
    tab.acting("agent")
    assert teacher.session.held == ()
    tab.page.keyboard.down("ArrowLeft")  # held all the time: only a repeat, which says nothing
    tab.more_frames()
    tab.acting("agent")


def test_out_of_sight_it_pauses(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
    tab.page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(tab.page.locator("#veil-title")).to_have_text("Paused")
    expect(tab.page.locator("#veil-text")).to_have_text("This page was out of sight.")
    assert teacher.session.paused


def test_pause_stops_the_session_and_resume_goes_on(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
    tab.page.click("#pause")
    expect(tab.page.locator("#acting-word")).to_have_text("Paused")
    steps = len(teacher.session.acs)
    expect(tab.page.locator("#clock")).to_have_text(f"Episode 1 · step {steps}")
    tab.page.keyboard.press("ArrowLeft")
    tab.page.keyboard.press("s")  # answered after the key, which did nothing
    expect(tab.page.locator("#notices")).to_contain_text("saved")
    assert len(teacher.session.acs) == steps
    tab.page.keyboard.press("p")
    expect(tab.page.locator("#veil")).to_be_hidden()
    tab.until(f"+document.querySelector('#clock').textContent.split(' ').at(-1) > {steps}")


def test_modes(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
    tab.page.click("[data-mode=demonstrate]")
    tab.acting("human")
    expect(tab.page.locator("#choices li.human")).to_have_text("do nothing")  # no key is held
    tab.page.keyboard.press("3")
    expect(tab.page.locator("[data-mode=watch]")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.down("ArrowLeft")
    tab.more_frames()
    tab.acting("agent")
    assert teacher.session.held == ("ArrowLeft",)
    tab.page.keyboard.press("2")
    tab.acting("human")


def test_undo_takes_the_newest_labels(teach, tabs):
    teacher = teach(updates_per_step=0)
    tab = tabs().open(teacher)
    last = round(5 * teacher.session.fps)
    tab.page.click("[data-speed='4']")
    tab.page.keyboard.down("ArrowLeft")
    tab.until(f"+document.querySelector('#labels-human').textContent > {last + 10}", 30)
    tab.page.click("#pause")
    expect(tab.page.locator("#veil")).to_be_visible()
    before = teacher.teaching.labels.human
    tab.page.keyboard.up("ArrowLeft")
    tab.page.click("#undo")
    expect(tab.page.locator("#notices")).to_contain_text(f"{last} labels undone")
    expect(tab.page.locator("#labels-human")).to_have_text(f"{before - last}")


def test_save_writes_what_was_taught(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
    tab.page.keyboard.down("ArrowLeft")
    tab.until("+document.querySelector('#labels-human').textContent >= 20")
    tab.page.keyboard.up("ArrowLeft")
    tab.page.keyboard.press("s")
    expect(tab.page.locator("#notices")).to_contain_text("saved: ")
    (episode,) = load_trajectories(teacher.teaching.folder)
    assert (episode.source == HUMAN).sum() >= 20
    assert (episode.acs[episode.source == HUMAN] == 0).all()


def test_speed_and_new_episode(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
    tab.page.click("[data-speed='4']")
    expect(tab.page.locator("[data-speed='4']")).to_have_attribute("aria-pressed", "true")
    tab.page.keyboard.press("-")
    expect(tab.page.locator("[data-speed='2']")).to_have_attribute("aria-pressed", "true")
    assert teacher.session.speed == 2
    tab.page.click("#reset")
    expect(tab.page.locator("#clock")).to_contain_text("Episode 2 ")
    assert len(teacher.teaching.metrics.history) == 1


def test_episodes_fill_the_charts_and_a_reload_finds_them_again(teach, tabs):
    teacher = teach(ep_len=20)
    tab = tabs().open(teacher)
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


def test_a_second_tab_is_told_and_can_take_over(teach, tabs):
    teacher, first, second = teach(), tabs(), tabs()
    first.open(teacher)
    first.page.keyboard.down("ArrowLeft")
    first.acting("human")
    second.open(teacher, start=False).link("taken")
    expect(second.page.locator("#pause")).to_be_disabled()
    assert not teacher.session.paused
    second.page.click("text=Take over here")
    second.link("open")
    first.link("replaced")
    expect(second.page.locator("#veil-title")).to_have_text("Paused")
    assert teacher.session.held == ()
    second.start()
    first.page.keyboard.down("ArrowRight")  # it no longer acts
    second.page.keyboard.down("ArrowDown")
    expect(second.page.locator("#choices li.human")).to_have_text("do nothing")
    first.page.click("text=Take it back")
    second.link("replaced")


def test_a_lost_connection_pauses_and_comes_back_by_itself(teach, tabs):
    teacher, tab, ends = teach(), tabs(), []

    def connect(page):
        ends.extend([page] if ends else [page, page.connect_to_server()])
        if len(ends) > 2:  # there is no way back
            page.close(code=3000)

    tab.page.route_web_socket("**/socket", connect)
    tab.open(teacher)
    tab.page.keyboard.down("ArrowLeft")
    tab.acting("human")
    for end in tuple(ends):
        end.close(code=3000)
    tab.link("lost")
    expect(tab.page.locator("#veil-title")).to_have_text("Connection lost, paused")
    expect(tab.page.locator("[data-code=ArrowLeft]")).to_have_attribute("aria-pressed", "false")
    tab.acting("nobody")
    ends.clear()
    tab.link("open")
    expect(tab.page.locator("#veil-text")).to_have_text("The connection was lost.")
    assert teacher.session.paused
    assert teacher.session.held == ()
    expect(tab.page.locator("#clock")).to_have_text(f"Episode 1 · step {len(teacher.session.acs)}")
    tab.start()
    tab.acting("agent")


def test_a_wrong_token_is_refused(teach, tabs):
    teacher, tab = teach(), tabs()
    tab.page.goto(teacher.url[:-3] + "abc")
    tab.link("denied")
    expect(tab.page.locator("#veil-text")).to_contain_text("scripts/teach.py")
    expect(tab.page.locator("#pause")).to_be_disabled()
    assert not teacher.page.server.watched
    tab.page.goto(teacher.url)  # the right address, in the same tab
    tab.link("open")


def test_another_origin_and_another_host_are_refused(teach, browser):
    teacher, tab = teach(), Tab(browser)
    port = teacher.page.server.port
    assert tab.page.goto(f"http://elsewhere.test:{port}/").status == 403  # a name that leads to 127.0.0.1
    tab.page.goto("about:blank")
    closed = "new Promise(closed => new WebSocket('ws://127.0.0.1:%d/socket').onclose = e => closed(e.code))"
    assert tab.page.evaluate(closed % port) == 1006  # never opened
    tab.context.close()
    assert not teacher.page.server.watched
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/", headers={"Host": "elsewhere.test"})
    assert connection.getresponse().status == 403


def test_two_thumbs_on_a_phone(teach, tabs):
    teacher = teach("LunarLanderContinuous-v3")
    tab = tabs(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    tab.page.goto(teacher.url)
    tab.page.tap("#veil-button")
    tab.acting("agent")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [key.bounding_box() for key in tab.page.locator("#keys button").all()]
    assert all(min(box["width"], box["height"]) >= BIG_ENOUGH for box in boxes)
    assert all(box["y"] + box["height"] <= 844 for box in boxes)  # under the thumbs without scrolling
    points = {}
    for code in ("ArrowLeft", "ArrowDown", "ArrowRight"):
        box = tab.page.locator(f"[data-code={code}]").bounding_box()
        points[code] = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    devices = tab.context.new_cdp_session(tab.page)

    def touch(kind, *codes):
        touches = [{**points[code], "id": i} for i, code in enumerate(codes)]
        devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    engine, sideways = (tab.page.locator("#choices .value.human").nth(i) for i in range(2))
    touch("touchStart", "ArrowLeft")
    touch("touchStart", "ArrowLeft", "ArrowDown")
    expect(engine).to_have_text("1.00")
    expect(sideways).to_have_text(f"{MINUS}1.00")
    assert teacher.session.held == ("ArrowLeft", "ArrowDown")
    touch("touchMove", "ArrowRight", "ArrowDown")  # the thumb glides to another key
    expect(sideways).to_have_text("1.00")
    touch("touchEnd")
    tab.acting("agent")
    assert tab.page.evaluate("scrollY") == 0


def test_by_keyboard_alone_on_pixels(teach, tabs):
    teacher = teach("CarRacing-v3", updates_per_step=0)
    tab = tabs(viewport={"width": 1280, "height": 400}).open(teacher, start=False)
    expect(tab.page.locator("#veil-button")).to_be_focused()
    tab.page.keyboard.press("Enter")
    tab.acting("agent")
    assert tab.page.evaluate("[picture.width, picture.height, picture.className]") == [96, 96, "pixels"]
    tab.page.keyboard.down("ArrowUp")
    tab.page.keyboard.down("ArrowLeft")
    steering, gas = (tab.page.locator("#choices .value.human").nth(i) for i in range(2))
    expect(gas).to_have_text("0.20")
    expect(steering).to_have_text(f"{MINUS}0.50")
    tab.page.keyboard.up("ArrowUp")
    tab.page.keyboard.press("ArrowDown")
    tab.more_frames()
    assert tab.page.evaluate("[scrollY, document.documentElement.scrollHeight > innerHeight]") == [0, True]
    tab.page.keyboard.up("ArrowLeft")
    tab.acting("agent")
    tab.page.focus("#pause")
    tab.page.keyboard.press("Space")  # a key of the car's, but here it presses the button
    expect(tab.page.locator("#pause-word")).to_have_text("Resume")
    assert teacher.session.held == ()
    tab.page.keyboard.press("Space")
    tab.acting("agent")
    tab.page.focus("[data-code=ArrowLeft]")
    tab.page.keyboard.down("Space")
    tab.acting("human")
    assert teacher.session.held == ("ArrowLeft",)
    tab.page.keyboard.up("Space")
    tab.acting("agent")


GAMEPAD = """() => {
  const buttons = Array.from({length: 16}, () => ({pressed: false}));
  window.pad = {connected: true, buttons, axes: [0, 0]};
  navigator.getGamepads = () => [window.pad, null];
  dispatchEvent(new Event("gamepadconnected"));
}"""


def test_a_gamepad_presses_the_same_keys(teach, tabs):
    tab = tabs().open(teach())
    tab.page.evaluate(GAMEPAD)
    tab.page.evaluate("pad.buttons[14].pressed = true")
    expect(tab.page.locator("#choices li.human")).to_have_text("push left")
    tab.page.evaluate("pad.buttons[14].pressed = false")
    tab.acting("agent")
    tab.page.evaluate("pad.axes[0] = 0.9")
    expect(tab.page.locator("#choices li.human")).to_have_text("push right")
    tab.page.evaluate("pad.axes[0] = -0.9")
    expect(tab.page.locator("#choices li.human")).to_have_text("push left")
    tab.page.evaluate("pad.axes[0] = -0.2")
    tab.acting("agent")


def test_the_stand_in_teaches_mountain_car_through_the_browser(teach, tabs):
    teacher = teach()
    tab = tabs().open(teacher)
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
