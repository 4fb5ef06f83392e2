// The numbers of a group, how its load is spread, and what became of its sessions.

import { drawColumns, drawLine, line } from "./charts.js";
import { arrange, drawing, element, mark, write } from "./elements.js";
import { counted, NONE, rate, share, time, whole, words } from "./format.js";

const STATUS_WORDS = {
  bound: "went where the session lives",
  absent: "a new session",
  joined: "went along with a parallel first request",
  off: "the group is not sticky",
  exempt: "the path needs no session",
  moved: "portable, and moved from a target with too many",
  lent: "portable, and another target served this one request",
  target_leaving: "portable, and moved from a target that is about to go",
  target_gone: "its target is not registered any more",
  target_unavailable: "its target is unhealthy or out of service",
  target_draining: "its target is draining",
  expired: "idle for longer than the duration",
  outlived: "older than the absolute limit",
  malformed: "a cookie that is no ticket",
  truncated: "a cookie that was cut",
  tampered: "sealed by somebody else, or changed",
  unknown_key: "sealed with a key that is not known here",
  unknown_version: "a format that is not known here",
  other_group: "a ticket of another group",
  app_cookie_missing: "without the app's own cookie",
};

const CAUSE_WORDS = {
  moved: "another target than before did not know the user",
  expired: "the session's time was over",
  store_miss: "the store has lost the session",
  bad_signature: "the target could not read the cookie: different secrets",
  revoked: "ended from elsewhere",
  app_logout: "the user asked for it",
  unknown: "the balancer had no part in it",
};
const MOVE_WORDS = {
  balance: "from a target with too many sessions",
  drain: "from a target that is about to go",
  unavailable: "from a target that is unhealthy or out of service",
  gone: "from a target that is not registered any more",
};

export function showTiles(view, past) {
  const { rates } = view;
  const logouts = sum(view.suspected_logouts);
  const tiles = [
    { key: "rate", label: "Requests/s", value: rate(rates?.requests_per_s), line: past.of(view.name, "rate"),
      more: `${rate(rates?.server_errors_per_s)} server errors/s`, level: rates?.server_errors_per_s ? "bad" : "" },
    { key: "response", label: "Response time, median", value: time(rates?.response_ms?.median),
      line: past.of(view.name, "response"), more: `99 % within ${time(rates?.response_ms?.p99)}` },
    { key: "in-flight", label: "In flight", value: whole(view.inFlight), more: `${whole(view.queued)} waiting` },
    { key: "sessions", label: "Active sessions", value: `${whole(view.sessions)}${view.sessions_are_truncated ? "+" : ""}`,
      more: kinds(view) },
    { key: "serving", label: "Targets serving", value: `${view.serving} of ${view.targets.length}`,
      more: notServing(view), level: view.serving < view.targets.length ? "warn" : "" },
    { key: "logouts", label: "Suspected logouts", value: whole(logouts),
      more: "since the start", level: logouts ? "bad" : "" },
  ];
  arrange(document.getElementById("tiles"), tiles, (tile) => tile.key, makeTile, changeTile);
}

function kinds(view) {
  if (view.sessions && view.untold === view.sessions) return "whether portable: the app does not tell";
  return `${whole(view.portable)} portable, ${whole(view.pinned)} pinned`;
}

function notServing(view) {
  const left = view.targets.filter((target) => !target.isServing);
  if (!left.length) return "all of them";
  return left.length > 2 ? `${left.length} are not` : left.map((target) => `${target.name} ${target.state}`).join(", ");
}

function makeTile(tile) {
  const made = element("div", { class: "tile" }, element("dt", {}, tile.label), element("dd", { class: "value", id: `tile-${tile.key}` }),
    element("dd", { class: "more" }));
  if (tile.line) made.append(element("dd", { class: "drawn" }, line()));
  return made;
}

function changeTile(made, tile) {
  write(made.children[1], tile.value);
  write(made.children[2], tile.more);
  mark(made, "class", `tile ${tile.level ?? ""}`);
  if (tile.line) drawLine(made.querySelector("svg"), tile.line);
}

export function showSpread(view, what) {
  const name = { sessions: "active session", in_flight: "request", rate: "request per second" }[what];
  const value = (target) => (what === "rate" ? (target.rate ?? 0) : target[what]);
  const total = view.targets.reduce((all, target) => all + value(target), 0);
  const serving = view.targets.filter((target) => target.isServing && !target.is_backup && target.weight > 0);
  const mean = serving.length ? serving.reduce((all, target) => all + value(target), 0) / serving.length : 0;
  const busiest = [...view.targets].sort((a, b) => value(b) - value(a))[0];
  const show = (number) => (what === "rate" ? rate(number) : whole(number));
  const many = `${show(total)} ${what === "rate" ? "requests/s" : total === 1 ? name : `${name}s`}`;
  const text = !total
    ? `No ${{ sessions: "active session", in_flight: "request in flight", rate: "request" }[what]} just now.`
    : `${many} on ${counted(view.targets.length, "target")}; ${busiest.name} has most: ${show(value(busiest))}, ` +
      `${mean ? (value(busiest) / mean).toFixed(1) : NONE} times the mean.`;
  write(document.getElementById("spread-words"), text);
  const columns = view.targets.map((target) => ({
    name: target.name,
    label: show(value(target)),
    state: target.level,
    title: `${target.name}: ${show(value(target))}, ${target.state}`,
    parts: partsOf(target, what, value(target)),
  }));
  document.getElementById("legend").hidden = what !== "sessions" || view.pinned === view.untold;
  drawColumns(document.getElementById("spread"), columns, mean, text);
}

function partsOf(target, what, value) {
  if (what !== "sessions") return [{ kind: "part", value }];
  return [
    { kind: "part pinned", value: target.pinned - target.untold },
    { kind: "part", value: target.portable + target.untold },
  ];
}

export function showCauses(view) {
  bars("logouts", view.suspected_logouts, "None so far.", CAUSE_WORDS);
  bars("moves", view.moves, "None so far.", MOVE_WORDS);
  bars("sticky", view.sticky, "No request so far.", STATUS_WORDS);
}

function bars(id, numbers, nothing, explained) {
  const where = document.getElementById(id);
  const rows = Object.entries(numbers).filter(([, number]) => number > 0).sort((a, b) => b[1] - a[1]);
  if (!rows.length) {
    if (where.firstElementChild?.tagName !== "P") where.replaceChildren(element("p", { class: "quiet" }));
    write(where.firstElementChild, nothing);
    return;
  }
  if (where.firstElementChild?.tagName !== "UL") where.replaceChildren(element("ul", { class: "bars" }));
  const all = rows.reduce((total, [, number]) => total + number, 0);
  const make = ([name]) =>
    element("li", {}, element("span", { class: "name" }, words(name)), element("b"), element("span", { class: "share" }), bar(),
      explained[name] ? element("span", { class: "quiet" }, explained[name]) : null);
  arrange(where.firstElementChild, rows, ([name]) => name, make, (made, [, number]) => {
    write(made.children[1], whole(number));
    write(made.children[2], share(number, all));
    mark(made.querySelector("rect"), "width", ((100 * number) / all).toFixed(1));
  });
}

function bar() {
  return drawing("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    drawing("rect", { class: "part", height: 4, width: 0 }));
}

function sum(numbers) {
  return Object.values(numbers).reduce((all, number) => all + number, 0);
}
