"use strict";
// A chart of quality against cost in SVG: scales, ticks, marks. It draws what it is given and computes positions only.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A scale from [low, high] to pixels, logarithmic where both are above 0; .invert is its inverse. */
function scaleOf([low, high], [from, to]) {
  const log = low > 0;
  const [f, g] = log ? [Math.log, Math.exp] : [(v) => v, (v) => v];
  const span = f(high) - f(low) || 1;
  const scale = (value) => from + ((f(value) - f(low)) / span) * (to - from);
  scale.invert = (pixel) => g(f(low) + ((pixel - from) / (to - from)) * span);
  scale.domain = [low, high];
  scale.log = log;
  return scale;
}

/** Values to label on an axis, at most `most` of them: decades, 1-2-5 or 1 to 9 within them; even steps if not log. */
function ticksOf(scale, most) {
  const [low, high] = scale.domain;
  const inside = (values) => values.filter((v) => v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9));
  if (!scale.log) return evenTicks(low, high, most);
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const decades = (digits, every = 1) => {
    const values = [];
    for (let k = first; k <= last; k += 1) {
      if (k % every === 0) values.push(...digits.map((d) => Number(`${d}e${k}`)));
    }
    return inside(values);
  };
  const five = decades([1, 2, 5]);
  const finer = [...(five.length < 4 ? [decades([1, 2, 3, 4, 5, 6, 8])] : []), five, decades([1, 3]), decades([1])];
  const coarser = [2, 3, 4, 6].map((every) => decades([1], every));
  const chosen = [...finer, ...coarser].find((values) => values.length <= most) || [low, high];
  const few = chosen.length < (high < 5 * low ? 3 : 2); // a narrow axis has more round numbers than 1, 2 and 5
  return few ? evenTicks(low, high, most) : chosen;
}

function evenTicks(low, high, most) {
  const rough = (high - low) / Math.max(most, 2) || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((d) => d * unit >= rough) || 10);
  const values = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) values.push(Number(v.toPrecision(10)));
  return values;
}

/** [low, high] of numbers, widened by a share of their span in logs (or evenly where one is not above 0). */
function extent(values, share) {
  const known = values.filter((v) => v !== null && Number.isFinite(v));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (low <= 0) return [low - (high - low || 1) * share, high + (high - low || 1) * share];
  const factor = Math.max((high / low) ** share, 1.01);
  return [low / factor, high * factor];
}

