// The page: the step, the functions, the one that is shown, what is chosen in it, and the search.

/** The least zoom at which the source graph, and the kernels, are readable. */
const READABLE = { before: 0.7, after: 0.6 };
const at = (id) => document.getElementById(id);
const before = new Pane(at("before"), at("before-zoom"));
const after = new Pane(at("after"), at("after-zoom"));
const [detail, tip, search] = [at("detail"), at("tip"), at("search")];

/** What is shown: a function, what is drawn of it, the kernel and the values chosen. */
const state = { view: views[0], source: null, kernels: null, kernel: null, value: null, sourceValue: null, match: -1 };

function header() {
  const { machine, symbols, step } = report;
  document.title = `Lapidary: ${report.module}`;
  at("module").append(`${report.module} `, el("small", {}, report.fidelity));
  const given = symbols.map(({ name, value, low, high }) => `${name} = ${value} of ${low}..${high}`);
  const facts = [
    `${(machine.bytes_per_s / 1e9).toFixed(1)} GB/s`, `${(machine.flops_per_s / 1e9).toFixed(1)} Gflop/s`,
    `${seconds(machine.launch_s)} a launch`, plural(machine.workers, "worker"),
  ];
  at("machine").append(el("span", {}, `planned for ${facts.join(", ")}`),
    given.length === 0 ? "" : el("span", {}, `figures for ${given.join("; ")}`));
  const tile = (name, field) => {
    const shown = figure(step, field);
    return shown === null ? [] : [el("div", {}, el("dt", {}, name), el("dd", {}, shown))];
  };
  at("step").append(...tile("a step, predicted", "predicted_s"), ...tile("measured", "measured_s"),
    ...tile("measured over predicted", "ratio"), ...tile("launches", "launches"),
    ...tile("bytes", "bytes"), ...tile("flops", "flops"));
  at("legend").append(...BOUNDS.map((bound) => el("li", {}, el("i", { class: bound }), `bound by ${bound}`)),
    el("li", { id: "scale" }));
}

function tabs() {
  at("functions").append(...views.map(({ planned }) => {
    const share = el("span", { class: "share" });
    const whole = took(report.step);
    share.style.width = `${whole > 0 ? (100 * took(planned.step)) / whole : 0}%`;
    return el("button", { type: "button", "data-function": planned.name, onclick: () => go(planned.name, null) },
      el("b", {}, planned.name), el("span", { class: "hits" }),
      el("span", { class: "sub" }, `${called(planned)} · `, drawn(planned.step), ` · ${percent(took(planned.step), whole)}`),
      el("span", { class: "track" }, share));
  }));
}

/** The kernels of a call on a line, to scale. */
function strip() {
  const { kernels, call } = state.view.planned;
  at("strip").replaceChildren(...kernels.map((kernel, i) => {
    const segment = el("button", {
      type: "button", class: kernel.bound, "data-kernel": kernel.name, onclick: () => choose(kernel.name),
      "aria-label": `kernel ${kernel.name}: ${seconds(took(kernel))}, ${percent(took(kernel), took(call))} of a call`,
    }, String(i + 1));
    segment.style.flexGrow = took(call) > 0 ? kernels.length * (took(kernel) / took(call)) : 1;
    return segment;
  }));
}

