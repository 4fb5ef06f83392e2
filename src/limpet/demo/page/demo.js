// The page: draws the state that the demo tells twice a second, and asks for what the buttons say.

import { Dots } from "./stage.js";

const $ = (selector) => document.querySelector(selector);
const dots = new Dots($("#dots"), $("#stage"));
const NOTHING = "—";
let fixed = null;
let state = null;

// asking

async function ask(path) {
  const response = await fetch(`/api/${path}`, { method: "POST" });
  const answer = await response.json();
  showTrouble(response.ok ? "" : answer.error);
  if (response.ok) show(answer);
}

const TROUBLE_MS = 6000;
let troubleTimer = 0;

function showTrouble(text, isLasting = false) {
  clearTimeout(troubleTimer);
  if (text && !isLasting) troubleTimer = setTimeout(() => showTrouble(""), TROUBLE_MS);
  $("#trouble").textContent = text;
  $("#trouble").hidden = text === "";
}

function onPress(button, path) {
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") === "true") showTrouble(button.title);
    else ask(path()).catch(() => showTrouble("The demo does not answer. Has it ended?"));
  });
}

// drawing

function make(name, attributes = {}, text = "") {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // screen readers hear changes only
}

function setUp() {
  for (const mode of fixed.modes) {
    const button = make("button", { type: "button", "data-mode": mode.name, "aria-pressed": "false", title: mode.says }, mode.title);
    onPress(button, () => `mode/${mode.name}`);
    $("#modes").append(button);
  }
  fixed.steps.forEach((step, index) => {
    const item = make("li");
    const label = `${index + 1}. ${step.part}: ${step.title}`;
    const button = make("button", { type: "button", "aria-label": label, title: label }, `${index + 1}`);
    onPress(button, () => `step/${index}`);
    item.append(button);
    $("#steps").append(item);
  });
  for (const button of document.querySelectorAll("[data-event]")) onPress(button, () => `event/${button.dataset.event}`);
  onPress($("#pause"), () => "pause");
  onPress($("#next"), () => `step/${state.step + 1}`);
  onPress($("#back"), () => `step/${state.step - 1}`);
  $("#be-a-user").href = `${location.protocol}//${location.hostname}:${fixed.shop_port}/visit`;
  $("#admin").textContent = fixed.admin;
  $("#dashboard").href = `http://${fixed.admin}/`;
}

function show(next) {
  state = next;
  document.body.dataset.mode = state.mode;
  showLine();
  showGuide();
  showControls();
  showServers();
  showStore();
  showFigures();
  showActs();
  showDiary();
  dots.show(state.people);
}

function showLine() {
  setText($("#line"), state.line);
  // Figures change all the time; only another sentence is worth saying aloud.
  const kind = state.line.replace(/\d+/g, "");
  if ($("#status").dataset.kind !== kind) {
    $("#status").dataset.kind = kind;
    $("#status").textContent = state.line;
  }
}

function showGuide() {
  const step = fixed.steps[state.step];
  setText($("#step-part"), `${step.part} · ${state.step + 1} of ${fixed.steps.length}`);
  setText($("#step-title"), step.title);
  setText($("#step-text"), step.text);
  document.querySelectorAll("#steps button").forEach((button, index) => {
    if (index === state.step) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
    button.classList.toggle("seen", index < state.step);
  });
  const following = fixed.steps[state.step + 1];
  setText($("#next"), following ? `Next: ${following.title}` : "That is the story");
  setDisabled($("#next"), following ? "" : "Play with the buttons, or be a user.");
  setDisabled($("#back"), state.step > 0 ? "" : "This is the beginning.");
}

function setDisabled(button, reason) {
  // Not the attribute: a button that is reached by keyboard can still say why.
  button.setAttribute("aria-disabled", String(reason !== ""));
  if (reason) button.title = reason;
  else button.removeAttribute("title");
}

function showControls() {
  for (const button of document.querySelectorAll("[data-mode]")) {
    if (button.tagName === "BUTTON") button.setAttribute("aria-pressed", String(button.dataset.mode === state.mode));
  }
  for (const button of document.querySelectorAll("[data-event]")) setDisabled(button, state.why_not[button.dataset.event]);
  setText($("[data-event=drain]"), state.is_drained ? "Bring B back" : "Drain B");
  setText($("#pause"), state.is_paused ? "Go on" : "Pause");
}

