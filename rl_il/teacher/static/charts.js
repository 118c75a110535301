// Three small line charts, drawn as SVG, and the history that they show.

const NS = "http://www.w3.org/2000/svg";
const MARGIN = { left: 38, right: 8, top: 6, bottom: 16 };
const MAX_POINTS = 400; // of the loss; if there are more, every second one is dropped
const REDRAW = 500; // ms between two drawings

/** Return three to five round numbers that span `[low, high]`. */
function ticks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 2));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => span / size <= 3) ?? 10 * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const plain = (value) => compact.format(value).replace("-", "−");

/** A line chart in a `<figure>` with an `<svg>`, and a `.value` element for the newest value. */
class Chart {
  constructor(id, { format = plain, unit, bounds = null, empty }) {
    const figure = document.getElementById(id);
    this.svg = figure.querySelector("svg");
    this.newest = figure.querySelector(".value");
    this.name = figure.querySelector("figcaption").firstChild.textContent.trim();
    Object.assign(this, { format, unit, bounds, empty, points: [], extra: [] });
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  /** Draw the lists of [x, y]: `points` as a line, `extra` as rings. */
  show(points, extra = []) {
    Object.assign(this, { points, extra });
    this.draw();
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!width) return;
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const all = [...this.points, ...this.extra];
    const newest = this.points.at(-1) ?? this.extra.at(-1);
    this.newest.textContent = newest ? this.format(newest[1]) : "";
    this.svg.setAttribute("aria-label", newest ? `${this.name}: ${this.format(newest[1])} now` : this.empty);
    if (!all.length) {
      this.text(width / 2, height / 2, this.empty, "middle");
      return;
    }
    this.scales(all, width, height);
    this.axes(width, height);
    if (this.points.length) this.line();
    for (const [x, y] of this.extra) this.dot("apart", x, y, 4);
  }

  scales(all, width, height) {
    const xs = all.map(([x]) => x);
    const ys = all.map(([, y]) => y);
    this.ticks = this.bounds ?? ticks(Math.min(...ys), Math.max(...ys));
    this.span = [Math.min(...xs), Math.max(...xs)];
    const [x0, x1] = this.span;
    const [y0, y1] = [this.ticks[0], this.ticks.at(-1)];
    const inner = width - MARGIN.left - MARGIN.right;
    this.x = (x) => MARGIN.left + (x1 > x0 ? ((x - x0) / (x1 - x0)) * inner : inner / 2);
    this.y = (y) => height - MARGIN.bottom - ((y - y0) / (y1 - y0)) * (height - MARGIN.bottom - MARGIN.top);
  }

  axes(width, height) {
    for (const tick of this.ticks) {
      const y = this.y(tick);
      this.add("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y, class: "grid" });
      this.text(MARGIN.left - 5, y + 3.5, this.format(tick), "end");
    }
    const [x0, x1] = this.span;
    if (x1 > x0) this.text(this.x(x0), height - 3, plain(x0), "start");
    this.text(this.x(x1), height - 3, `${this.unit} ${plain(x1)}`, x1 > x0 ? "end" : "middle");
  }

  line() {
    const path = this.points.map(([x, y]) => `${this.x(x).toFixed(1)},${this.y(y).toFixed(1)}`).join(" ");
    this.add("polyline", { points: path, class: "curve" });
    if (this.points.length > 30) return;
    for (const [x, y] of this.points) this.dot("dot", x, y, 2.5);
  }

  dot(kind, x, y, r) {
    const circle = this.add("circle", { cx: this.x(x), cy: this.y(y), r, class: kind });
    circle.appendChild(document.createElementNS(NS, "title")).textContent =
      `${this.unit} ${plain(x)}: ${this.format(y)}`;
  }

  text(x, y, content, anchor) {
    this.add("text", { x, y, "text-anchor": anchor }).textContent = content;
  }

  add(tag, attributes) {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return this.svg.appendChild(element);
  }
}

const percent = (share) => `${Math.round(share * 100)} %`;

export class History {
  constructor() {
    const unit = "episode";
    const rate = { format: percent, unit, bounds: [0, 0.5, 1], empty: "no episode taught yet" };
    this.rateChart = new Chart("chart-rate", rate);
    this.returnChart = new Chart("chart-return", { unit, empty: "no episode finished yet" });
    this.lossChart = new Chart("chart-loss", { unit: "step", empty: "no training yet" });
    this.reset([]);
  }

  /** Start again from the list of finished episodes that the server sent. */
  reset(episodes) {
    Object.assign(this, { rates: [], returns: [], alone: [], losses: [], lossGap: 1 });
    for (const episode of episodes) {
      this.addEpisode(episode);
      if (typeof episode.snapshot_return === "number") this.addAlone(episode.snapshot_return);
    }
    this.draw();
  }

  addEpisode({ episode, return: value, intervention_rate, source, updates, loss }) {
    this.returns.push([episode + 1, value]);
    if (source === "teach") this.rates.push([episode + 1, intervention_rate]);
    this.addLoss(updates, loss);
  }

  /** Add the mean return of the newest snapshot without the teacher, at the last finished episode. */
  addAlone(value) {
    this.alone.push([this.returns.at(-1)?.[0] ?? 0, value]);
  }

  addLoss(updates, loss) {
    const isFar = (x, points) => !points.length || x >= points.at(-1)[0] + this.lossGap;
    if (loss === null || !isFar(updates, this.losses)) return;
    this.losses.push([updates, loss]);
    if (this.losses.length <= MAX_POINTS) return;
    this.lossGap *= 2;
    const kept = [];
    for (const point of this.losses) if (isFar(point[0], kept)) kept.push(point);
    this.losses = kept;
  }

  /** Draw within half a second. Not at once, because states arrive more often than that. */
  drawSoon() {
    this.timer ??= setTimeout(() => this.draw(), REDRAW);
  }

  draw() {
    clearTimeout(this.timer);
    this.timer = null;
    this.rateChart.show(this.rates);
    this.returnChart.show(this.returns, this.alone);
    this.lossChart.show(this.losses);
  }
}
