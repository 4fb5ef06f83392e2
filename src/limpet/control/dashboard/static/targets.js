// The table of targets: sorted by any column, filtered by words, the same elements from frame to frame.

import { drawLine, line } from "./charts.js";
import { arrange, element, mark, write } from "./elements.js";
import { counted, rate, time, whole } from "./format.js";

const COLUMNS = [
  { key: "name", title: "Target", of: (target) => target.name },
  { key: "state", title: "State", of: (target) => target.state },
  { key: "weight", title: "Weight", of: (target) => target.weight, show: weightText },
  { key: "in_flight", title: "In flight", of: (target) => target.in_flight, show: flightText },
  { key: "rate", title: "Requests/s", of: (target) => target.rate, show: (target) => rate(target.rate) },
  { key: "median", title: "Median", of: (target) => target.response?.median, show: (target) => time(target.response?.median) },
  { key: "p99", title: "99 %", of: (target) => target.response?.p99, show: (target) => time(target.response?.p99) },
  { key: "errors", title: "Server errors/s", of: (target) => target.errorRate, show: (target) => rate(target.errorRate) },
  { key: "sessions", title: "Sessions", of: (target) => target.sessions, show: (target) => whole(target.sessions) },
  { key: "portable", title: "Portable", of: (target) => target.portable, show: (target) => whole(target.portable) },
  { key: "pinned", title: "Pinned", of: (target) => target.pinned, show: (target) => whole(target.pinned) },
];

function weightText(target) {
  const isRamping = target.effective_weight < target.weight;
  return isRamping ? `${target.effective_weight.toFixed(1)} of ${target.weight}` : whole(target.weight);
}

function flightText(target) {
  return target.queued ? `${whole(target.in_flight)} + ${whole(target.queued)}` : whole(target.in_flight);
}

export class Targets {
  constructor(onManage) {
    this.table = document.getElementById("targets");
    this.filter = document.getElementById("filter");
    this.sorted = { key: null, isDown: false };
    this.order = [];
    this.onManage = onManage;
    this.isReadOnly = false;
    this.filter.addEventListener("input", () => this.show(this.view, this.past, true));
    this.table.tHead.append(element("tr", { role: "row" }, ...COLUMNS.map((column) => this.heading(column)),
      element("th", { role: "columnheader", scope: "col" }, element("span", { class: "unseen" }, "Actions"))));
  }

  heading(column) {
    const button = element("button", { type: "button", onclick: () => this.sort(column.key) }, column.title);
    return element("th", { role: "columnheader", scope: "col", "data-column": column.key, class: column.show ? "number" : null }, button);
  }

  sort(key) {
    // Names upwards first, numbers downwards; the third time as in the configuration.
    const isFirstDown = key !== "name" && key !== "state";
    if (this.sorted.key !== key) this.sorted = { key, isDown: isFirstDown };
    else if (this.sorted.isDown === isFirstDown) this.sorted = { key, isDown: !isFirstDown };
    else this.sorted = { key: null, isDown: false };
    for (const heading of this.table.tHead.rows[0].cells) {
      const isSorted = heading.dataset.column === this.sorted.key;
      if (isSorted) heading.setAttribute("aria-sort", this.sorted.isDown ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
    this.show(this.view, this.past, true);
  }

  show(view, past, isAsked = false) {
    if (view === undefined) return;
    Object.assign(this, { view, past });
    const wanted = this.filter.value.trim().toLowerCase();
    let shown = view.targets.filter((target) => `${target.name} ${target.address} ${target.state}`.toLowerCase().includes(wanted));
    shown = this.inOrder(shown, isAsked);
    // Without an app that tells, every session is pinned for all that limpet knows.
    mark(this.table, "class", view.untold === view.sessions ? "no-kinds" : "");
    const body = this.table.tBodies[0];
    arrange(body, shown, (target) => `${view.name}/${target.name}`, (target) => this.row(target), (row, target) => this.change(row, target));
    const left = view.targets.length - shown.length;
    write(document.getElementById("targets-words"), left ? `${shown.length} of ${counted(view.targets.length, "target")}` : "");
    mark(document.getElementById("targets-words"), "class", left ? "quiet" : "unseen");
  }

  // A row does not jump away from under a pointer or the focus.
  inOrder(targets, isAsked) {
    const column = COLUMNS.find((each) => each.key === this.sorted.key);
    if (column === undefined) return targets;
    if (!isAsked && this.table.tBodies[0].matches(":hover, :focus-within")) {
      const places = new Map(this.order.map((name, place) => [name, place]));
      return targets.sort((a, b) => (places.get(a.name) ?? 1e9) - (places.get(b.name) ?? 1e9));
    }
    const sign = this.sorted.isDown ? -1 : 1;
    targets.sort((a, b) => sign * compare(column.of(a), column.of(b)) || compare(a.name, b.name));
    this.order = targets.map((target) => target.name);
    return targets;
  }

  row(target) {
    const name = element("th", { role: "rowheader", scope: "row" }, element("span", { class: "name" }, target.name),
      element("span", { class: "quiet" }, target.address));
    const state = element("td", { role: "cell", "data-title": "State" }, element("span", { class: "chip" }), element("span", { class: "quiet detail" }));
    const numbers = COLUMNS.slice(2).map((column) =>
      element("td", { role: "cell", class: "number", "data-column": column.key, "data-title": column.title },
        column.key === "rate" ? line() : null, element("span")));
    const manage = element("button", { type: "button", class: "small", "aria-label": `Manage ${target.name}`,
      onclick: () => this.onManage(this.view.name, target.name) }, "Manage");
    return element("tr", { role: "row" }, name, state, ...numbers, element("td", { role: "cell", class: "act" }, manage));
  }

  change(row, target) {
    write(row.cells[0].lastElementChild, target.address + (target.is_backup ? ", backup" : ""));
    write(row.cells[1].firstElementChild, target.state);
    mark(row.cells[1].firstElementChild, "class", `chip ${target.level}`);
    write(row.cells[1].lastElementChild, target.level === "good" ? "" : target.detail);
    COLUMNS.slice(2).forEach((column, index) => {
      const cell = row.cells[index + 2];
      write(cell.lastElementChild, column.show(target));
      if (column.key === "rate") drawLine(cell.firstElementChild, this.past.of(this.view.name, "target", target.name));
      if (column.key === "errors") mark(cell, "class", target.errorRate ? "number bad" : "number");
    });
    row.cells[COLUMNS.length].hidden = this.isReadOnly;
  }
}

function compare(a, b) {
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  return (a ?? -1) - (b ?? -1);
}
