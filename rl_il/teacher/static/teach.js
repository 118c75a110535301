// Connect the parts of the page: messages come in, keys and commands go out. The server decides who acts.

import { History } from "./charts.js";
import { Connection } from "./connection.js";
import { HeldKeys } from "./keys.js";
import { build, notice, say, showState } from "./panel.js";
import { Picture } from "./picture.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [0.25, 0.5, 1, 2, 4];

let state = null; // the newest state from the server
let undoSeconds = 5;
let why = ""; // why the session is paused, if the user did not ask for it
let hasPressed = false; // whether a key was pressed during this pause

const connection = new Connection({ onStatus, onMessage, onFrame: (data) => picture.receive(data) });
const picture = new Picture($("picture"), (seq) => connection.send({ type: "ack", seq }));
const history = new History();
const keys = new HeldKeys($("keys"), (held) => {
  const stamp = performance.now();
  if (connection.send({ type: "keys", held, stamp })) picture.keysSent(stamp);
  if (held.length && connection.status === "open" && state.paused && state.mode !== "watch") {
    hasPressed = true;
    showVeil();
    $("veil-button").focus();
    $("veil").firstElementChild.scrollIntoView({ block: "nearest" });
  }
});

const command = (name, value = null) => connection.send({ type: "command", name, value });

function onMessage(message) {
  if (message.type === "welcome") welcome(message);
  if (message.type === "state") onState(message);
  if (message.type === "notice") notice(message.level, message.text);
  if (message.type === "episode") {
    history.addEpisode(message);
    history.draw();
  }
  if (message.type === "snapshot_return") {
    history.addAlone(message.return);
    history.draw();
    const { return: mean, episodes: n, measure } = message;
    const shown = measure === "return" ? Math.round(mean) : mean.toFixed(3);
    notice("info", `The newest snapshot, acting alone: mean ${measure} ${shown} in ${n} episode${n === 1 ? "" : "s"}.`);
  }
}

function welcome(message) {
  undoSeconds = message.undo_seconds;
  build(message);
  keys.use(message.keys.map((key) => key.code));
  picture.shape(message.width, message.height, message.pixel_observation);
  history.reset(message.episodes);
  onState(message.state);
}

function onState(newest) {
  if (state?.paused && !newest.paused) why = "";
  if (!newest.paused || newest.mode !== state?.mode) hasPressed = false;
  state = newest;
  if (state.keys_stamp !== null) picture.keysShown(state.keys_stamp, state.seq);
  showState(state);
  history.addLoss(state.updates, state.loss);
  history.drawSoon();
  showVeil();
}

// The text over the picture says why the session does not run. Its button starts or resumes the session.
const VEILS = {
  connecting: { title: "Connecting", text: "" },
  lost: {
    title: "Connection lost, paused",
    text: "All keys are released. The page is reconnecting. If the session has stopped, start it again with --resume.",
    button: "Try now",
    act: () => connection.open(),
  },
  taken: {
    title: "Another tab is teaching",
    text: "Only one tab at a time can control the session.",
    button: "Take over here",
    act: () => connection.open(true),
  },
  replaced: {
    title: "Another tab took over",
    text: "This tab no longer controls the session.",
    button: "Take it back",
    act: () => connection.open(true),
  },
  denied: {
    title: "This address is not valid",
    text: "The token is missing or old. Open the complete address that the session printed, from http to the end.",
  },
  paused: { title: "Paused", button: "Resume", act: () => command("pause", false) },
};

const START = {
  demonstrate: "You act with the keys below. Every step becomes a label.",
  teach: "The agent acts. Hold a key to correct it. When you release the key, the agent acts again.",
  watch: "The agent acts alone. No step becomes a label.",
};
const LINKS = { connecting: "Connecting", open: "Connected", lost: "Not connected", denied: "Refused" };

function showVeil() {
  const open = connection.status === "open";
  const name = open ? (state?.paused ? "paused" : null) : connection.status;
  if (document.body.dataset.veil === (name ?? "") && name !== "paused") return;
  document.body.dataset.veil = name ?? "";
  const veil = VEILS[name];
  $("veil").hidden = !veil;
  if (!veil) return;
  const isStart = name === "paused" && state.step === 0 && state.saved_episodes === 0;
  const isAsked = name === "paused" && hasPressed;
  const button = isStart ? "Start" : (veil.button ?? "");
  let text = isStart ? START[state.mode] : name === "paused" ? why : veil.text;
  if (isAsked) text = `Press ${button} first. Keys do nothing while the session is paused.`;
  say("veil-title", isStart ? "Ready" : veil.title);
  say("veil-text", text);
  say("veil-button", button);
  $("veil-button").hidden = !veil.button;
  $("veil-button").classList.toggle("asked", isAsked);
  if (veil.button && document.activeElement === document.body) $("veil-button").focus({ preventScroll: true });
}

function onStatus(status) {
  document.body.dataset.link = status;
  say("link-text", LINKS[status] ?? "In another tab");
  for (const group of [$("modes"), $("controls")]) group.disabled = status !== "open";
  if (status === "lost") why = "The connection was lost.";
  if (status !== "open") {
    keys.release();
    hasPressed = false;
    document.body.dataset.acting = "nobody";
    say("acting-word", "Nobody acts");
  }
  showVeil();
}

$("veil-button").addEventListener("click", () => VEILS[document.body.dataset.veil].act());
$("pause").addEventListener("click", () => command("pause", !state.paused));
$("undo").addEventListener("click", () => command("undo", undoSeconds));
$("reset").addEventListener("click", () => command("reset"));
$("save").addEventListener("click", () => command("save"));
for (const button of document.querySelectorAll("[data-mode]")) {
  button.addEventListener("click", () => command("mode", button.dataset.mode));
}
for (const button of document.querySelectorAll("[data-speed]")) {
  button.addEventListener("click", () => command("speed", Number(button.dataset.speed)));
}

function changeSpeed(by) {
  const next = SPEEDS[SPEEDS.indexOf(state.speed) + by];
  if (next) command("speed", next);
}

const click = (id) => () => $(id).click();
const SHORTCUTS = {
  p: click("pause"),
  u: click("undo"),
  n: click("reset"),
  s: click("save"),
  1: () => document.querySelector("[data-mode=demonstrate]").click(),
  2: () => document.querySelector("[data-mode=teach]").click(),
  3: () => document.querySelector("[data-mode=watch]").click(),
  "-": () => changeSpeed(-1),
  "+": () => changeSpeed(1),
  "=": () => changeSpeed(1),
};

addEventListener("keydown", (event) => {
  // A key of the environment is not also a shortcut: keys.js has marked its event as handled.
  if (event.defaultPrevented || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (connection.status === "open") SHORTCUTS[event.key.toLowerCase()]?.();
});

document.addEventListener("visibilitychange", () => {
  // The agent's steps must not count as approved if nobody sees them.
  if (!document.hidden || !state || state.paused) return;
  why = "The page was not visible.";
  command("pause", true);
});

setInterval(() => {
  const rate = connection.status === "open" && !state.paused ? `${Math.round(picture.rate())} frames/s` : "";
  const delay = picture.keyToPicture === null ? "" : ` · key to picture ${Math.round(picture.keyToPicture)} ms`;
  say("speed-shown", rate && rate + delay);
}, 500);

connection.open();
