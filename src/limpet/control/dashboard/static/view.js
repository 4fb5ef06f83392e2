// What a frame says of one target group, in the shape that the parts of the page show.

import { History } from "./charts.js";

const GAP_S = 15;
const SERVING = new Set(["healthy", "unavailable"]);

export const LEVELS = {
  healthy: "good",
  unavailable: "good",
  initial: "warn",
  draining: "warn",
  maintenance: "warn",
  unhealthy: "bad",
};

export function viewOf(frame, name) {
  const group = frame.status.target_groups.find((each) => each.name === name);
  const rates = frame.rates?.groups[name] ?? null;
  const targets = group.targets.map((target) => targetView(target, frame.rates, rates?.targets[target.name]));
  const total = (field) => targets.reduce((sum, target) => sum + target[field], 0);
  return {
    ...group,
    targets,
    rates: frame.rates === null ? null : (rates ?? { requests_per_s: 0, server_errors_per_s: 0, response_ms: null }),
    sticky: frame.sticky[name] ?? {},
    serving: targets.filter((target) => target.isServing).length,
    inFlight: total("in_flight"),
    queued: total("queued"),
    sessions: total("sessions"),
    portable: total("portable"),
    pinned: total("pinned"),
    untold: total("untold"),
  };
}

function targetView(target, rates, own) {
  return {
    ...target,
    // Nothing was counted of it in this time: that is none, once there are two looks to compare.
    rate: own?.requests_per_s ?? (rates === null ? null : 0),
    errorRate: own?.server_errors_per_s ?? (rates === null ? null : 0),
    response: own?.response_ms ?? null,
    state: target.health + (target.is_terminating ? ", terminating" : ""),
    level: LEVELS[target.health] ?? "quiet",
    // Pinned because nothing is known of them: the app does not tell.
    untold: target.pinned_by.unknown ?? 0,
    // A WebSocket opens again elsewhere; the other pinned sessions are lost with their target.
    endangered: target.pinned - (target.pinned_by.websocket ?? 0),
    isServing: SERVING.has(target.health),
  };
}

// The last two minutes of every group and target, as long as the page is open.
export class Past {
  constructor() {
    this.lines = new Map();
    this.last_s = null;
  }

  add(frame) {
    if (frame.rates === null) return;
    if (this.last_s !== null && frame.time_s - this.last_s > GAP_S) this.lines.forEach((line) => line.add(null));
    this.last_s = frame.time_s;
    for (const group of frame.status.target_groups) {
      const rates = frame.rates.groups[group.name];
      this.of(group.name, "rate").add(rates?.requests_per_s ?? 0);
      this.of(group.name, "response").add(rates?.response_ms?.median);
      for (const target of group.targets) {
        this.of(group.name, "target", target.name).add(rates?.targets[target.name]?.requests_per_s ?? 0);
      }
    }
  }

  of(...names) {
    const key = names.join("\n");
    if (!this.lines.has(key)) this.lines.set(key, new History());
    return this.lines.get(key);
  }
}
