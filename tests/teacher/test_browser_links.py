"""The teacher's page in a real Chromium: who may open it, which devices work, and lost connections."""

import pytest
from browsing import expect

pytestmark = pytest.mark.browser
MINUS = "\N{MINUS SIGN}"
BIG_ENOUGH = 44  # CSS pixels, for a finger


def test_a_second_tab_can_take_over(teach, tabs):
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
    assert teacher.session.person.held == ()
    second.start()
    first.page.keyboard.down("ArrowRight")  # it no longer acts
    second.page.keyboard.down("ArrowDown")
    expect(second.page.locator("#choices li.human")).to_have_text("do nothing")
    first.page.click("text=Take it back")
    second.link("replaced")


def test_a_lost_connection_pauses_and_the_page_reconnects(teach, tabs):
    teacher, tab, ends = teach(), tabs(), []

    def connect(page):
        ends.extend([page] if ends else [page, page.connect_to_server()])
        if len(ends) > 2:  # reconnecting fails
            page.close(code=3000)

    tab.page.route_web_socket("**/socket", connect)
    tab.open(teacher)
    tab.page.keyboard.down("ArrowLeft")
    tab.acting("human")
    for end in tuple(ends):
        end.close(code=3000)
    tab.link("lost")
    expect(tab.page.locator("#veil-title")).to_contain_text("lost")
    expect(tab.page.locator("[data-code=ArrowLeft]")).to_have_attribute("aria-pressed", "false")
    tab.acting("nobody")
    ends.clear()
    tab.link("open")
    expect(tab.page.locator("#veil-text")).to_contain_text("lost")
    assert teacher.session.paused
    assert teacher.session.person.held == ()
    expect(tab.page.locator("#clock")).to_have_text(f"Episode 1 · step {len(teacher.session.rollout)}")
    tab.start()
    tab.acting("agent")


def test_a_wrong_token_is_refused(teach, tabs):
    teacher, tab = teach(), tabs()
    tab.page.goto(teacher.url[:-3] + "abc")
    tab.link("denied")
    expect(tab.page.locator("#veil-text")).to_contain_text("address")
    expect(tab.page.locator("#pause")).to_be_disabled()
    assert not teacher.page.server.watched
    tab.page.goto(teacher.url)  # the right address, in the same tab
    tab.link("open")


def test_two_thumbs_on_a_phone(teach, tabs):
    teacher = teach("LunarLanderContinuous-v3")
    tab = tabs(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    tab.page.goto(teacher.url)
    expect(tab.page.locator("#veil-button")).to_have_text("Start")
    tab.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(tab.page.locator("#veil-button")).not_to_be_in_viewport()
    tab.page.tap("[data-code=ArrowLeft]")
    expect(tab.page.locator("#veil-text")).to_contain_text("Press Start first")
    expect(tab.page.locator("#veil-button")).to_be_in_viewport()
    assert len(teacher.session.rollout) == 0
    tab.page.tap("#veil-button")
    tab.acting("agent")
    tab.page.evaluate("scrollTo(0, 0)")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [key.bounding_box() for key in tab.page.locator("#keys button").all()]
    assert all(min(box["width"], box["height"]) >= BIG_ENOUGH for box in boxes)
    assert all(box["y"] + box["height"] <= 844 for box in boxes)  # visible without scrolling
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
    assert teacher.session.person.held == ("ArrowLeft", "ArrowDown")
    touch("touchMove", "ArrowRight", "ArrowDown")  # the thumb slides to another key
    expect(sideways).to_have_text("1.00")
    touch("touchEnd")
    tab.acting("agent")
    assert tab.page.evaluate("scrollY") == 0


def test_with_the_keyboard_only_on_pixels(teach, tabs):
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
    tab.page.keyboard.press("Space")  # it is one of the car's keys, but here it presses the button
    expect(tab.page.locator("#pause-word")).to_have_text("Resume")
    assert teacher.session.person.held == ()
    tab.page.keyboard.press("Space")
    tab.acting("agent")
    tab.page.focus("[data-code=ArrowLeft]")
    tab.page.keyboard.down("Space")
    tab.acting("human")
    assert teacher.session.person.held == ("ArrowLeft",)
    tab.page.keyboard.up("Space")
    tab.acting("agent")


GAMEPAD = """() => {
  const buttons = Array.from({length: 16}, () => ({pressed: false}));
  window.pad = {connected: true, buttons, axes: [0, 0]};
  navigator.getGamepads = () => [window.pad, null];
  dispatchEvent(new Event("gamepadconnected"));
}"""


def test_a_gamepad_presses_the_same_keys(lesson):
    _, tab = lesson()
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
