// Numbers as people read them.

export const NONE = "\u2013";
const WHOLE = new Intl.NumberFormat("en");

export function whole(number) {
  return number === null || number === undefined ? NONE : WHOLE.format(number);
}

export function counted(number, thing) {
  return `${whole(number)} ${thing}${number === 1 ? "" : "s"}`;
}

export function rate(number) {
  if (number === null || number === undefined) return NONE;
  return number === 0 || number >= 10 ? whole(Math.round(number)) : number.toFixed(1);
}

export function time(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms >= 10000) return `${(ms / 1000).toFixed(0)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

export function share(part, all) {
  return all ? `${Math.round((100 * part) / all)} %` : NONE;
}

export function duration(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [length, name] of units) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${name}`;
  }
  return `${Math.floor(seconds)} s`;
}

// "target_gone" as "target gone".
export function words(name) {
  return name.replaceAll("_", " ");
}
