// A pane that is panned and zoomed, and what is drawn in the two of them.

const SVG = "http://www.w3.org/2000/svg";
/** The smallest and the largest zoom. */
const ZOOM = [0.05, 3];
/** Pixels that a pointer moves before a press becomes a drag. */
const DRAG = 4;

/** A pane over elements laid out on a plane. */
class Pane {
  constructor(root, buttons) {
    this.root = root;
    this.plane = el("div", { class: "plane" });
    root.replaceChildren(this.plane);
    this.clear();
    const button = (text, title, onclick) => el("button", { type: "button", "aria-label": title, title, onclick }, text);
    buttons.append(
      button("+", "zoom in", () => this.zoom(1.25)),
      button("−", "zoom out", () => this.zoom(0.8)),
      button("fit", "fit all into the pane", () => this.fit()),
    );
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this.press(event));
    // A focused element must not scroll the pane, whose plane has its own place.
    root.addEventListener("scroll", () => root.scrollTo(0, 0));
  }

  /** Empties the plane. */
  clear() {
    this.edges = document.createElementNS(SVG, "svg");
    this.edges.setAttribute("aria-hidden", "true");
    this.plane.replaceChildren(this.edges);
    this.size = { width: 0, height: 0 };
    this.move({ x: 0, y: 0, scale: 1 });
  }

  move(to) {
    this.at = to;
    this.plane.style.transform = `translate(${to.x}px, ${to.y}px) scale(${to.scale})`;
    this.root.classList.toggle("far", to.scale < 0.45);
  }

  /** Zooms about a point of the pane, its middle if none is given. */
  zoom(factor, x = this.root.clientWidth / 2, y = this.root.clientHeight / 2) {
    const scale = Math.min(ZOOM[1], Math.max(ZOOM[0], this.at.scale * factor));
    const by = scale / this.at.scale;
    this.move({ x: x - (x - this.at.x) * by, y: y - (y - this.at.y) * by, scale });
  }

  wheel(event) {
    event.preventDefault();
    const box = this.root.getBoundingClientRect();
    if (event.shiftKey) {
      this.move({ ...this.at, x: this.at.x - event.deltaX - event.deltaY });
    } else {
      this.zoom(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
    }
  }

  press(event) {
    if (event.button !== 0) return;
    const start = { x: event.clientX, y: event.clientY, at: this.at };
    let dragging = false;
    const drag = (moved) => {
      const [dx, dy] = [moved.clientX - start.x, moved.clientY - start.y];
      dragging ||= Math.hypot(dx, dy) > DRAG;
      this.root.classList.toggle("dragging", dragging);
      if (dragging) this.move({ ...start.at, x: start.at.x + dx, y: start.at.y + dy });
    };
    const release = () => {
      window.removeEventListener("pointermove", drag);
      this.root.classList.remove("dragging");
      // The click that ends a drag chooses nothing.
      const swallow = (click) => click.stopPropagation();
      if (dragging) this.root.addEventListener("click", swallow, { capture: true, once: true });
      setTimeout(() => this.root.removeEventListener("click", swallow, { capture: true }));
    };
    window.addEventListener("pointermove", drag);
    window.addEventListener("pointerup", release, { once: true });
  }

  /** Shows the whole plane, in the middle, no larger than it is. */
  fit() {
    const { width, height } = this.size;
    const [w, h] = [this.root.clientWidth, this.root.clientHeight];
    const scale = Math.max(ZOOM[0], Math.min(1, (w - 32) / Math.max(1, width), (h - 32) / Math.max(1, height)));
    this.move({ x: (w - width * scale) / 2, y: (h - height * scale) / 2, scale });
  }

  /** Shows the plane's top at a zoom at which it can be read. */
  home(least) {
    const fits = (this.root.clientWidth - 32) / Math.max(1, this.size.width);
    const scale = Math.min(1, Math.max(least, fits));
    this.move({ x: (this.root.clientWidth - this.size.width * scale) / 2, y: 16, scale });
  }

  /** Brings nodes into view: all of them where they can be read then, otherwise as many as fit from the top. */
  reveal(nodes, least) {
    if (nodes.length === 0) return;
    const all = around(nodes);
    const { x, y, scale } = this.at;
    const [w, h] = [this.root.clientWidth, this.root.clientHeight];
    const inside = scale >= least && x + all.x * scale >= 0 && x + (all.x + all.width) * scale <= w &&
      y + all.y * scale >= 0 && y + (all.y + all.height) * scale <= h;
    if (inside) return;
    const fits = Math.min((w - 32) / all.width, (h - 32) / all.height);
    const to = Math.max(least, Math.min(scale, fits));
    const [room, height] = [(h - 32) / to, all.height];
    const upper = height <= room ? all : around(nodes.filter((node) => node.y + node.height <= all.y + room));
    const middle = this.size.width * to <= w ? this.size.width / 2 : upper.x + upper.width / 2;
    const top = height <= room ? (h - height * to) / 2 : 16;
    this.move({ x: w / 2 - middle * to, y: top - all.y * to, scale: to });
  }

  /** Lays out nodes, each with its element, and draws the edges between them, each with its element and label. */
  draw(nodes, edges, distances) {
    this.size = layout(nodes, edges, distances);
    this.edges.setAttribute("width", this.size.width);
    this.edges.setAttribute("height", this.size.height);
    for (const node of nodes) {
      Object.assign(node.element.style, { left: `${node.x - node.width / 2}px`, top: `${node.y}px` });
    }
    for (const edge of edges) {
      edge.element = document.createElementNS(SVG, "path");
      edge.element.setAttribute("d", edge.path);
      this.edges.append(edge.element);
    }
  }
}

