// The explanation of a kernel, or of a value of the source that no kernel computes.

/** The other way to treat an operand. */
const OTHER = { inl: "mat", mat: "inl" };

/** A value's name, as a button that shows what it was before. */
function named(name, show) {
  return el("button", { type: "button", class: "value", "data-value": name, onclick: () => show(name) }, `%${name}`);
}

/** An op's text, the values in it as buttons. */
function linked(text, view, show) {
  return text.split(/(%[\w.]+)/).map((part) => {
    const name = part.slice(1);
    return part.startsWith("%") && view.values.has(name) ? named(name, show) : part;
  });
}

/** A part of an explanation, which can be folded. */
function part(title, count, ...content) {
  return el("details", { open: true },
    el("summary", {}, title, count === null ? null : el("small", {}, ` ${count}`)), ...content);
}

/** A kernel's name, as a button that opens its explanation if the report has it. */
function opens(name, view, go) {
  return view.kernels.has(name) ? el("button", { type: "button", class: "to", onclick: () => go(name) }, name) : name;
}

function table(head, rows) {
  return el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows)));
}

/** What a value made by rules was at first. */
function first(origin, show) {
  const { kind, value, of, rule } = origin.first;
  return kind === "source" ? [`the source's %${value}`] : ["a part of ", named(of, show), `, made by ${rule}`];
}

/** The rules that led to a value of the plan. */
function chain(origin, show) {
  const steps = origin.steps.map((step) =>
    el("li", { "data-rule": step.rule },
      el("b", {}, step.rule), " ", el("span", { class: `class ${step.class}` }, step.class),
      step.forward ? null : el("small", {}, " backwards"),
      el("code", {}, step.before), el("code", {}, `⇒ ${step.after}`),
      step.position.length === 0 ? null : el("code", { class: "whole" }, `in all: ${step.whole}`)));
  return el("div", { class: "chain" },
    el("p", {}, "from ", first(origin, show), ": ", el("code", {}, origin.text)),
    steps.length === 0 ? null : el("ol", {}, steps),
    origin.error === null ? null : el("p", { class: "error" }, `does not replay: ${origin.error}`));
}

/** Where a value comes from, in a line, if it is not in the source under the same name. */
function origin(value, show) {
  const from = value.origin;
  switch (from.kind) {
    case "source":
      return from.value === value.name ? null : el("small", { class: "origin" }, `the source's %${from.value}`);
    case "rules": {
      const rules = [...new Set(from.steps.map((step) => step.rule))].join(", ");
      return el("small", { class: "origin ruled" }, first(from, show), rules === "" ? null : `, by ${rules}`);
    }
    case "unknown":
      return el("small", { class: "origin" }, "the rules do not lead to it within the search's limits");
    default:
      return null;
  }
}

/** What a call takes more, or less, with one use the other way. */
function cost({ chosen_s, other_s }, other, when) {
  const data = { [`data-${when}-chosen-s`]: chosen_s, [`data-${when}-other-s`]: other_s };
  if (other_s === null) return el("td", { ...data, class: "same" }, "impossible, or the same");
  const [change, sign] = [other_s - chosen_s, other_s < chosen_s ? "−" : "+"];
  return el("td", { ...data, class: change < 0 ? "better" : null }, `${other}: ${sign}${seconds(Math.abs(change))} `,
    el("small", {}, `${sign}${((100 * Math.abs(change)) / chosen_s).toFixed(1)} %`));
}

/** The operands that were read or computed in place, where both were possible. */
function choices(view, kernel, show) {
  const gain = ({ here }) => (here.other_s === null ? Infinity : here.other_s / here.chosen_s);
  const uses = [...kernel.uses].sort((a, b) => gain(a) - gain(b));
  if (uses.length === 0) return null;
  const rows = uses.map((use) => {
    const again = view.values.get(use.consumer).operands.filter((operand) => operand === use.value).length > 1;
    return el("tr", { "data-use": `${use.consumer} ${use.operand}` },
      el("td", {}, named(use.value, show), " in ", named(use.consumer, show),
        again ? el("small", {}, ` operand ${use.operand}`) : null),
      el("td", {}, el("span", { class: `choice ${use.choice}` }, use.choice)),
      cost(use.here, OTHER[use.choice], "here"), cost(use.planned, OTHER[use.choice], "planned"));
  });
  const [{ here, planned }] = uses;
  return part("read (mat) or computed in place (inl)", uses.length,
    el("p", { class: "hint" },
      `A call of the function takes ${seconds(here.chosen_s)}, at the sizes that the plan was made for `,
      `${seconds(planned.chosen_s)}; what it would take more or less with this one use the other way, `,
      "the closest first:"),
    table(["use", "is", "the other way, here", "as planned"], rows));
}

