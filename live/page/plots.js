// Revenue and orders per window: one plot for all products, and one for each product with a common scale.
// The selected window is marked in all of them, and its figures are beside their names.

import { byId, draw, make, setText } from "./dom.js";
import { clock, count, day, money, roundMoney, time, windowName } from "./format.js";

const ORDERS = 0;
const REVENUE = 1;
const KINDS = [
  { title: "Revenue", field: REVENUE, exact: money, round: roundMoney },
  { title: "Orders", field: ORDERS, exact: count, round: count },
];
const MOST_WINDOWS = 30;
const LABEL_EVERY = 10;
const AXIS_HEIGHT = 18;

export class Plots {
  #sales = null;
  #windowSeconds = 60;
  #plots = [];
  #names = "";
  #cursor = byId("cursor");
  #chosen = null; // the start of the selected window; null for the newest

  constructor() {
    this.#cursor.addEventListener("input", () => this.#choose(Number(this.#cursor.value)));
    new ResizeObserver(() => this.#draw()).observe(byId("plots"));
  }

  take({ sales, window_s: windowSeconds }) {
    const changed = JSON.stringify(sales) !== JSON.stringify(this.#sales);
    this.#sales = sales;
    this.#windowSeconds = windowSeconds;
    byId("no-sales").hidden = sales.windows.length > 0;
    byId("cursor-row").hidden = byId("plots").hidden = !sales.windows.length;
    if (changed && sales.windows.length) {
      this.#arrange();
      this.#draw();
    }
  }

  /** Positions are counted from the oldest window that fits; a gap in time leaves positions empty. */
  #place(window) {
    const newest = this.#sales.windows.at(-1);
    return MOST_WINDOWS - 1 - Math.round((newest.start_s - window.start_s) / this.#windowSeconds);
  }

  get #index() {
    const windows = this.#sales.windows;
    const found = windows.findIndex((window) => window.start_s === this.#chosen);
    return found < 0 ? windows.length - 1 : found;
  }

  #choose(index) {
    const windows = this.#sales.windows;
    this.#chosen = index === windows.length - 1 ? null : windows[index].start_s;
    this.#draw();
  }

  #arrange() {
    const { products, others } = this.#sales;
    const names = ["All products", ...products, ...(others ? [`${count(others)} others`] : [])];
    if (names.join("\n") === this.#names) return;
    this.#names = names.join("\n");
    this.#plots = KINDS.flatMap((kind) => names.map((name, index) => this.#plot(kind, name, index - 1, index === names.length - 1)));
    const columns = KINDS.map((kind) =>
      make("div", { className: "column" }, make("h3", { textContent: `${kind.title} per ${windowName(this.#windowSeconds)}` }),
        ...this.#plots.filter((plot) => plot.kind === kind).map((plot) => plot.figure)));
    byId("plots").replaceChildren(...columns);
  }

  #plot(kind, name, product, last) {
    const value = make("span", { className: "value" });
    const svg = draw("svg", { role: "img" });
    const figure = make("figure", { className: product < 0 ? "all" : "one" }, make("figcaption", {}, make("span", { className: "name", textContent: name }), value), svg);
    const plot = { kind, name, product, value, svg, figure, axis: product < 0 || last };
    svg.addEventListener("pointermove", (event) => this.#point(plot, event));
    svg.addEventListener("pointerdown", (event) => this.#point(plot, event));
    svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.#choose(this.#sales.windows.length - 1));
    return plot;
  }

  #point(plot, event) {
    const box = plot.svg.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left) / box.width) * MOST_WINDOWS);
    const index = this.#sales.windows.findIndex((window) => this.#place(window) === place);
    if (index >= 0 && index !== this.#index) this.#choose(index);
  }

  #draw() {
    if (!this.#sales?.windows.length) return;
    const { windows } = this.#sales;
    const index = this.#index;
    const chosen = windows[index];
    const period = `${clock(chosen.start_s, this.#windowSeconds)} to ${day(chosen.end_s, chosen.start_s)}${time(chosen.end_s, this.#windowSeconds)}${index === windows.length - 1 ? ", the newest" : ""}${chosen.whole ? "" : ", which may have more"}`;
    this.#cursor.max = windows.length - 1;
    this.#cursor.value = index;
    this.#cursor.setAttribute("aria-valuetext", `${period}: ${money(chosen.all[REVENUE])} from ${count(chosen.all[ORDERS])} orders`);
    setText(byId("cursor-window"), period);
    for (const kind of KINDS) {
      const highest = (values) => scale(Math.max(...values.map((sales) => sales[kind.field])));
      const topOfAll = highest(windows.map((window) => window.all));
      const topOfEach = highest(windows.flatMap((window) => window.each));
      for (const plot of this.#plots.filter((each) => each.kind === kind)) {
        this.#drawPlot(plot, plot.product < 0 ? topOfAll : topOfEach, index);
      }
    }
  }

  #drawPlot(plot, top, chosen) {
    const { kind, svg } = plot;
    const width = svg.clientWidth || 300;
    const height = svg.clientHeight - (plot.axis ? AXIS_HEIGHT : 0);
    const step = width / MOST_WINDOWS;
    const y = (value) => Math.round(height - (value / top) * (height - 14));
    const parts = [top / 2, top].map((value) => draw("path", { class: "grid", d: `M0 ${y(value) + 0.5}H${width}` }));
    const values = [];
    this.#sales.windows.forEach((window, index) => {
      const value = (plot.product < 0 ? window.all : window.each[plot.product])[kind.field];
      values.push(value);
      const x = this.#place(window) * step;
      if (index === chosen) parts.unshift(draw("rect", { class: "chosen-window", x, y: 0, width: step, height }));
      if (value > 0) parts.push(draw("rect", { class: index === chosen ? "bar chosen" : "bar", x: x + step * 0.14, width: step * 0.72, y: y(value), height: height - y(value), rx: Math.min(2, step / 5) }));
      if (plot.axis && (window.start_s / this.#windowSeconds) % LABEL_EVERY === 0) {
        const label = draw("text", { class: "label", x: Math.min(Math.max(x, 14), width - 16), y: height + 14, "text-anchor": "middle" });
        label.textContent = time(window.start_s, this.#windowSeconds);
        parts.push(label);
      }
    });
    parts.push(draw("path", { class: "base", d: `M0 ${height - 0.5}H${width}` }));
    const scaleLabel = draw("text", { class: "label", x: 0, y: y(top) - 4 });
    scaleLabel.textContent = kind.round(top);
    if (plot.product <= 0) parts.push(scaleLabel);
    svg.replaceChildren(...parts);
    svg.setAttribute("aria-label", `${kind.title} of ${plot.name}: from ${kind.exact(Math.min(...values))} to ${kind.exact(Math.max(...values))} in ${count(values.length)} windows. All values stand in the table of windows.`);
    setText(plot.value, kind.exact(values[chosen]));
  }
}

/** The smallest round number that is at least `value`. */
function scale(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}
