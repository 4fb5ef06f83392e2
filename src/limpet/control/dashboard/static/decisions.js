// The table of recent decisions, and the story of one of them.

import { call } from "./api.js";
import { openDialog } from "./dialog.js";
import { arrange, element, mark, write } from "./elements.js";
import { time, whole, words } from "./format.js";

const TITLES = ["Time", "Request", "Answer", "Took", "Target", "Stickiness", "Why there", ""];

const ROWS = 15;

export class Decisions {
  constructor() {
    this.table = document.getElementById("recent");
    this.notable = document.getElementById("notable");
    this.hold = document.getElementById("hold");
    this.table.tHead.append(element("tr", { role: "row" }, ...TITLES.map((title) =>
      element("th", { role: "columnheader", scope: "col" }, title || element("span", { class: "unseen" }, "Actions")))));
    this.notable.addEventListener("change", () => this.draw());
    this.hold.addEventListener("click", () => this.toggle());
  }

  toggle() {
    const isHeld = this.hold.getAttribute("aria-pressed") === "true";
    this.hold.setAttribute("aria-pressed", String(!isHeld));
    if (isHeld) this.show(this.latest);
  }

  // Nothing moves while somebody holds it, points at it or is in it with the keyboard.
  show(recent) {
    this.latest = recent;
    const isHeld = this.hold.getAttribute("aria-pressed") === "true" || this.table.tBodies[0].matches(":hover, :focus-within");
    if (isHeld && this.rows !== undefined) return;
    this.rows = recent;
    this.draw();
  }

  draw() {
    const rows = (this.rows ?? []).filter((row, place) => (this.notable.checked ? row.is_notable : place < ROWS)).slice(0, ROWS);
    arrange(this.table.tBodies[0], rows, (row) => row.request_id, makeRow, () => {});
    const nothing = this.notable.checked ? "Nothing out of the ordinary among the last thousand." : "No request yet.";
    write(document.getElementById("recent-words"), rows.length ? "" : nothing);
    mark(document.getElementById("recent-words"), "class", rows.length ? "unseen" : "quiet");
  }
}

function makeRow(row) {
  const place = row.group === null ? "none" : `${row.group}/${row.target ?? "none"}`;
  const retries = row.attempts.length ? `, after ${row.attempts.map((attempt) => attempt.target).join(", ")}` : "";
  const cells = [
    ["Time", row.time.slice(11, 23)],
    ["Request", `${row.method} ${row.path}`],
    ["Answer", row.error === null ? String(row.status) : `${row.status} ${words(row.error)}`],
    ["Took", time(row.total_ms)],
    ["Target", place + retries],
    ["Stickiness", row.sticky_status === null ? "" : words(row.sticky_status)],
    ["Why there", row.reason ?? ""],
  ].map(([title, text]) => element("td", { role: "cell", "data-title": title }, element("span", {}, text)));
  const button = element("button", { type: "button", class: "small", "aria-label": `Explain ${row.method} ${row.path}`,
    onclick: () => explain(row.request_id) }, "Explain");
  const level = row.status >= 500 || row.error !== null ? "bad" : row.is_notable ? "warn" : "";
  return element("tr", { role: "row", class: level, "data-request": row.request_id }, ...cells,
    element("td", { role: "cell", class: "act" }, button));
}

async function explain(requestId) {
  const dialog = openDialog("Why this request went there");
  try {
    const found = await call("GET", `/explain/${encodeURIComponent(requestId)}`);
    dialog.fill(story(found), candidates(found.candidates ?? []));
  } catch (error) {
    dialog.fill(element("p", {}, error.message));
  }
}

function story(found) {
  const error = found.error === null ? "" : `, limpet's own: ${words(found.error)}`;
  const facts = [
    ["Request", `${found.method} ${found.path}`],
    ["Id", found.request_id],
    ["When", `${found.time}, from ${found.client || "a Unix socket"}`],
    ["Answer", `${found.status} after ${time(found.total_ms)}${error}${found.detail ? ` (${found.detail})` : ""}`],
    found.rule && ["Rule", found.rule === "-" ? "none matched" : found.rule],
    found.group !== null && ["Target", `${found.group}/${found.target ?? "none"}: ${found.reason}`],
    found.group !== null && ["Stickiness", `${found.stickiness}: ${words(found.sticky_status)}${found.pinned_to ? `, pinned to ${found.pinned_to}` : ""}`],
    found.group !== null && ["Algorithm", found.algorithm],
    found.is_lent && ["Lent", "it returns once its own target is back"],
    found.is_failing_open && ["Failing open", "no target was healthy, so all got requests"],
    ...found.attempts.map((attempt) => ["Attempt", `${attempt.target}: ${words(attempt.error)} (${attempt.detail})`]),
  ].filter(Boolean);
  return element("dl", { class: "facts" }, ...facts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text))));
}

function candidates(rows) {
  if (!rows.length) return element("p", { class: "quiet" }, "No target was considered.");
  const head = element("tr", {}, ...["Candidate", "State", "Weight", "In flight", "Verdict"].map((title) => element("th", { scope: "col" }, title)));
  const body = rows.map((row) => element("tr", { class: row.is_chosen ? "chosen" : null }, element("th", { scope: "row" }, row.target), element("td", {}, row.health),
    element("td", { class: "number" }, String(row.weight)), element("td", { class: "number" }, whole(row.in_flight)), element("td", {}, row.verdict)));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Candidates" },
    element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...body)));
}
