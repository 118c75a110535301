// What the page shows of the session: who acts, both choices, the numbers and the keys.

const $ = (id) => document.getElementById(id);

const WORDS = { human: "You act", agent: "The agent acts", nobody: "Nobody acts" };
const HINTS = {
  demonstrate: "You act. Every step becomes a label.",
  teach: "Hold a key to correct the agent.",
  watch: "The agent acts alone. No step becomes a label.",
};
const whole = new Intl.NumberFormat("en");

/** Set a text if it has changed. This function runs for every frame. */
export function say(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const mark = (who) => make("span", { className: `mark ${who}` });

/** Build the parts of the page that depend on the environment. */
export function build(welcome) {
  document.title = `Teach ${welcome.env_name}`;
  say("task", welcome.env_name);
  say("undo-word", `Undo ${welcome.undo_seconds} s`);
  say("run-folder", welcome.run_folder ?? "");
  say("approved-means", welcome.labels_rule === "human" ? "not trained on" : "agent's own steps");
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.hidden = !welcome.modes.includes(button.dataset.mode);
  }
  buildKeys(welcome.keys);
  const rows = welcome.actions
    ? welcome.actions.map((name, i) => actionRow(name, welcome.first_action + i))
    : (welcome.axes ?? []).map(axisRow);
  $("choices").replaceChildren(...rows);
  $("choices").classList.toggle("axes", !welcome.actions);
}

/** Make one button for each key. If there are two or more other keys, left and right form a separate group. */
function buildKeys(keys) {
  const of = (...codes) => keys.filter((key) => codes.includes(key.code));
  const left = of("ArrowLeft");
  const right = of("ArrowRight");
  const others = keys.filter((key) => !left.includes(key) && !right.includes(key));
  const pads = others.length < 2 ? [[...left, ...others, ...right]] : [[...left, ...right], others];
  $("keys").replaceChildren(
    ...pads
      .filter((pad) => pad.length)
      .map((pad) => {
        const group = make("div", { className: "pad" }, pad.map(keyButton));
        group.style.setProperty("--keys", pad.length); // all keys are equally wide
        return group;
      }),
  );
}

function keyButton({ code, label, does }) {
  const button = make("button", { type: "button" }, [
    make("kbd", { textContent: label, className: label.length > 1 ? "word" : "" }),
    make("span", { textContent: does }),
  ]);
  button.dataset.code = code;
  button.setAttribute("aria-pressed", "false");
  return button;
}

function actionRow(name, action) {
  const row = make("li", {}, [mark("agent"), make("span", { textContent: name }), mark("human")]);
  row.dataset.action = action;
  return row;
}

function axisRow({ name, low, high }) {
  const track = make("span", { className: "track" }, [mark("agent"), mark("human")]);
  const row = make("li", {}, [
    make("span", { textContent: name }),
    track,
    make("span", { className: "value agent" }),
    make("span", { className: "value human" }),
  ]);
  Object.assign(row.dataset, { low, high });
  track.style.setProperty("--zero", `${share(0, low, high) * 100}%`);
  return row;
}

const share = (value, low, high) => Math.min(Math.max((value - low) / (high - low), 0), 1);

function showChoices(state) {
  const rows = $("choices").children;
  const discrete = !$("choices").classList.contains("axes");
  for (let i = 0; i < rows.length; i += 1) {
    for (const who of ["agent", "human"]) {
      const choice = state[`${who}_action`];
      if (discrete) rows[i].classList.toggle(who, choice === +rows[i].dataset.action);
      else showAxis(rows[i], who, choice?.[i]);
    }
  }
}

/** Show the value as a number, and as a bar from zero. */
function showAxis(row, who, value) {
  const bar = row.querySelector(`.mark.${who}`);
  const label = row.querySelector(`.value.${who}`);
  bar.hidden = value === undefined;
  label.textContent = value === undefined ? "–" : value.toFixed(2).replace("-", "−");
  if (value === undefined) return;
  const { low, high } = row.dataset;
  const [start, end] = [share(0, +low, +high), share(value, +low, +high)].sort((a, b) => a - b);
  bar.style.left = `${start * 100}%`;
  bar.style.width = `${(end - start) * 100}%`;
}

const percent = (part) => `${Math.round(part * 100)} %`;

function press(selector, isPressed) {
  for (const button of document.querySelectorAll(selector)) {
    button.setAttribute("aria-pressed", String(isPressed(button)));
  }
}

export function showState(state) {
  const acting = state.paused ? "nobody" : state.acting;
  document.body.dataset.acting = acting;
  say("acting-word", state.paused ? "Paused" : WORDS[acting]);
  say("hint", HINTS[state.mode]);
  say("clock", `Episode ${state.episode + 1} · step ${state.step}`);
  say("pause-word", state.paused ? "Resume" : "Pause");
  press("[data-mode]", (button) => button.dataset.mode === state.mode);
  press("[data-speed]", (button) => Number(button.dataset.speed) === state.speed);
  showChoices(state);
  say("return", number(state.episode_return));
  say("rate", percent(state.intervention_rate));
  say("snapshot", whole.format(state.playing_snapshot));
  say("published", `in use, of ${whole.format(state.snapshot)}`);
  say("labels-human", whole.format(state.labels.human));
  say("labels-left", state.labels_left === null ? "corrections" : `${whole.format(state.labels_left)} left`);
  say("labels-approved", whole.format(state.labels.approved));
  showCounts(state.counts);
  say("saved", whole.format(state.saved_episodes));
  say("unsaved", state.unsaved_steps ? `+ ${whole.format(state.unsaved_steps)} unsaved` : "episodes");
}

/** Show what the session has used so far, by the names that the numbers have in metrics.csv. */
function showCounts(counts) {
  say("env-steps", whole.format(counts.Train_EnvstepsSoFar));
  say("consulted", whole.format(counts.Expert_ConsultedSoFar));
  say("expert-steps", whole.format(counts.Expert_StepsSoFar));
  say("takeovers", whole.format(counts.Expert_TakeoversSoFar));
}

const number = (value) => whole.format(+value.toFixed(Math.abs(value) < 10 ? 1 : 0)).replace("-", "−");

/** Show a line for some seconds, and an error for longer. At most three lines are visible at a time. */
export function notice(level, text) {
  const line = make("p", { className: level, textContent: text });
  $("notices").append(line);
  while ($("notices").children.length > 3) $("notices").firstChild.remove();
  setTimeout(() => line.remove(), level === "error" ? 12000 : 5000);
}
