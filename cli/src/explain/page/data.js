// The report, what is looked up in it, and how numbers are shown.

const report = JSON.parse(document.getElementById("report").textContent);

/** A number in the largest unit in which it is at least about one. */
function scaled(n, units, step) {
  let unit = 0;
  while (n >= step - step / 20000 && unit + 1 < units.length) {
    n /= step;
    unit++;
  }
  return unit === 0 ? `${n.toFixed(0)} ${units[0]}` : `${n.toFixed(1)} ${units[unit]}`;
}

const bytes = (n) => scaled(n, ["B", "kB", "MB", "GB", "TB", "PB"], 1000);
const flops = (n) => scaled(n, ["flop", "kflop", "Mflop", "Gflop", "Tflop", "Pflop"], 1000);

/** Seconds, three digits of them. */
function seconds(s) {
  const units = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
  const [unit, name] = units.find(([unit]) => s >= 0.9995 * unit) ?? units.at(-1);
  const n = s / unit;
  return `${n.toFixed(n < 9.995 ? 2 : n < 99.95 ? 1 : 0)} ${name}`;
}

const percent = (part, whole) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "0 %");
const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** What a kernel can be bound by. */
const BOUNDS = ["memory", "arithmetic", "launch"];

/** The seconds by which a kernel, a call or a step is drawn: measured where it was, otherwise predicted. */
const took = (figures) => figures.measured_s ?? figures.predicted_s;

/** How figures are shown, by their field's name. */
const SHOWN = {
  bytes, flops,
  predicted_s: seconds, measured_s: seconds, spread_s: seconds,
  memory_s: seconds, arithmetic_s: seconds, launch_s: seconds,
  ratio: (n) => n.toFixed(2),
  launches: (n) => String(n), calls: (n) => String(n),
};

/** An element. Attributes whose names begin with `on` are listeners; those that are null or false are left out. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A figure, in short for the eye and as it is in an attribute named after its field. */
function figure(of, field) {
  const number = of[field];
  if (number === null) return null;
  return el("span", { class: "figure", [`data-${field.replaceAll("_", "-")}`]: number }, SHOWN[field](number));
}

/** The seconds by which something is drawn. */
const drawn = (of) => figure(of, of.measured_s === null ? "predicted_s" : "measured_s");

/** What is looked up of one function. */
class View {
  constructor(planned) {
    this.planned = planned;
    this.source = report.source.find((source) => source.name === planned.name);
    this.values = new Map(planned.values.map((value) => [value.name, value]));
    this.sourceValues = new Map(this.source.values.map((value) => [value.name, value]));
    this.kernels = new Map(planned.kernels.map((kernel) => [kernel.name, kernel]));
    this.numbers = new Map(planned.kernels.map((kernel, i) => [kernel.name, i + 1]));
    /** The kernels that compute a value, and those that read it. */
    this.computing = new Map();
    this.reading = new Map();
    /** The values of the plan that are equal to one of the source. */
    this.equals = new Map();
    const note = (map, key, entry) => map.set(key, [...(map.get(key) ?? []), entry]);
    for (const kernel of planned.kernels) {
      for (const name of kernel.values) note(this.computing, name, kernel);
      for (const read of kernel.reads) note(this.reading, read.name, kernel);
    }
    for (const value of planned.values) {
      if (!this.isPart(value.name)) note(this.equals, this.counterpart(value.name), value);
    }
  }

  /** The value of the source that one of the plan stands for: by name, or null. */
  counterpart(name) {
    const origin = this.values.get(name)?.origin;
    switch (origin?.kind) {
      case "parameter": return name;
      case "source": return origin.value;
      case "rules": return origin.first.kind === "part" ? this.counterpart(origin.first.of) : origin.first.value;
      default: return null;
    }
  }

  /** Whether a value of the plan began as a part of what rules made, and is equal to none of the source. */
  isPart(name) {
    const origin = this.values.get(name).origin;
    return origin.kind === "rules" && origin.first.kind === "part";
  }

  /** The kernels that compute a source's value. */
  kernelsOf(sourceName) {
    const equal = this.equals.get(sourceName) ?? [];
    return [...new Set(equal.flatMap((value) => this.computing.get(value.name) ?? []))];
  }

  /** The nearest users of a source's value that the plan still has, by name. */
  heirs(sourceName) {
    const users = this.source.values.filter((value) => value.operands.includes(sourceName));
    const each = users.flatMap(({ name }) => (this.equals.has(name) ? [name] : this.heirs(name)));
    return [...new Set(each)];
  }

  /** The source's values that a kernel computes, by name. */
  sourcesOf(kernel) {
    const whole = kernel.values.filter((name) => !this.isPart(name));
    return new Set(whole.map((name) => this.counterpart(name)).filter((name) => name !== null));
  }
}

const views = report.functions.map((planned) => new View(planned));

/** How often a function is called, in words. */
function called({ calls, prepare_calls }) {
  if (calls > 0) return calls === 1 ? "once a step" : `${calls} times a step`;
  return prepare_calls > 0 ? "to prepare weights" : "not called";
}
