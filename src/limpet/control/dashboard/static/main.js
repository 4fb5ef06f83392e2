// The page: it follows the feed and gives every frame to its parts.

import { Actions } from "./actions.js";
import { follow, useToken } from "./api.js";
import { Decisions } from "./decisions.js";
import { arrange, element, mark, write } from "./elements.js";
import { counted, duration, rate } from "./format.js";
import { showCauses, showSpread, showTiles } from "./overview.js";
import { Targets } from "./targets.js";
import { Past, viewOf } from "./view.js";

const at = (id) => document.getElementById(id);
const STATES = {
  live: ["live", "good"],
  connecting: ["connecting", "quiet"],
  silent: ["no answer, trying again", "bad"],
  locked: ["locked", "warn"],
  hidden: ["paused", "quiet"],
};

const past = new Past();
const page = { frame: null, group: decodeURIComponent(location.hash.slice(1)), healths: new Map() };
const actions = new Actions(find, tell);
const targets = new Targets((group, name) => actions.manage(viewOf(page.frame, group), name));
const decisions = new Decisions();

at("add").addEventListener("click", () => actions.add(page.frame.status.target_groups.map((group) => group.name), page.group));
at("spread-choice").addEventListener("change", () => show());
new ResizeObserver(() => show()).observe(at("spread"));
start();

async function start() {
  await follow(onFrame, onState);
}

function onFrame(frame) {
  page.frame = frame;
  past.add(frame);
  at("main").hidden = false;
  at("add").disabled = false;
  at("add").hidden = frame.is_read_only;
  at("read-only").hidden = !frame.is_read_only;
  targets.isReadOnly = frame.is_read_only;
  mark(document.body, "class", frame.is_read_only ? "read-only" : "");
  const { status } = frame;
  if (!status.target_groups.some((group) => group.name === page.group)) page.group = status.target_groups[0].name;
  write(at("facts"), `${status.limpet}, up for ${duration(status.uptime_s)}, ${rate(frame.rates?.requests_per_s)} requests/s, ` +
    `${counted(status.connections, "connection")}${status.workers > 1 ? `, ${status.workers} workers` : ""}`);
  announce(status.target_groups);
  show();
  decisions.show(frame.recent);
}

function show() {
  if (page.frame === null) return;
  const view = viewOf(page.frame, page.group);
  showGroups(page.frame.status.target_groups);
  write(at("group-facts"), `${view.name}: ${view.algorithm}, stickiness ${view.stickiness}, ${counted(sum(view, "requests"), "request")} answered`);
  const problem = problemOf(view);
  at("group-warning").hidden = !problem;
  write(at("group-warning"), problem);
  showTiles(view, past);
  showSpread(view, chosenSpread());
  targets.show(view, past);
  showCauses(view);
}

function chosenSpread() {
  return at("spread-choice").querySelector("input:checked").value;
}

function problemOf(view) {
  if (view.is_failing_open) return "No target is healthy, so all of them get requests.";
  const failing = view.sources.filter((source) => source.is_failing);
  return failing.map((source) => `${source.source}: ${source.last_error}`).join("; ");
}

function showGroups(groups) {
  at("groups").hidden = groups.length < 2;
  const choose = (name) => {
    page.group = name;
    history.replaceState(null, "", `#${encodeURIComponent(name)}`);
    show();
  };
  const make = (group) => element("button", { type: "button", onclick: () => choose(group.name) }, element("span", {}, group.name), element("span", { class: "chip bad" }));
  arrange(at("groups"), groups, (group) => group.name, make, (button, group) => {
    mark(button, "aria-pressed", group.name === page.group);
    const ill = group.targets.filter((target) => target.health === "unhealthy").length;
    button.lastElementChild.hidden = !ill;
    write(button.lastElementChild, `${ill} unhealthy`);
  });
}

// Who cannot see the table hears of what changed in it.
function announce(groups) {
  const healths = new Map(groups.flatMap((group) => group.targets.map((target) => [`${group.name}/${target.name}`, target.health])));
  const changes = [...healths].filter(([name, health]) => page.healths.size && page.healths.get(name) !== health).map(([name, health]) => `${name} is ${health}`);
  page.healths = healths;
  if (changes.length) at("announcer").textContent = changes.slice(0, 5).join(", ");
}

function onState(state, why) {
  const [text, level] = STATES[state];
  write(at("state"), text);
  mark(at("state"), "class", `chip ${level}`);
  at("state").title = why;
  if (state !== "live") at("add").disabled = true;
  mark(at("main"), "data-state", state);
  if (state === "locked") askForToken();
}

function askForToken() {
  const input = element("input", { type: "password", name: "token", required: true, autocomplete: "off" });
  const form = element("form", { id: "login", class: "card" }, element("h2", {}, "This limpet asks for its admin token"),
    element("p", {}, "It is kept in this tab until you close it."), element("label", {}, element("span", {}, "Token"), input),
    element("button", { type: "submit", class: "primary" }, "Show the dashboard"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(input.value.trim());
    form.remove();
    start();
  });
  at("login")?.remove();
  at("main").hidden = true;
  at("main").before(form);
  input.focus();
}

function find(group, name) {
  if (!page.frame.status.target_groups.some((each) => each.name === group)) return undefined;
  return viewOf(page.frame, group).targets.find((target) => target.name === name);
}

function sum(view, field) {
  return view.targets.reduce((all, target) => all + target[field], 0);
}

function tell(text) {
  at("notice").hidden = false;
  at("notice").textContent = text;
}
