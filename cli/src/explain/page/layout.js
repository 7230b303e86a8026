// A layered drawing of a graph, edges from top to bottom: Sugiyama's method, with long edges led through
// a place of their own in every layer between, shared by all edges from one node.

/** Width of the place that a passing edge takes in a layer. */
const PASSING = 10;
/** Rounds of ordering, and of placing. */
const ROUNDS = 24;

/**
 * A layer for each node, so that edges go downwards: as early as its operands allow where nothing uses the
 * node, otherwise right above its first user. `edges` go from lower to higher indices.
 */
function layers(count, edges) {
  const layer = new Array(count).fill(0);
  const users = Array.from({ length: count }, () => []);
  for (const { from, to } of [...edges].sort((a, b) => a.to - b.to)) {
    layer[to] = Math.max(layer[to], layer[from] + 1);
    users[from].push(to);
  }
  for (let i = count - 1; i >= 0; i--) {
    if (users[i].length > 0) layer[i] = Math.min(...users[i].map((user) => layer[user])) - 1;
  }
  return layer;
}

/**
 * Places nodes `{ width, height, layer }` and leads edges `{ from, to }` (indices of nodes). Sets each node's `x`
 * (centre) and `y` (top), each edge's `path` (of an SVG) and `label` (its end), and returns `{ width, height }`.
 * `gap` is between layers, `apart` between neighbours in one.
 */
function layout(nodes, edges, { gap, apart }) {
  const { spots, links, chains } = withPassing(nodes, edges);
  const rows = order(spots, links);
  const tops = [];
  let height = 0;
  for (const row of rows) {
    const tallest = Math.max(0, ...row.map((spot) => spot.height));
    tops.push({ top: height, bottom: height + tallest });
    height += tallest + gap;
  }
  const width = place(rows, apart);
  for (const spot of spots) spot.y = tops[spot.layer].top;
  lead(edges, spots, chains, tops);
  nodes.forEach((node, i) => Object.assign(node, { x: spots[i].x, y: spots[i].y }));
  return { width, height: Math.max(0, height - gap) };
}

/** The nodes and, after them, the places of passing edges; the links between layers; each node's chain of places. */
function withPassing(nodes, edges) {
  const spot = (node, passing) => ({ ...node, passing, above: [], below: [], x: 0 });
  const spots = nodes.map((node) => spot(node, false));
  const links = [];
  const link = (from, to) => {
    if (spots[from].below.includes(to)) return;
    spots[from].below.push(to);
    spots[to].above.push(from);
    links.push([from, to]);
  };
  const chains = nodes.map(() => []);
  for (const { from, to } of edges) {
    const chain = chains[from];
    let last = from;
    for (let layer = nodes[from].layer + 1; layer < nodes[to].layer; layer++) {
      const step = layer - nodes[from].layer - 1;
      if (step === chain.length) {
        chain.push(spots.length);
        spots.push(spot({ width: PASSING, height: 0, layer }, true));
      }
      link(last, chain[step]);
      last = chain[step];
    }
    link(last, to);
  }
  return { spots, links, chains };
}

/** The spots of each layer from left to right, with few crossings: the best of several sweeps of barycentres. */
function order(spots, links) {
  const rows = [];
  spots.forEach((spot) => {
    while (rows.length <= spot.layer) rows.push([]);
    rows[spot.layer].push(spot);
  });
  const number = () => rows.forEach((row) => row.forEach((spot, i) => (spot.rank = i)));
  number();
  let best = null;
  for (let round = 0; round < ROUNDS; round++) {
    const down = round % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      for (const spot of row) {
        const near = (down ? spot.above : spot.below).map((i) => spots[i].rank);
        spot.wish = near.length === 0 ? spot.rank : near.reduce((a, b) => a + b) / near.length;
      }
      row.sort((a, b) => a.wish - b.wish);
      row.forEach((spot, i) => (spot.rank = i));
    }
    const crossed = crossings(spots, links);
    if (best === null || crossed < best.crossed) best = { crossed, rows: rows.map((row) => [...row]) };
  }
  best.rows.forEach((row) => row.forEach((spot, i) => (spot.rank = i)));
  for (const spot of spots) {
    spot.above = spot.above.map((i) => spots[i]);
    spot.below = spot.below.map((i) => spots[i]);
  }
  return best.rows;
}