/** The rectangle around nodes. */
function around(nodes) {
  const [x, y] = [Math.min(...nodes.map((n) => n.x - n.width / 2)), Math.min(...nodes.map((n) => n.y))];
  const right = Math.max(...nodes.map((n) => n.x + n.width / 2));
  const bottom = Math.max(...nodes.map((n) => n.y + n.height));
  return { x, y, width: right - x, height: bottom - y };
}

/** The values of a constant, as its text has them. */
const constant = (value) => /values = \[(.*)\]/.exec(value.text)?.[1];

/** What a node of the source graph says: two lines for what ops compute, one for what is given. */
function lines(value) {
  const type = value.type.replaceAll(" ", "");
  if (value.op === null) return [value.name, type];
  if (value.op === "const") return [constant(value) ?? "const", ""];
  const named = /^\d+$/.test(value.name) ? "" : ` %${value.name}`;
  return [value.op + named, type];
}

/** Draws the source graph: each value a button, in the colour of the kernel that computes it. */
function drawSource(pane, view, onclick) {
  pane.clear();
  const values = view.source.values;
  const index = new Map(values.map((value, i) => [value.name, i]));
  const edges = values.flatMap((value, to) =>
    [...new Set(value.operands)].map((operand) => ({ from: index.get(operand), to })));
  const layer = layers(values.length, edges);
  const results = new Set(view.source.results);
  const nodes = values.map((value, i) => {
    const [head, tail] = lines(value);
    const kind = value.op === null ? "parameter" : value.op === "const" ? "constant" : "op";
    const kernels = view.kernelsOf(value.name);
    const marks = kernels.map((kernel) => el("i", { class: kernel.bound }, view.numbers.get(kernel.name)));
    const gone = kind !== "parameter" && !view.equals.has(value.name);
    const where = kernels.length > 0 ? `, computed in ${kernels.map((kernel) => kernel.name).join(", ")}` : "";
    const classes = ["node", kind, kernels[0]?.bound, gone ? "gone" : null, results.has(value.name) ? "result" : null];
    const element = el("button", {
      type: "button", class: classes.filter((name) => name).join(" "),
      tabindex: i === 0 ? 0 : -1, "data-source": value.name, "data-op": value.op,
      "aria-label": `${value.op ?? "parameter"} %${value.name}, ${value.type}${where}`,
      onclick: () => onclick(value.name),
    }, el("b", {}, head), tail === "" ? null : el("small", {}, tail), el("span", { class: "marks" }, marks));
    pane.plane.append(element);
    return { element, layer: layer[i], name: value.name, value };
  });
  for (const node of nodes) {
    node.width = node.element.offsetWidth;
    node.height = node.element.offsetHeight;
  }
  pane.draw(nodes, edges, { gap: 26, apart: 16 });
  return { nodes, edges };
}

