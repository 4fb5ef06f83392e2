// Two kinds of charts, drawn as SVG: a line of the last minutes, and a column for each target.

import { drawing, mark } from "./elements.js";

const POINTS = 120;

// Numbers of the last two minutes; a null is a gap.
export class History {
  constructor() {
    this.numbers = [];
  }

  add(number) {
    this.numbers.push(number ?? null);
    if (this.numbers.length > POINTS) this.numbers.shift();
  }
}

export function line() {
  const made = drawing("svg", { class: "line", viewBox: "0 0 120 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  made.append(drawing("path", { class: "area" }), drawing("path", { class: "stroke" }));
  return made;
}

export function drawLine(svg, history) {
  const top = Math.max(...history.numbers.map((number) => number ?? 0), 1e-9);
  const left = POINTS - history.numbers.length;
  let stroke = "";
  let area = "";
  let start = null;
  history.numbers.forEach((number, index) => {
    const isLast = index === history.numbers.length - 1;
    if (number !== null) {
      const point = `${left + index + 1} ${(28 - (25 * number) / top).toFixed(1)}`;
      stroke += `${start === null ? "M" : "L"}${point}`;
      area += start === null ? `M${left + index + 1} 30L${point}` : `L${point}`;
      start ??= index;
    }
    if (start !== null && (number === null || isLast)) {
      area += `L${left + index + (number === null ? 0 : 1)} 30Z`;
      start = null;
    }
  });
  mark(svg.firstElementChild, "d", area || "M0 0");
  mark(svg.lastElementChild, "d", stroke || "M0 0");
}

// One column for each of `columns`: {name, parts: [{kind, value}], state}; parts stand on each other.
export function drawColumns(where, columns, mean, words) {
  const width = Math.max(where.clientWidth, 200);
  const height = 150;
  const base = height - 20;
  const step = width / Math.max(columns.length, 1);
  const bar = Math.min(Math.max(step * 0.7, step - 14), 72);
  const totals = columns.map((column) => column.parts.reduce((sum, part) => sum + part.value, 0));
  const top = Math.max(...totals, mean, 1e-9);
  const scale = (value) => ((base - 18) * value) / top;
  const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": words });
  columns.forEach((column, index) => {
    const x = index * step + (step - bar) / 2;
    let y = base;
    const group = drawing("g", { class: `column ${column.state}` }, drawing("title", {}, column.title));
    group.append(drawing("rect", { class: "track", x, y: 18, width: bar, height: base - 18 }));
    for (const part of column.parts) {
      const tall = scale(part.value);
      y -= tall;
      if (tall > 0) group.append(drawing("rect", { class: part.kind, x, y, width: bar, height: tall }));
    }
    if (step > 34) {
      const middle = x + bar / 2;
      group.append(drawing("text", { class: "value", x: middle, y: y - 5 }, column.label));
      group.append(drawing("text", { x: middle, y: height - 5 }, shortened(column.name, step)));
    }
    svg.append(group);
  });
  svg.append(drawing("line", { class: "base", x1: 0, x2: width, y1: base, y2: base }));
  if (mean > 0) {
    const y = base - scale(mean);
    svg.append(drawing("line", { class: "mean", x1: 0, x2: width, y1: y, y2: y }));
  }
  where.replaceChildren(svg);
}

function shortened(name, width) {
  const room = Math.floor(width / 7);
  return name.length <= room ? name : `${name.slice(0, Math.max(room - 1, 1))}\u2026`;
}
