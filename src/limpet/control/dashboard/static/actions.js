// What changes something: each tells what it would do, and does it only once that is confirmed.

import { call, targetPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { element } from "./elements.js";
import { counted, share, whole, words } from "./format.js";

const WHY_WORDS = { unknown: "of an app that does not tell", memory: "in memory", store: "store silent", websocket: "WebSocket" };

// Args: find(group, name) -> the target as it is now, or undefined; onDone(text) tells what was done.
export class Actions {
  constructor(find, onDone) {
    this.find = find;
    this.onDone = onDone;
  }

  manage(view, name) {
    const target = this.find(view.name, name);
    if (target === undefined) return;
    const dialog = openDialog(`Target ${name}`);
    const weight = numberField("weight", "Weight, its share of new sessions", target.weight);
    const setWeight = () => weight.input.reportValidity() && this.confirmWeight(view, target, Number(weight.input.value));
    const isOut = target.health === "maintenance";
    const actions = [];
    if (target.health !== "draining") {
      actions.push(
        form(setWeight, weight, element("button", { type: "submit" }, "Set weight\u2026")),
        element("div", { class: "buttons" },
          target.is_terminating ? null : element("button", { type: "button", onclick: () => this.confirmLeave(view, target) }, "Let sessions leave\u2026"),
          element("button", { type: "button", onclick: () => this.confirmMaintenance(view, target, !isOut) },
            isOut ? "Put back into service\u2026" : "Take out of service\u2026"),
          element("button", { type: "button", class: "danger", onclick: () => this.confirmDrain(view, target) }, "Drain\u2026")));
    } else {
      actions.push(element("p", {}, "It is draining. Add its address again to bring it back."));
    }
    dialog.fill(facts(target), ...actions);
  }

  confirmDrain(view, target) {
    this.confirm(`Drain ${target.name}?`, [
      "It gets no request any more, and is forgotten once those in flight are answered" + (target.in_flight ? `: ${whole(target.in_flight)} now.` : "; there is none now."),
      sessionsMove(target),
      lastOne(view, target),
    ], `Drain ${target.name}`, "danger", async () => {
      await call("POST", `${targetPath(view.name, target.name)}/drain`);
      return `${target.name} is draining.`;
    });
  }

  confirmLeave(view, target) {
    this.confirm(`Let the sessions of ${target.name} leave?`, [
      "It gets no new session. Portable ones go elsewhere with their next request; pinned ones stay, and it serves them until it is drained.",
      "To take it back, add it again, or reload the configuration.",
      lastOne(view, target),
    ], "Let sessions leave", "primary", async () => {
      await call("POST", `${targetPath(view.name, target.name)}/leave`);
      return `${target.name} gets no new session.`;
    });
  }

  confirmMaintenance(view, target, isOn) {
    const texts = isOn
      ? ["It gets no request and is not checked until it is put back.", sessionsMove(target), lastOne(view, target)]
      : ["It is checked, and gets requests again once a check succeeds."];
    const title = isOn ? `Take ${target.name} out of service` : `Put ${target.name} back`;
    this.confirm(`${title}?`, texts, title, isOn ? "danger" : "primary", async () => {
      await call("PUT", `${targetPath(view.name, target.name)}/maintenance`, { on: isOn });
      return isOn ? `${target.name} is out of service.` : `${target.name} is back.`;
    });
  }

  confirmWeight(view, target, weight) {
    const others = view.targets.filter((each) => each.name !== target.name && each.isServing && !each.is_backup);
    const sum = others.reduce((all, each) => all + each.weight, 0);
    const texts = weight === 0
      ? [`It keeps its ${counted(target.sessions, "session")} and gets no new one.`]
      : [`It gets ${share(weight, sum + weight)} of new sessions instead of ${share(target.weight, sum + target.weight)}; those it has stay.`];
    this.confirm(`Set the weight of ${target.name} to ${weight}?`, texts, `Set weight ${weight}`, "primary", async () => {
      await call("PUT", `${targetPath(view.name, target.name)}/weight`, { weight });
      return `${target.name} has weight ${weight}.`;
    });
  }

  add(groups, chosen) {
    const dialog = openDialog("Add a target");
    const group = choice("group", "Target group", groups, chosen);
    const address = textField("address", "Address", "127.0.0.1:9003", true);
    const name = textField("name", "Name, if not made from the address", "", false);
    const weight = numberField("weight", "Weight", 1);
    address.input.setAttribute("autofocus", "");
    const next = () => this.confirmAdd(group.input.value, {
      address: address.input.value.trim(), name: name.input.value.trim() || null, weight: Number(weight.input.value) });
    dialog.fill(form(next, groups.length > 1 ? group : null, address, name, weight, element("button", { type: "submit" }, "Continue\u2026")));
  }

  confirmAdd(group, body) {
    this.confirm(`Add ${body.name ?? body.address} to ${group}?`, [
      `${body.address} gets requests with weight ${body.weight} after its first successful check.`,
      "A reload takes it out again unless the configuration lists it.",
    ], "Add the target", "primary", async () => {
      const answer = await call("POST", `/targets/${encodeURIComponent(group)}`, body);
      return `${answer.target.name} was added.`;
    });
  }

  confirm(title, texts, label, level, act) {
    const dialog = openDialog(title);
    const failure = element("p", { class: "failure", role: "alert", hidden: true });
    const yes = element("button", { type: "button", class: level, autofocus: true }, label);
    yes.addEventListener("click", async () => {
      yes.disabled = true;
      try {
        const done = await act();
        dialog.close();
        this.onDone(done);
      } catch (error) {
        failure.textContent = error.message;
        failure.hidden = false;
        yes.disabled = false;
      }
    });
    const no = element("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    dialog.fill(...texts.filter(Boolean).map((text) => element("p", {}, text)), failure, element("div", { class: "buttons" }, yes, no));
  }
}

function facts(target) {
  const rows = [
    ["Address", target.address],
    ["State", `${target.state}: ${target.detail}`],
    ["Sessions", `${whole(target.sessions)}: ${whole(target.portable)} portable, ${whole(target.pinned)} pinned${reasons(target)}`],
    ["In flight", whole(target.in_flight)],
    ["Answered", `${counted(target.requests, "request")}; ${counted(target.errors, "attempt")} without a response`],
  ];
  return element("dl", { class: "facts" }, ...rows.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text))));
}