/** Width of a kernel's box. */
const BOX = 400;
/** The height that the longest kernel's box may have where the shortest one's is no less than its content's. */
const TALLEST = 560;

/** Draws the kernels in order: boxes as high as they take time, with edges for the values that they hand on. */
function drawKernels(pane, view, onclick) {
  pane.clear();
  const { kernels, call } = view.planned;
  const index = new Map(kernels.map((kernel, i) => [kernel.name, i]));
  const nodes = kernels.map((kernel, i) => {
    const element = box(view, kernel, call, onclick);
    pane.plane.append(element);
    return { element, width: BOX, layer: i, name: kernel.name, kernel, content: element.offsetHeight };
  });
  // The scale at which every box is as high as its content, if the longest one is not too high then.
  const wanted = Math.max(0, ...nodes.map((node) => node.content / took(node.kernel)));
  const longest = Math.max(0, ...kernels.map(took));
  const scale = longest > 0 ? Math.min(wanted, TALLEST / longest) : 0;
  let cramped = false;
  for (const node of nodes) {
    const height = scale * took(node.kernel);
    cramped ||= height < node.content - 1;
    node.height = Math.max(node.content, height);
    node.element.style.height = `${node.height}px`;
  }
  const handed = new Map();
  kernels.forEach((kernel, to) => {
    for (const read of kernel.reads) {
      const from = index.get(read.kernel);
      if (from === undefined || from === to) continue;
      const key = `${from} ${to}`;
      if (!handed.has(key)) handed.set(key, { from, to, values: [] });
      handed.get(key).values.push(read);
    }
  });
  const edges = [...handed.values()];
  pane.draw(nodes, edges, { gap: 84, apart: 28 });
  const arriving = new Map();
  for (const edge of edges) {
    const nth = arriving.get(edge.to) ?? 0;
    arriving.set(edge.to, nth + 1);
    const names = edge.values.map((value) => `%${value.name}`);
    const text = names.length > 3 ? `${names.slice(0, 2).join(" ")} and ${names.length - 2} more` : names.join(" ");
    const size = edge.values.reduce((sum, value) => sum + value.bytes, 0);
    edge.tag = el("span", { class: "tag" }, `${text}, ${bytes(size)}`);
    Object.assign(edge.tag.style, { left: `${edge.label.x}px`, top: `${edge.label.y - 18 - 18 * nth}px` });
    pane.plane.append(edge.tag);
  }
  return { nodes, edges, cramped };
}

/** A kernel's box. */
function box(view, kernel, call, onclick) {
  const number = view.numbers.get(kernel.name);
  const open = el("button", {
    type: "button", class: "open",
    "aria-label": `kernel ${kernel.name}: ${seconds(took(kernel))}, bound by ${kernel.bound}`,
  }, el("i", { class: kernel.bound }, number), el("b", {}, kernel.name),
    kernel.template === null ? null : el("em", {}, kernel.template));
  const facts = [
    el("strong", {}, drawn(kernel)),
    el("span", {}, percent(took(kernel), took(call))),
    kernel.measured_s === null ? null : el("span", {}, figure(kernel, "predicted_s"), " predicted"),
    el("span", { class: `bound ${kernel.bound}` }, kernel.bound),
    figure(kernel, "bytes"), figure(kernel, "flops"),
  ];
  const chips = kernel.ops.map(({ op, count }) =>
    el("span", { class: "chip", "data-op": op, "data-count": count }, op,
      count > 1 ? el("small", {}, ` ×${count}`) : null));
  const element = el("div", {
    class: `kernel ${kernel.bound}`, "data-kernel": kernel.name,
    onclick: () => onclick(kernel.name),
  }, el("div", { class: "head" }, open, el("div", { class: "facts" }, facts)), el("div", { class: "chips" }, chips));
  element.style.width = `${BOX}px`;
  return element;
}