/** How many pairs of links cross. */
function crossings(spots, links) {
  const byLayer = new Map();
  for (const [from, to] of links) {
    const layer = spots[from].layer;
    if (!byLayer.has(layer)) byLayer.set(layer, []);
    byLayer.get(layer).push([spots[from].rank, spots[to].rank]);
  }
  let count = 0;
  for (const pairs of byLayer.values()) {
    for (let i = 0; i < pairs.length; i++) {
      for (let j = 0; j < i; j++) {
        if ((pairs[i][0] - pairs[j][0]) * (pairs[i][1] - pairs[j][1]) < 0) count++;
      }
    }
  }
  return count;
}

/** Sets every spot's `x`, near its neighbours' in the layers above and below, and returns the width of all. */
function place(rows, apart) {
  for (let round = 0; round <= 2 * ROUNDS; round++) {
    const down = round % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      for (const spot of row) {
        const near = round === 2 * ROUNDS ? [...spot.above, ...spot.below] : down ? spot.above : spot.below;
        const weigh = (other) => (spot.passing && other.passing ? 8 : 1);
        const weight = near.reduce((sum, other) => sum + weigh(other), 0);
        spot.weight = spot.passing ? 12 : 1 + near.length;
        spot.wish = weight === 0 ? spot.x : near.reduce((sum, other) => sum + weigh(other) * other.x, 0) / weight;
      }
      settle(row, apart);
    }
  }
  const all = rows.flat();
  const left = Math.min(0, ...all.map((spot) => spot.x - spot.width / 2));
  for (const spot of all) spot.x -= left;
  return Math.max(0, ...all.map((spot) => spot.x + spot.width / 2));
}

/** Sets the `x` of a row's spots in their order, without overlap, as near to their wishes as least squares has it. */
function settle(row, apart) {
  let offset = 0;
  const blocks = [];
  row.forEach((spot, i) => {
    if (i > 0) offset += (row[i - 1].width + spot.width) / 2 + (row[i - 1].passing && spot.passing ? 4 : apart);
    spot.offset = offset;
    let block = { spots: [spot], weight: spot.weight, wish: spot.wish - offset };
    // Neighbours that would overlap move together, to the mean of their wishes.
    while (blocks.length > 0 && blocks.at(-1).wish > block.wish) {
      const left = blocks.pop();
      const weight = left.weight + block.weight;
      const wish = (left.wish * left.weight + block.wish * block.weight) / weight;
      block = { spots: [...left.spots, ...block.spots], weight, wish };
    }
    blocks.push(block);
  });
  for (const block of blocks) {
    for (const spot of block.spots) spot.x = block.wish + spot.offset;
  }
}

/** Sets the edges' paths: from the foot of one node, through the places on the way, to the head of the other. */
function lead(edges, spots, chains, tops) {
  const last = ({ from, to }) => {
    const steps = spots[to].layer - spots[from].layer - 1;
    return steps === 0 ? spots[from] : spots[chains[from][steps - 1]];
  };
  const into = new Map();
  for (const edge of edges) into.set(edge.to, [...(into.get(edge.to) ?? []), edge]);
  for (const [to, arriving] of into) {
    arriving.sort((a, b) => last(a).x - last(b).x);
    arriving.forEach((edge, i) => (edge.end = spots[to].x + spots[to].width * ((i + 1) / (arriving.length + 1) - 0.5)));
  }
  for (const edge of edges) {
    const from = spots[edge.from];
    let [x, y] = [from.x, from.y + from.height];
    edge.path = `M${x} ${y}`;
    const bend = (toX, toY) => {
      const middle = (y + toY) / 2;
      edge.path += `C${x} ${middle} ${toX} ${middle} ${toX} ${toY}`;
      [x, y] = [toX, toY];
    };
    for (let layer = from.layer + 1; layer < spots[edge.to].layer; layer++) {
      const through = spots[chains[edge.from][layer - from.layer - 1]];
      bend(through.x, tops[layer].top);
      y = tops[layer].bottom;
      edge.path += `V${y}`;
    }
    bend(edge.end, spots[edge.to].y);
    edge.label = { x: edge.end, y: spots[edge.to].y };
  }
}
