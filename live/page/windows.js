// The closed windows as a table, with the same data as the plots.

import { byId, make, setText } from "./dom.js";
import { count, day, money, time } from "./format.js";

const FEW = 2;

export class Windows {
  #body = byId("windows");
  #button = byId("all-windows");
  #sales = null;
  #windowSeconds = 60;
  #all = false;

  constructor() {
    this.#button.addEventListener("click", () => {
      this.#all = !this.#all;
      this.#show();
    });
  }

  take({ sales, window_s: windowSeconds }) {
    if (JSON.stringify(sales) === JSON.stringify(this.#sales)) return;
    this.#sales = sales;
    this.#windowSeconds = windowSeconds;
    this.#show();
  }

  #show() {
    const { windows } = this.#sales;
    this.#button.hidden = windows.length <= FEW;
    this.#button.ariaExpanded = String(this.#all);
    setText(this.#button, this.#all ? "Show the newest only" : `Show all ${count(windows.length)} windows`);
    const shown = windows.slice(this.#all ? 0 : -FEW).reverse();
    this.#body.replaceChildren(...shown.flatMap((window) => this.#rows(window)));
    if (!windows.length) this.#body.append(make("tr", {}, make("td", { colSpan: 5, className: "empty", textContent: "none yet" })));
  }

  #rows(window) {
    const { products, others } = this.#sales;
    const names = [...products, ...(others ? [`${count(others)} others`] : [])];
    const sold = names.map((name, index) => [name, window.each[index]]).filter(([, [orders]]) => orders);
    const head = make("th", { scope: "rowgroup", rowSpan: sold.length + 1 },
      day(window.start_s), make("span", { textContent: `${time(window.start_s, this.#windowSeconds)} – ` }),
      day(window.end_s, window.start_s), make("span", { textContent: time(window.end_s, this.#windowSeconds) }));
    if (!window.whole) head.append(make("p", { className: "quiet cut", textContent: "There may be more." }));
    const rows = sold.map(([name, sales]) => row("product", name, sales));
    rows.push(row("total", window.whole ? "all products" : "all that was read", window.all));
    rows[0].prepend(head);
    return rows;
  }
}

function row(className, name, [orders, revenue, average]) {
  const line = make("tr", { className }, make("td", { textContent: name }));
  for (const [kind, text] of [["orders", count(orders)], ["revenue", money(revenue)], ["average", money(average)]]) {
    line.append(make("td", { className: kind, textContent: text }));
  }
  return line;
}
