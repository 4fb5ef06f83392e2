// Making and changing elements. No text is ever read as HTML: the policy of trusted types forbids it.

const SVG = "http://www.w3.org/2000/svg";

// element("td", {class: "number"}, "12"): children are elements, texts, or nothing.
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawing(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What has not changed is not touched: a screen reader, a selection and the focus stay where they are.
export function write(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

export function mark(where, name, value) {
  if (where.getAttribute(name) !== String(value)) where.setAttribute(name, value);
}

// Make the children of `where` those of `items`, by key: an item that stays keeps its element.
export function arrange(where, items, key, make, change) {
  const kept = new Map([...where.children].map((child) => [child.dataset.key, child]));
  let place = where.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = kept.get(name);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = name;
    }
    kept.delete(name);
    change(child, item);
    if (child === place) place = place.nextElementSibling;
    else where.insertBefore(child, place);
  }
  for (const child of kept.values()) child.remove();
}
