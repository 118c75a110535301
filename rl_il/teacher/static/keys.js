// The held keys: from the keyboard, from touch or mouse on the page's key buttons, and from a gamepad.

const PAD_BUTTONS = { 12: "ArrowUp", 13: "ArrowDown", 14: "ArrowLeft", 15: "ArrowRight" };
const PAD_AXES = [["ArrowLeft", "ArrowRight"], ["ArrowUp", "ArrowDown"]];
const DEAD_ZONE = 0.5;
const ACTIVATES = new Set(["Space", "Enter"]);

export class HeldKeys {
  /** `buttons` contains one `<button data-code>` for each key; `onChange(held)` gets each new list of held keys. */
  constructor(buttons, onChange) {
    this.buttons = buttons;
    this.onChange = onChange;
    this.codes = new Set(); // the environment's keys
    this.keyboard = new Map(); // physical key -> code
    this.pointers = new Map(); // pointer id -> code
    this.gamepad = new Set();
    this.held = []; // in the order in which they were pressed
    this.listenToKeyboard();
    this.listenToPointers();
    addEventListener("gamepadconnected", () => this.pollGamepads());
    addEventListener("blur", () => this.release());
    addEventListener("pagehide", () => this.release());
    document.addEventListener("visibilitychange", () => this.release());
  }

  /** Set the environment's keys, and releases all. */
  use(codes) {
    this.codes = new Set(codes);
    this.release();
  }

  release() {
    this.keyboard.clear();
    this.pointers.clear();
    this.gamepad.clear();
    this.changed();
  }

  changed() {
    const now = new Set([...this.keyboard.values(), ...this.pointers.values(), ...this.gamepad]);
    const kept = this.held.filter((code) => now.has(code));
    const added = [...now].filter((code) => this.codes.has(code) && !kept.includes(code));
    if (!added.length && kept.length === this.held.length) return;
    this.held = [...kept, ...added];
    for (const button of this.buttons.querySelectorAll("[data-code]")) {
      button.setAttribute("aria-pressed", this.held.includes(button.dataset.code));
    }
    this.onChange(this.held);
  }

  listenToKeyboard() {
    addEventListener("keydown", (event) => {
      const code = this.codeOf(event);
      if (!code) return;
      event.preventDefault(); // an arrow key must not scroll the page
      if (event.repeat) return;
      this.keyboard.set(event.code, code);
      this.changed();
    });
    addEventListener("keyup", (event) => {
      // While Meta is held, some systems send no keyup for other keys.
      if (event.key === "Meta") this.keyboard.clear();
      this.keyboard.delete(event.code);
      this.changed();
    });
  }

  /** Return the environment's key of the event, or null. Space and Enter press a focused button instead. */
  codeOf(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return null;
    const button = event.target.closest?.("button");
    if (button && ACTIVATES.has(event.code)) return button.dataset.code ?? null;
    return this.codes.has(event.code) ? event.code : null;
  }

  listenToPointers() {
    const under = (event) =>
      document.elementFromPoint(event.clientX, event.clientY)?.closest("#keys [data-code]")?.dataset.code;
    const set = (event) => {
      const code = under(event);
      if (!code || this.pointers.get(event.pointerId) === code) return;
      this.pointers.set(event.pointerId, code);
      this.changed();
    };
    this.buttons.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.buttons.setPointerCapture(event.pointerId); // a thumb may slide from one key to the next
      set(event);
    });
    this.buttons.addEventListener("pointermove", (event) => this.pointers.has(event.pointerId) && set(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      this.buttons.addEventListener(name, (event) => {
        this.pointers.delete(event.pointerId);
        this.changed();
      });
    }
    this.buttons.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  pollGamepads() {
    cancelAnimationFrame(this.poll);
    const pads = navigator.getGamepads().filter((pad) => pad?.connected);
    this.gamepad = new Set();
    for (const pad of document.hasFocus() ? pads : []) {
      for (const [index, code] of Object.entries(PAD_BUTTONS)) {
        if (pad.buttons[index]?.pressed) this.gamepad.add(code);
      }
      PAD_AXES.forEach(([less, more], axis) => {
        if (pad.axes[axis] < -DEAD_ZONE) this.gamepad.add(less);
        if (pad.axes[axis] > DEAD_ZONE) this.gamepad.add(more);
      });
    }
    this.changed();
    if (pads.length) this.poll = requestAnimationFrame(() => this.pollGamepads());
  }
}
