// Connects the parts of the page: each one gets every snapshot and shows its own part of it.

import { connect } from "./connection.js";
import { byId, make, setText } from "./dom.js";
import { Flow } from "./flow.js";
import { clock, count, counted, duration, money, perSecond, windowName } from "./format.js";
import { Plots } from "./plots.js";
import { Status } from "./status.js";
import { Windows } from "./windows.js";

const status = new Status();
const parts = [new Flow(), new Plots(), new Windows()];

connect(
  (snapshot) => {
    status.take(snapshot);
    byId("facts").hidden = snapshot.age_s === null;
    if (snapshot.age_s === null) return;
    headline(snapshot);
    setAside(snapshot);
    for (const part of parts) part.take(snapshot);
  },
  () => status.lost(),
);

function headline({ now_s: now, window_s: windowSeconds, orders, sales, event_time: time }) {
  const newest = sales.windows.at(-1);
  for (const element of document.querySelectorAll(".newest-window")) setText(element, `newest ${windowName(windowSeconds)}`);
  const more = newest?.whole ? "" : "+"; // as for other counts that are not complete
  setText(byId("newest-revenue"), newest ? money(newest.all[1]) + more : "–");
  setText(byId("newest-orders"), newest ? count(newest.all[0]) + more : "–");
  setText(byId("rate"), perSecond(orders.per_s));
  setText(byId("event-time"), time.watermark_s === null ? "unknown" : `${duration(now - time.watermark_s)} ago`);
  setText(byId("outlook"), outlook(time, windowSeconds));
  setText(byId("no-sales"), `No window has closed yet. ${outlook(time, windowSeconds)}`);
}

function outlook({ watermark_s: watermark, silent_partitions: silent, next_close_s: end, closes_in_s: left, idle }, windowSeconds) {
  if (watermark === null && silent.length) return `No watermark yet from partition ${silent.join(", ")} of orders.`;
  if (watermark === null) return "No order has been processed yet.";
  if (idle) return "No order comes and no window is open: event time rests.";
  const when = left === null ? "" : `, in about ${duration(Math.max(1, left))}`;
  return `The window that ends at ${clock(end, windowSeconds)} closes next${when}.`;
}

function setAside({ dead_letters: dead, late_orders: late }) {
  setText(byId("dead-letters"), counted(dead));
  setText(byId("late-orders"), counted(late));
  const most = Math.max(...Object.values(dead.reasons));
  const rows = Object.entries(dead.reasons).map(([reason, number]) => {
    const bar = make("span", { className: "share", ariaHidden: "true" });
    bar.style.inlineSize = `${(100 * number) / most}%`;
    return make("li", {}, make("span", { className: "reason", textContent: reason.replaceAll("_", " ") }), make("span", { className: "count", textContent: count(number) }), bar);
  });
  byId("reasons").replaceChildren(...rows);
}