function drawFunction() {
  const { view } = state;
  const { planned, source } = view;
  for (const tab of at("functions").children) {
    tab.setAttribute("aria-current", tab.dataset.function === planned.name);
    if (tab.dataset.function === planned.name) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const ops = source.values.filter((value) => value.op !== null).length;
  at("before-count").textContent = `${plural(ops, "op")}, ${plural(source.values.length - ops, "parameter")}`;
  const kernels = plural(planned.kernels.length, "kernel");
  at("after-count").replaceChildren(`${kernels}, a call `, drawn(planned.call), ", ", figure(planned.call, "bytes"));
  strip();
  state.source = drawSource(before, view, chooseSource);
  state.kernels = drawKernels(after, view, choose);
  const height = `height: ${planned.call.measured_s === null ? "predicted" : "measured"} time`;
  at("scale").textContent = state.kernels.cramped
    ? `${height}, short kernels enlarged; the line above is to scale` : height;
  before.home(READABLE.before);
  after.home(READABLE.after);
}

/** Shows a function, and opens one of its kernels or closes what is open. */
function go(name, kernel) {
  const view = views.find((view) => view.planned.name === name) ?? state.view;
  if (view !== state.view || state.source === null) {
    Object.assign(state, { view, kernel: null, value: null, sourceValue: null, match: -1 });
    drawFunction();
    find();
  }
  choose(view.kernels.has(kernel) ? kernel : null);
}

/** Opens a kernel's explanation; null closes it. */
function choose(kernel) {
  Object.assign(state, { kernel, value: null, sourceValue: null });
  explain();
}

/** Shows a value of the source: in the explanation of a kernel that computes it, the open one if it does. */
function chooseSource(name) {
  const { view } = state;
  const computing = view.kernelsOf(name);
  const kernel = computing.find((kernel) => kernel.name === state.kernel) ?? computing[0];
  const value = (view.equals.get(name) ?? []).find((value) => kernel?.values.includes(value.name));
  Object.assign(state, { kernel: kernel?.name ?? null, value: value?.name ?? null, sourceValue: name });
  explain();
  detail.querySelector(`[data-computes="${CSS.escape(state.value ?? "")}"]`)?.scrollIntoView({ block: "center" });
}

/** Marks a value of the plan wherever it is, and what it was in the source. */
function show(name) {
  const source = state.view.counterpart(name);
  Object.assign(state, { value: name, sourceValue: source });
  mark();
  before.reveal(state.source.nodes.filter((node) => node.name === source), READABLE.before);
}

function explain() {
  const { view, kernel, sourceValue } = state;
  const acts = { go: choose, show, close: () => choose(null) };
  const content = kernel !== null ? explainKernel(view, view.kernels.get(kernel), acts)
    : sourceValue !== null ? explainSource(view, sourceValue, acts) : null;
  const was = detail.hidden;
  detail.hidden = content === null;
  detail.replaceChildren(...(content ?? []).filter((child) => child !== null));
  detail.scrollTop = 0;
  if (was && !detail.hidden && state.sourceValue === null) before.home(READABLE.before);
  if (was !== detail.hidden) after.home(READABLE.after);
  const place = `#${encodeURIComponent(view.planned.name)}${kernel === null ? "" : `/${encodeURIComponent(kernel)}`}`;
  if (location.hash !== place) history.replaceState(null, "", place);
  mark();
  after.reveal(state.kernels.nodes.filter((node) => node.name === kernel), READABLE.after);
  if (sourceValue !== null) {
    before.reveal(state.source.nodes.filter((node) => node.name === sourceValue), READABLE.before);
  } else if (kernel !== null) {
    // What several kernels compute, such as a constant, does not say where this one is.
    const own = view.sourcesOf(view.kernels.get(kernel));
    const nodes = state.source.nodes.filter((node) => own.has(node.name));
    const alone = nodes.filter((node) => view.kernelsOf(node.name).length === 1);
    before.reveal(alone.length > 0 ? alone : nodes, READABLE.before);
  }
}

/** Marks what is chosen in both panes, along the line and in the explanation. */
function mark() {
  const { view, kernel, value, sourceValue, source, kernels } = state;
  const own = kernel === null ? new Set() : view.sourcesOf(view.kernels.get(kernel));
  before.root.classList.toggle("some", kernel !== null);
  for (const { element, name } of source.nodes) {
    element.classList.toggle("own", own.has(name));
    element.classList.toggle("chosen", name === sourceValue);
    element.setAttribute("aria-pressed", name === sourceValue);
  }
  const sourceName = (i) => source.nodes[i].name;
  for (const { element, from, to } of source.edges) {
    element.classList.toggle("own", own.has(sourceName(from)) && own.has(sourceName(to)));
    element.classList.toggle("chosen", sourceName(from) === sourceValue || sourceName(to) === sourceValue);
  }
  const computing = value === null ? [] : (view.computing.get(value) ?? []).map((kernel) => kernel.name);
  for (const { element, name } of kernels.nodes) {
    element.classList.toggle("chosen", name === kernel);
    element.classList.toggle("has", computing.includes(name));
    element.querySelector(".open").setAttribute("aria-expanded", name === kernel);
  }
  for (const { element, tag, from, to, values } of kernels.edges) {
    const touches = [from, to].some((i) => kernels.nodes[i].name === kernel);
    for (const part of [element, tag]) {
      part.classList.toggle("chosen", touches);
      part.classList.toggle("has", values.some((handed) => handed.name === value));
    }
  }
  for (const segment of at("strip").children) segment.classList.toggle("chosen", segment.dataset.kernel === kernel);
  for (const { dataset, classList } of detail.querySelectorAll("[data-value], [data-computes]")) {
    classList.toggle("chosen", (dataset.value ?? dataset.computes) === value);
  }
}

/** Whether a query finds an op or a name; after a % it is for names alone. */
function finds(query, op, name) {
  if (query.startsWith("%")) return name.toLowerCase().includes(query.slice(1));
  return (op ?? "").toLowerCase().includes(query) || name.toLowerCase().includes(query);
}

/** What a query finds in a function: values of the source, and by kernel the values that it computes or reads. */
function matches(view, query) {
  const values = view.source.values.filter((value) => finds(query, value.op, value.name));
  const source = new Set(values.map((value) => value.name));
  const found = (name) => {
    const value = view.values.get(name);
    return finds(query, value.op, name) || (value.origin.kind !== "unknown" && source.has(view.counterpart(name)));
  };
  const kernels = new Map(view.planned.kernels.map((kernel) => {
    const own = new Set(kernel.values.filter(found));
    const read = kernel.reads.filter((read) => found(read.name));
    return [kernel.name, { own, count: own.size + read.length + (finds(query, null, kernel.name) ? 1 : 0) }];
  }));
  return { source, kernels };
}

/** Marks what the search finds, and counts it in every function. */
function find() {
  const query = search.value.trim().toLowerCase();
  document.body.classList.toggle("searching", query !== "");
  views.forEach((view, i) => {
    const hits = query === "" ? 0 : matches(view, query).source.size;
    at("functions").children[i].querySelector(".hits").textContent = hits > 0 ? hits : "";
  });
  const { source, kernels } = query === "" ? { source: new Set(), kernels: new Map() } : matches(state.view, query);
  for (const { element, name } of state.source.nodes) element.classList.toggle("found", source.has(name));
  let boxes = 0;
  state.kernels.nodes.forEach(({ element, name }, i) => {
    const { own, count } = kernels.get(name) ?? { own: new Set(), count: 0 };
    const ops = new Set([...own].map((value) => state.view.values.get(value).op));
    element.classList.toggle("found", count > 0);
    boxes += count > 0 ? 1 : 0;
    for (const chip of element.querySelectorAll(".chip")) chip.classList.toggle("found", ops.has(chip.dataset.op));
    at("strip").children[i].classList.toggle("found", count > 0);
  });
  at("found").textContent = query === "" ? "" : `${plural(source.size, "value")}, ${plural(boxes, "kernel")}`;
  state.match = -1;
}

/** Brings the next value that the search finds into view. */
function next() {
  const found = state.source.nodes.filter((node) => node.element.classList.contains("found"));
  if (found.length === 0) return;
  state.match = (state.match + 1) % found.length;
  chooseSource(found[state.match].name);
}

/** Opens the kernel so many places on. */
function step(by) {
  const names = state.view.planned.kernels.map((kernel) => kernel.name);
  const now = names.indexOf(state.kernel);
  const to = now < 0 ? (by > 0 ? 0 : names.length - 1) : Math.min(names.length - 1, Math.max(0, now + by));
  if (names.length > 0) choose(names[to]);
}

const KEYS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** Whether a key scrolls the explanation, which has the focus. */
const scrolls = ({ key, target }) => detail.contains(target) && ["ArrowDown", "ArrowUp"].includes(key);

function key(event) {
  tip.hidden = true;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target === search;
  if (event.key === "/" && !typing) {
    search.focus();
    search.select();
  } else if (event.key === "Escape") {
    if (typing && search.value !== "") {
      search.value = "";
      find();
    } else if (typing) search.blur();
    else choose(null);
  } else if (event.key === "Enter" && typing) next();
  else if (event.key in KEYS && !typing && !scrolls(event)) step(KEYS[event.key]);
  else return;
  event.preventDefault();
}

/** The short facts of what the pointer is on, or null. */
function facts(target) {
  const node = target.closest?.("[data-source]");
  if (node !== null && node !== undefined) {
    const value = state.view.sourceValues.get(node.dataset.source);
    const kernels = state.view.kernelsOf(value.name).map((kernel) => kernel.name);
    const where = kernels.length > 0 ? `computed in ${kernels.join(", ")}`
      : value.op === null ? "a parameter" : state.view.equals.has(value.name) ? "" : "gone by rules";
    const text = value.text === "" ? "" : ` = ${value.text}`;
    return [`%${value.name}: ${value.type}${text}`, [bytes(value.bytes), where].filter((part) => part !== "").join(", ")];
  }
  const box = target.closest?.(".kernel, .strip [data-kernel]");
  const kernel = box && state.view.kernels.get(box.dataset.kernel);
  if (!kernel) return null;
  const measured = kernel.measured_s === null ? "" : `${seconds(kernel.measured_s)} measured, `;
  return [
    `${kernel.name}: ${measured}${seconds(kernel.predicted_s)} predicted, bound by ${kernel.bound}`,
    `${bytes(kernel.bytes)}, ${flops(kernel.flops)}, ${percent(took(kernel), took(state.view.planned.call))} of a call`,
    `reads ${kernel.reads.length}, computes ${kernel.values.length}, writes ${kernel.writes.length}; click for why`,
  ];
}

function hover(event) {
  const said = facts(event.target);
  tip.hidden = said === null || event.buttons !== 0;
  if (tip.hidden) return;
  tip.replaceChildren(...said.map((line) => el("div", {}, line)));
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18;
  const top = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : below;
  Object.assign(tip.style, { left: `${Math.max(8, left)}px`, top: `${top}px` });
}

/** Shows what the address names: `#function/kernel`. */
function follow() {
  const [name, kernel] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const only = views.length === 1 && views[0].planned.kernels.length === 1 ? views[0].planned.kernels[0].name : null;
  go(name, kernel ?? only);
}

if (views.length > 0) {
  header();
  tabs();
  follow();
  search.addEventListener("input", find);
  window.addEventListener("hashchange", follow);
  document.addEventListener("keydown", key);
  document.addEventListener("pointermove", hover);
  for (const away of ["pointerdown", "pointerleave"]) document.addEventListener(away, () => (tip.hidden = true));
}
