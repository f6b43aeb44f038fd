// The four stages and the topics between them, from left to right.

import { byId, make, setText } from "./dom.js";
import { count, counted, perSecond, shortDuration } from "./format.js";

const READERS = ["processor", "analytics", "sink"];

export class Flow {
  #parts = {};

  constructor() {
    const list = byId("flow");
    list.append(this.#stage("generator", "sends orders"), this.#topic("orders"));
    list.append(this.#stage("processor", "checks and enriches"), this.#topic("processed-orders"));
    list.append(this.#stage("analytics", "adds up windows"), this.#topic("product-metrics"));
    list.append(this.#stage("sink", "writes the file"));
  }

  #stage(name, what) {
    const facts = make("dl");
    const health = make("p", { className: "health", hidden: name === "generator" });
    this.#parts[name] = { facts, health };
    return make("li", { className: "stage", id: `stage-${name}` }, make("h3", { textContent: name }), make("p", { className: "quiet", textContent: what }), facts, health);
  }

  #topic(name) {
    const rate = make("span", { className: "rate" });
    this.#parts[name] = { rate, item: make("li", { className: "topic", id: `topic-${name}` }, make("span", { className: "name", textContent: name }), make("span", { className: "arrow", ariaHidden: "true" }), rate) };
    return this.#parts[name].item;
  }

  take(snapshot) {
    const { orders, accepted, metrics, dead_letters, late_orders, stages } = snapshot;
    this.#flows("orders", perSecond(orders.per_s), orders.per_s > 0);
    this.#flows("processed-orders", perSecond(accepted.per_s), accepted.per_s > 0);
    this.#flows("product-metrics", `${counted(metrics)} metrics`, accepted.per_s > 0);
    this.#facts("generator", { "in all, up to": count(orders.count) });
    this.#facts("processor", { ...lag(stages.processor), "dead letters": counted(dead_letters) });
    this.#facts("analytics", { ...lag(stages.analytics), "late orders": counted(late_orders) });
    this.#facts("sink", lag(stages.sink));
    for (const name of READERS) {
      const [state, sentence] = health(stages[name]);
      this.#parts[name].health.dataset.state = state;
      setText(this.#parts[name].health, sentence);
    }
  }

  #flows(name, rate, moving) {
    setText(this.#parts[name].rate, rate);
    this.#parts[name].item.dataset.moving = moving;
  }

  #facts(name, facts) {
    const list = this.#parts[name].facts;
    if (!list.children.length) {
      for (const term of Object.keys(facts)) list.append(make("div", {}, make("dt", { textContent: term }), make("dd")));
    }
    Object.values(facts).forEach((value, index) => setText(list.children[index].lastChild, value));
  }
}

const lag = ({ lag: left, members }) => ({ lag: count(left), ...(members !== null && { replicas: count(members) }) });

function health({ members, behind_s: behind, keeps_up: keepsUp }) {
  if (members === 0) return ["down", "no reader"];
  if (keepsUp === null) return ["unknown", "…"];
  if (keepsUp) return ["ok", "keeps up"];
  return ["behind", behind === null ? "stalled" : `${shortDuration(behind)} behind`];
}
