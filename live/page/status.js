// A sentence that says whether the shown data is current, and its age.

import { byId, setText } from "./dom.js";
import { duration } from "./format.js";

const OLD_S = 10;

export class Status {
  #connected = false;
  #snapshot = null;
  #received = 0;

  constructor() {
    setInterval(() => this.#show(), 500);
  }

  take(snapshot) {
    this.#connected = true;
    this.#snapshot = snapshot;
    this.#received = performance.now();
    this.#show();
  }

  lost() {
    this.#connected = false;
    this.#show();
  }

  #show() {
    if (document.hidden) return;
    // The age is counted from the arrival of the message, since this machine's clock may differ from the server's.
    const known = this.#snapshot?.age_s ?? null;
    const age = known === null ? null : known + (performance.now() - this.#received) / 1000;
    const [state, sentence] = this.#state(age);
    document.body.dataset.state = state;
    setText(byId("status"), sentence);
    setText(byId("age"), state === "live" || state === "idle" || age === null ? "" : `Data is ${duration(age)} old.`);
  }

  #state(age) {
    if (!this.#connected) {
      return this.#snapshot ? ["lost", "Connection lost. Trying again …"] : ["connecting", "Connecting …"];
    }
    if (this.#snapshot.waiting_for) return ["waiting", `Waiting for ${this.#snapshot.waiting_for} …`];
    if (age > OLD_S) return ["waiting", "Kafka is slow to answer …"];
    if (this.#snapshot.orders.per_s === 0) return ["idle", "Live. No orders are coming in."];
    return ["live", "Live"];
  }
}
