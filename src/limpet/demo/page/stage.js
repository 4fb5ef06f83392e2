// The dots: each person keeps a place in the pen of the server that answered last.

const SVG = "http://www.w3.org/2000/svg";
const MAX_SPACING = 18;
const MIN_SPACING = 6;

export class Dots {
  constructor(svg, stage) {
    this.svg = svg;
    this.stage = stage;
    this.circles = new Map(); // person's number -> circle
    this.places = new Map(); // pen -> numbers by place, null for a free one
    this.people = [];
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  show(people) {
    this.people = people;
    const present = new Map(people.map(([number, , server]) => [number, server]));
    this.leave(present);
    for (const [number, server] of present) this.enter(number, server);
    for (const [number, circle] of this.circles) {
      if (!present.has(number)) {
        circle.remove();
        this.circles.delete(number);
      }
    }
    this.draw();
  }

  // Whoever is elsewhere now frees a place.
  leave(present) {
    for (const [pen, numbers] of this.places) {
      const left = numbers.map((number) => (present.get(number) === pen ? number : null));
      while (left.length && left.at(-1) === null) left.pop();
      this.places.set(pen, left);
    }
  }

  enter(number, pen) {
    if (!this.places.has(pen)) this.places.set(pen, []);
    const numbers = this.places.get(pen);
    if (numbers.includes(number)) return;
    const free = numbers.indexOf(null);
    numbers[free < 0 ? numbers.length : free] = number;
  }

  draw() {
    const origin = this.stage.getBoundingClientRect();
    const places = new Map();
    const pens = [];
    for (const [pen, numbers] of this.places) {
      const element = this.stage.querySelector(`[data-pen="${pen}"]`);
      if (element !== null) pens.push([element.getBoundingClientRect(), numbers, pen]);
    }
    const servers = widest(pens.filter(([, , pen]) => pen !== ""));
    for (const [box, numbers, pen] of pens) {
      layOut(box, origin, numbers, pen === "" ? widest([[box, numbers]]) : servers, places);
    }
    for (const [number, , , mood] of this.people) {
      const place = places.get(number);
      if (place !== undefined) this.put(number, mood, place);
    }
  }

  put(number, mood, { x, y, radius }) {
    let circle = this.circles.get(number);
    if (circle === undefined) {
      circle = document.createElementNS(SVG, "circle");
      this.circles.set(number, circle);
      this.svg.append(circle);
    }
    circle.setAttribute("class", mood);
    circle.setAttribute("r", radius);
    circle.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  }
}

// The widest spacing at which everybody has room; the same for all servers.
function widest(pens) {
  let spacing = MAX_SPACING;
  while (spacing > MIN_SPACING && !pens.every(([box, numbers]) => hasRoom(box, numbers.length, spacing))) spacing -= 0.5;
  return spacing;
}

function hasRoom(box, count, spacing) {
  return Math.floor(box.width / spacing) * Math.floor(box.height / spacing) >= count;
}

function layOut(box, origin, numbers, spacing, places) {
  const columns = Math.max(Math.floor(box.width / spacing), 1);
  numbers.forEach((number, index) => {
    if (number === null) return;
    const x = box.left - origin.left + ((index % columns) + 0.5) * spacing;
    const y = box.top - origin.top + (Math.floor(index / columns) + 0.5) * spacing;
    places.set(number, { x, y, radius: spacing * 0.36 });
  });
}