const STATES = { serving: "serving", dead: "dead", starting: "starting", updating: "no new people", drained: "drained" };

function showServers() {
  const names = state.servers.map((server) => server.name);
  for (const card of document.querySelectorAll(".server")) if (!names.includes(card.dataset.server)) card.remove();
  for (const server of state.servers) {
    const card = $(`.server[data-server=${server.name}]`) ?? addServer(server.name);
    card.dataset.state = server.state;
    setText(card.querySelector(".state"), STATES[server.state]);
    for (const field of ["people", "pages_per_s", "p99_ms"]) {
      setText(card.querySelector(`[data-field=${field}]`), written(server[field]));
    }
    const part = Math.min(server.pages_per_s / fixed.capacity, 1);
    const load = card.querySelector(".load");
    load.classList.toggle("hot", part > 0.85);
    load.classList.toggle("busy", part > 0.65 && part <= 0.85);
    load.firstElementChild.style.width = `${Math.round(part * 100)}%`;
  }
}

function addServer(name) {
  const card = make("article", { class: "server", "data-server": name, "aria-label": `Server ${name}` });
  const top = make("div", { class: "top" });
  top.append(make("span", { class: "name" }, name), make("span", { class: "state" }));
  const load = make("div", { class: "load", "aria-hidden": "true" });
  load.append(make("span"));
  const facts = make("p", { class: "facts" });
  for (const [field, unit] of [["people", "people"], ["pages_per_s", "pages/s"], ["p99_ms", "ms p99"]]) {
    const fact = make("span");
    fact.append(make("b", { "data-field": field }), ` ${unit}`);
    facts.append(fact);
  }
  card.append(top, load, make("span", { class: "pen", "data-pen": name }), facts);
  $("#servers").append(card);
  return card;
}

function showStore() {
  const { title, note, is_used, is_silent } = state.store;
  setText($("#mode-says"), fixed.modes.find((mode) => mode.name === state.mode).says);
  setText($("#store-title"), title);
  $("#store").classList.toggle("used", is_used);
  $("#store").classList.toggle("silent", is_silent);
  const says = is_silent ? "is silent: it takes questions and answers none." : is_used ? "has everybody's login; all servers read it." : "is there, but nobody asks it.";
  setText($("#store-says"), note ? `${says} ${note}.` : says);
}

function written(value, unit = "") {
  return value === null ? NOTHING : `${value}${unit}`;
}

function showFigures() {
  for (const element of document.querySelectorAll("[data-figure]")) {
    setText(element, written(state.figures[element.dataset.figure], element.dataset.unit));
  }
  $("#figures .hero").classList.toggle("bad", state.figures.logouts > 0);
}

function showActs() {
  const rows = state.acts.map((act) => {
    const row = make("tr", { "data-act": act.mode, class: act.mode === state.mode ? "now" : "" });
    row.append(make("th", { scope: "row" }, fixed.modes.find((mode) => mode.name === act.mode).title));
    const cells = [
      [act.pages, ""],
      [act.logouts, act.logouts > 0 ? "bad" : "good"],
      [act.failures, ""],
      [act.busiest_to_mean, act.busiest_to_mean > 1.4 ? "bad" : ""],
      [act.p99_ms, ""],
      [act.commands_per_page, ""],
    ];
    for (const [value, kind] of cells) row.append(make("td", { class: kind }, written(value)));
    return row;
  });
  $("#acts tbody").replaceChildren(...rows);
}

let lastNote = "";

function showDiary() {
  const latest = JSON.stringify([state.mode, state.notes.at(-1), state.notes.length]);
  if (latest === lastNote) return;
  lastNote = latest;
  const items = state.notes.toReversed().map(([at, kind, text]) => {
    const item = make("li", { class: kind });
    item.append(make("time", {}, `${at.toFixed(1)} s`), make("span", {}, text));
    return item;
  });
  $("#diary ol").replaceChildren(...(items.length ? items : [make("li", { class: "note" }, "Nobody, so far.")]));
}

// beginning

fixed = await (await fetch("/api/fixed")).json();
setUp();
const events = new EventSource("/api/events");
events.onopen = () => showTrouble("");
events.onmessage = (event) => show(JSON.parse(event.data));
events.onerror = () => showTrouble("The demo does not answer. Has it ended?", true);