function sessionsMove(target) {
  if (!target.sessions) return "No active session has to move.";
  const isOne = target.sessions === 1;
  const many = `${counted(target.sessions, "active session")} ${isOne ? "goes on at another target" : "go on at other targets"}`;
  if (!target.endangered) return `${many}, and nobody is logged out.`;
  const part = target.endangered === target.sessions ? "" : ` Pinned: ${whole(target.endangered)}.`;
  return `${many}.${part} Their users are logged out if ${target.name} keeps logins in its own memory; to wait for them, let sessions leave first.`;
}

function reasons(target) {
  const rows = Object.entries(target.pinned_by).filter(([, number]) => number > 0);
  return rows.length ? ` (${rows.map(([why, number]) => `${whole(number)} ${WHY_WORDS[why] ?? words(why)}`).join(", ")})` : "";
}

function lastOne(view, target) {
  const others = view.targets.filter((each) => each.name !== target.name && each.isServing);
  return others.length || !target.isServing ? null : `It is the last target of ${view.name} that serves: requests will be refused.`;
}

function form(onSubmit, ...children) {
  const submit = (event) => {
    event.preventDefault();
    onSubmit();
  };
  return element("form", { onsubmit: submit }, ...children.map((child) => child?.label ?? child));
}

function field(name, title, input) {
  return { input, label: element("label", {}, element("span", {}, title), input), name };
}

function textField(name, title, placeholder, isRequired) {
  return field(name, title, element("input", { name, placeholder, required: isRequired, autocomplete: "off", spellcheck: "false" }));
}

function numberField(name, title, value) {
  return field(name, title, element("input", { name, type: "number", min: 0, max: 1000, step: 1, required: true, value }));
}

function choice(name, title, names, chosen) {
  const options = names.map((each) => element("option", { value: each, selected: each === chosen }, each));
  return field(name, title, element("select", { name }, ...options));
}