/** The d of a path through [[x, y], ...]; gaps where there is no number. */
function pathOf(pairs, x, y) {
  let pen = "M";
  return pairs.map(([a, b]) => {
    if (a === null || b === null) { pen = "M"; return ""; }
    const part = `${pen}${x(a).toFixed(1)},${y(b).toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
}

/**
 * Draws a scene into the element `box` and returns the function from a pointer event to a cost.
 * scene: x, y {domain, title, format}; curves [{colour, pairs, chosen}]; points [{colour, x, y, low, high}];
 * measured, frontier, reached [[x, y], ...]; candidates [{colour, x, y}]; best {x, y, low, high, label}; budget;
 * shares [{x, parts [[colour, share], ...]}]; title, description.
 */
function drawChart(box, scene) {
  const width = Math.max(box.clientWidth || 640, 280);
  const height = Math.round(Math.min(Math.max(width * 0.56, 260), 430));
  const edge = { left: 54, right: 26, top: 12, strip: 52, bottom: 44 };
  const floor = height - edge.bottom - edge.strip;
  const x = scaleOf(scene.x.domain, [edge.left, width - edge.right]);
  const y = scaleOf(scene.y.domain, [floor, edge.top]);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-labelledby": "chart-name chart-words" });
  const name = svg("title", { id: "chart-name" }, scene.title);
  const words = svg("desc", { id: "chart-words" }, scene.description);
  const clip = svg("clipPath", { id: "inside" },
    svg("rect", { x: edge.left, y: edge.top, width: width - edge.left - edge.right, height: floor - edge.top }));
  root.append(name, words, clip, axes(scene, x, y, { width, height, floor, edge }));
  const inside = svg("g", { "clip-path": "url(#inside)" });
  inside.append(svg("path", { class: "measured", d: pathOf(scene.measured, x, y) }));
  for (const { colour, pairs, chosen } of scene.curves) {
    const d = pathOf(pairs, x, y);
    inside.append(svg("path", { class: "halo", d }), svg("path", { class: chosen ? "curve chosen" : "curve", d, stroke: colour }));
  }
  for (const point of scene.points) {
    if (point.low !== null) inside.append(line(x(point.x), y(point.low), x(point.x), y(point.high), { stroke: point.colour }));
    inside.append(svg("circle", { class: "point", cx: x(point.x), cy: y(point.y), r: 4, fill: point.colour }));
  }
  inside.append(svg("path", { class: "frontier", d: pathOf(scene.frontier, x, y) }),
    svg("path", { class: "frontier reached", d: pathOf(scene.reached, x, y) }),
    line(x(scene.budget), edge.top, x(scene.budget), floor, { class: "budget" }));
  for (const { colour, x: a, y: b } of scene.candidates) {
    inside.append(svg("circle", { class: "candidate", cx: x(a), cy: y(b), r: 5, stroke: colour }));
  }
  const { best } = scene;
  inside.append(line(x(best.x), y(best.low), x(best.x), y(best.high), { class: "interval" }), diamond(x(best.x), y(best.y)));
  root.append(inside, strip(scene, x, { floor, edge, width }), label(best, x, y, { edge, width, floor }));
  box.replaceChildren(root);
  return (event) => x.invert(((event.clientX - root.getBoundingClientRect().left) / root.getBoundingClientRect().width) * width);
}

function line(x1, y1, x2, y2, attributes) {
  return svg("line", { x1, y1, x2, y2, ...attributes });
}

function diamond(a, b, r = 8) {
  return svg("path", { class: "best", d: `M${a},${b - r}L${a + r},${b}L${a},${b + r}L${a - r},${b}Z` });
}

function axes(scene, x, y, { width, height, floor, edge }) {
  const group = svg("g", { "aria-hidden": "true" });
  for (const value of ticksOf(x, Math.max(Math.floor(width / 85), 3))) {
    const end = x(value) > width - 36; // a label there would be cut off by the edge
    const place = { x: end ? width - 1 : x(value), "text-anchor": end ? "end" : "middle", y: height - edge.bottom + 17 };
    group.append(line(x(value), edge.top, x(value), floor, { class: "gridline" }), svg("text", place, scene.x.format(value)));
  }
  for (const value of ticksOf(y, Math.max(Math.floor((floor - edge.top) / 34), 3))) {
    group.append(line(edge.left, y(value), width - edge.right, y(value), { class: "gridline" }),
      svg("text", { x: edge.left - 7, y: y(value) + 4, "text-anchor": "end" }, scene.y.format(value)));
  }
  const middle = (edge.top + floor) / 2;
  group.append(svg("text", { x: (edge.left + width - edge.right) / 2, y: height - 6, "text-anchor": "middle" }, scene.x.title),
    svg("text", { x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})` }, scene.y.title));
  return group;
}

/** Below the chart: the probability of each size of being the best, at every budget. */
function strip(scene, x, { floor, edge, width }) {
  const [top, high] = [floor + 12, edge.strip - 16];
  const group = svg("g", { "aria-hidden": "true" });
  scene.shares.forEach(({ x: at, parts }, k) => {
    const before = k ? Math.sqrt(at * scene.shares[k - 1].x) : at;
    const after = k + 1 < scene.shares.length ? Math.sqrt(at * scene.shares[k + 1].x) : at;
    const [from, to] = [Math.max(x(before), edge.left), Math.min(x(after), width - edge.right)];
    let down = top;
    for (const [colour, share] of parts) {
      group.append(svg("rect", { x: from, y: down, width: Math.max(to - from, 0), height: share * high, fill: colour,
        "shape-rendering": "crispEdges" }));
      down += share * high;
    }
  });
  group.append(line(x(scene.budget), top - 4, x(scene.budget), top + high + 3, { class: "budget" }),
    svg("text", { x: edge.left - 7, y: top + high / 2 + 4, "text-anchor": "end" }, "P(best)"));
  return group;
}

function label(best, x, y, { edge, width, floor }) {
  const late = x(best.x) > edge.left + 0.6 * (width - edge.left);
  const high = y(best.high) - edge.top > 40 || y(best.high) < floor / 2;
  const place = { x: x(best.x) + (late ? -14 : 14), y: high ? Math.max(y(best.y) - 12, edge.top + 14) : y(best.y) + 22 };
  return svg("text", { class: "label", ...place, "text-anchor": late ? "end" : "start", "aria-hidden": "true" }, best.label);
}
