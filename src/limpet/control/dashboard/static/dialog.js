// The one dialog of the page. The browser keeps the focus within it and Escape closes it.

import { element } from "./elements.js";

const dialog = document.getElementById("dialog");

export function openDialog(title) {
  const body = element("div", { class: "body" });
  const close = element("button", { type: "button", class: "small", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(element("div", { class: "head" }, element("h2", { id: "dialog-title" }, title), close), body);
  if (!dialog.open) dialog.showModal();
  return {
    fill(...children) {
      body.replaceChildren(...children);
      body.querySelector("[autofocus]")?.focus();
    },
    close: () => dialog.close(),
  };
}