/** The explanation of a kernel. `go` opens another kernel, `show` a value of the plan. */
function explainKernel(view, kernel, { go, show, close }) {
  const { planned } = view;
  const values = kernel.values.map((name) => view.values.get(name));
  const ruled = values.filter((value) => value.origin.kind === "rules");
  const link = (name) => opens(name, view, go);
  const operand = (value, field, last) => el("tr", { [field]: value.name },
    el("td", {}, named(value.name, show)), el("td", {}, value.type),
    el("td", {}, figure(value, "bytes")), el("td", {}, last));
  const readers = (name) => {
    const kernels = (view.reading.get(name) ?? []).filter((reader) => reader !== kernel);
    if (planned.results.includes(name)) kernels.push(null);
    return kernels.flatMap((reader, i) => [i > 0 ? ", " : "", reader === null ? "a result" : link(reader.name)]);
  };
  return [
    heading(`kernel ${kernel.name}`, close),
    el("p", { class: "about" }, `of ${planned.name}, called ${called(planned)}; over [${kernel.space.join(", ")}]`,
      kernel.template === null ? null : `, template ${kernel.template}`),
    time(kernel, planned),
    part("reads", kernel.reads.length, table(["value", "type", "size", "from"],
      kernel.reads.map((read) => operand(read, "data-read", read.kernel === null ? "parameter" : link(read.kernel))))),
    part("writes", kernel.writes.length, table(["value", "type", "size", "to"],
      kernel.writes.map((write) => operand(write, "data-write", readers(write.name))))),
    ruled.length === 0 ? null : part("made by rules", ruled.length, el("ul", { class: "ruled" },
      ruled.map((value) => el("li", { "data-chain": value.name },
        el("code", {}, named(value.name, show), " = ", linked(value.text, view, show)), chain(value.origin, show))))),
    part("computes", values.length, el("ul", { class: "computes" },
      values.map((value) => el("li", { "data-computes": value.name },
        el("code", {}, named(value.name, show), el("small", {}, `: ${value.type}`), " = ",
          linked(value.text, view, show)),
        origin(value, show))))),
    choices(view, kernel, show),
  ];
}

function heading(text, onclick) {
  const close = { type: "button", class: "close", "aria-label": "close the explanation", title: "close (Esc)", onclick };
  return el("div", { class: "heading" }, el("h2", {}, text), el("button", close, "×"));
}

/** A kernel's times and figures, with the parts of the predicted time side by side. */
function time(kernel, planned) {
  const row = (name, content) => [el("dt", {}, name), el("dd", {}, content)];
  const costs = BOUNDS.map((name) => ({ name, field: `${name}_s` }));
  const most = Math.max(...costs.map(({ field }) => kernel[field]));
  const bars = costs.map(({ name, field }) => {
    const fill = el("span", { class: `fill ${name}` });
    fill.style.width = `${most > 0 ? (100 * kernel[field]) / most : 0}%`;
    const track = el("span", { class: "track" }, fill);
    return el("div", { class: "cost" }, el("span", {}, name), track, figure(kernel, field));
  });
  return el("div", { class: "time" },
    el("dl", {},
      row("predicted", figure(kernel, "predicted_s")),
      kernel.measured_s === null ? [] : [
        row("measured", [figure(kernel, "measured_s"), " ± ", figure(kernel, "spread_s")]),
        row("of predicted", figure(kernel, "ratio")),
      ],
      row("bound by", el("span", { class: `bound ${kernel.bound}`, "data-bound": kernel.bound }, kernel.bound)),
      row("bytes", figure(kernel, "bytes")),
      row("flops", figure(kernel, "flops")),
      row("of a call", percent(took(kernel), took(planned.call))),
      row("of a step", percent(took(kernel) * planned.calls, took(report.step)))),
    el("div", { class: "costs" }, bars,
      el("p", { class: "hint" }, "predicted: the greater of memory and arithmetic, and the launch")));
}

/** What is to be said of a value of the source that no kernel computes. */
function explainSource(view, name, { go, close }) {
  const value = view.sourceValues.get(name);
  const [equal] = view.equals.get(name) ?? [];
  const link = (kernel, i) => [i > 0 ? ", " : "", opens(kernel.name, view, go)];
  const readers = (equal && view.reading.get(equal.name)) ?? [];
  const heirs = view.heirs(name);
  const kernels = [...new Set(heirs.flatMap((heir) => view.kernelsOf(heir)))];
  const said = value.op === null
    ? readers.length === 0 ? ["a parameter, which no kernel reads"] : ["a parameter, read by ", readers.flatMap(link)]
    : equal !== undefined ? ["no kernel computes it"] : [
      "Gone: rules replaced it, or it is merged with an equal value.",
      kernels.length === 0 ? "" : ` What came of it, ${heirs.map((heir) => `%${heir}`).join(", ")}, is computed in `,
      kernels.flatMap(link),
    ];
  return [
    heading(`%${name}`, close),
    el("p", { class: "about" }, `of the source's ${view.source.name}: ${value.type}, `, figure(value, "bytes")),
    value.text === "" ? null : el("p", {}, el("code", {}, value.text)),
    el("p", {}, said),
  ];
}
