// The page: the slider chooses one of the computed answers, everything else shows it.

const page = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const [MODEL, STEPS, COST, VALUE, LOW, HIGH, PROBABILITY, BEYOND] = [0, 1, 2, 3, 4, 5, 6, 7]; // of a candidate
const PREFIXES = { "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E" };
const SPEAK_AFTER = 350; // ms without a change before a screen reader hears the answer
const RUNAWAY = 2.5; // times beyond the values drawn that the chart shows of intervals
let [scale, stop, speaking, costAt] = [page.scales[0], 0, 0, null];

function html(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const digits = (value, count = 4) => value === null ? "-" : String(Number(value.toPrecision(count)));
const steps = (count) => `${count} ${count === 1 ? "step" : "steps"}`;
const percent = (share) => `${Math.round(100 * share)}%`;

/** A cost with the unit's prefix: 300 MFLOPs, 2.1 ms; money as a plain number and its currency. */
function amount(value, count = 3) {
  if (!scale.symbol) return `${plain(value, count)} ${scale.currency}`;
  const most = scale.unit === "seconds" ? 0 : 18;
  const power = Math.min(Math.max(3 * Math.floor(Math.log10(value * (1 + 1e-12)) / 3), -9), most);
  return `${digits(value / 10 ** power, count)} ${PREFIXES[power]}${scale.symbol}`;
}

const plain = (value, count) => (value < 1e-3 ? Number(value.toPrecision(count)).toExponential() : digits(value, count));
const tick = (value) => (scale.symbol ? amount(value) : plain(value, 3));

const optimum = () => scale.stops[stop];
const chosen = () => optimum().candidates.find((row) => row[MODEL] === optimum().model);
const projected = (row) => row[BEYOND] > page.far;
const value = (row) => `${digits(row[VALUE])}${projected(row) ? " (projection)" : ""}`;
const doubt = (row) => (projected(row) ? ` A projection, ${row[BEYOND].toFixed(1)} decades beyond the measured rows.` : "");
const interval = (row) => `${digits(row[LOW])} to ${digits(row[HIGH])}`;

function render() {
  const answer = optimum();
  const budget = at("budget");
  budget.max = scale.stops.length - 1;
  budget.value = stop;
  budget.setAttribute("aria-valuetext", `${amount(answer.budget)} per image: ${answer.text[0]}${doubt(chosen())}`);
  at("shown").textContent = amount(answer.budget);
  at("least").textContent = amount(scale.stops[0].budget);
  at("most").textContent = amount(scale.stops[scale.stops.length - 1].budget);
  at("sentence").textContent = answer.text.join(" ");
  renderFacts(answer, chosen(), page.settings[answer.setting]);
  at("warnings").replaceChildren(...answer.warnings.map((k) => html("li", {}, scale.warnings[k])));
  renderPicture(chosen(), page.settings[answer.setting].guidance);
  renderChart();
  renderSizes(answer);
  renderSettings(answer);
  clearTimeout(speaking);
  speaking = setTimeout(() => { at("live").textContent = at("sentence").textContent + doubt(chosen()); }, SPEAK_AFTER);
}

function renderFacts(answer, best, setting) {
  const how = projected(best) ? "projected by the law beyond the measured rows" : "predicted by the law";
  const quality = [digits(best[VALUE]), html("small", {}, `${how}; ${percent(page.level)} interval of ${page.interval}: ${interval(best)}`)];
  const flat = answer.flat.length > 1 ? [html("small", {}, `as good: ${answer.flat.map((k) => page.models[k].label).join(", ")}`)] : [];
  const facts = [
    ["Size", page.models[answer.model].label, ...flat], ["Steps", String(best[STEPS])],
    ...(setting.sampler ? [["Sampler", setting.sampler]] : []), ...(setting.guidance ? [["Guidance", setting.guidance]] : []),
    [page.quality, ...quality], ["Probability", percent(best[PROBABILITY]), html("small", {}, `of being ${page.among}`)],
    ["Cost", amount(best[COST], 4)],
  ];
  at("facts").replaceChildren(...facts.flatMap(([term, ...said]) => [html("dt", {}, term), html("dd", {}, ...said)]));
}

/** The images of the size, where there are any: of the nearest guidance, then of the nearest number of steps drawn. */
function renderPicture(best, guidance) {
  const { sources = [], cells = [] } = page.images || {};
  const drawn = cells.filter((cell) => cell.model === best[MODEL]);
  at("picture").hidden = !drawn.length;
  if (!drawn.length) return;
  const weight = (cell) => sources[cell.source].guidance;
  const off = (cell) => (guidance && weight(cell) !== null ? Math.abs(weight(cell) - Number(guidance)) : Infinity);
  const least = Math.min(...drawn.map(off));
  const far = (cell) => Math.abs(Math.log(cell.steps / best[STEPS]));
  const cell = drawn.filter((one) => off(one) === least).reduce((one, other) => (far(other) < far(one) ? other : one));
  const { href, width, height, caption } = sources[cell.source];
  const said = `${page.models[cell.model].label}, ${steps(cell.steps)}`;
  const asked = [...(cell.steps === best[STEPS] ? [] : [best[STEPS]]), ...(off(cell) > 0 && off(cell) < Infinity ? [`guidance ${guidance}`] : [])];
  const noted = asked.length ? ` (drawn nearest to ${asked.join(", ")})` : "";
  const image = svg("svg", { viewBox: cell.box.join(" "), role: "img", "aria-label": `Images drawn by ${said}` },
    svg("image", { href, width, height }));
  at("picture").replaceChildren(image, html("figcaption", {}, `${said}${noted}. ${caption || ""}`));
}

function renderChart() {
  const answer = optimum();
  const shown = scale.shown[answer.setting];
  const best = chosen();
  const colour = (k) => page.models[k].colour;
  const everything = scale.shown.filter(Boolean).flatMap((one) => one.points);
  const frontier = scale.stops.map((one) => [one.budget, one.settings[0][1 + VALUE]]);
  const drawn = [...everything.map((p) => p[2]), ...frontier.map((p) => p[1])];
  const intervals = scale.stops.flatMap((one) => one.settings[0].slice(1 + LOW, 1 + HIGH + 1));
  const values = [...drawn, ...intervals.filter((v) => near(v, drawn))];
  const sentence = `${answer.text.join(" ")} Curves are the law for each size, points are measured.`;
  costAt = drawChart(at("chart"), {
    title: `${page.quality} against cost per image, ${scale.name}`, description: sentence,
    x: { domain: extent([...everything.map((p) => p[1]), ...frontier.map((p) => p[0])], 0.02), format: tick,
      title: `sampling cost per image, ${scale.name}` },
    y: { domain: extent(values, 0.05), format: (v) => digits(v), title: `${page.quality} (${page.higher ? "higher" : "lower"} is better)` },
    curves: shown.curves.map(([model, pairs]) => ({ colour: colour(model), pairs, chosen: model === answer.model })),
    points: shown.points.map(([model, x, y, error]) => ({ colour: colour(model), x, y, ...around(y, error) })),
    measured: shown.frontier, frontier, reached: frontier.slice(0, stop + 1), budget: answer.budget,
    candidates: answer.candidates.filter((row) => row !== best).map((row) => ({ colour: colour(row[MODEL]), x: row[COST], y: row[VALUE] })),
    best: { x: best[COST], y: best[VALUE], low: best[LOW], high: best[HIGH], label: `${page.models[answer.model].label}, ${steps(best[STEPS])}` },
    shares: scale.stops.map((one) => ({ x: one.budget, parts: one.candidates.map((row) => [colour(row[MODEL]), row[PROBABILITY]]) })),
  });
}

/** Whether an end of an interval is within RUNAWAY times the values drawn, so that the axis can hold it. */
function near(end, drawn) {
  const [low, high] = [Math.min(...drawn), Math.max(...drawn)];
  return low <= 0 || (end >= low / RUNAWAY && end <= high * RUNAWAY);
}

/** One standard error around a value; nothing where there is none or it would leave a logarithmic axis. */
function around(value, error) {
  return error && (value <= 0 || value - error > 0) ? { low: value - error, high: value + error } : { low: null, high: null };
}

function renderLegend() {
  const key = (...marks) => svg("svg", { class: "key", viewBox: "0 0 24 12", "aria-hidden": "true" }, ...marks);
  const sizes = page.models.map(({ label, colour }) => [swatch(colour), label]);
  const [circle, law] = [{ cx: 12, cy: 6, r: 4 }, scale.shown.some((one) => one && one.curves.length)];
  const marks = [
    [key(svg("circle", { class: "point", fill: "currentColor", ...circle })), "measured, with its standard error where known"],
    ...(law ? [[key(svg("path", { class: "curve", stroke: "currentColor", d: "M0,6L24,6" })), "law of a size"]] : []),
    [key(svg("circle", { class: "candidate", stroke: "currentColor", ...circle })), "another size's best at the budget"],
    [key(diamond(12, 6, 5)), `best, with the ${percent(page.level)} interval of ${page.interval}`],
    [key(svg("path", { class: "frontier reached", d: "M0,6L24,6" })), "best by the law up to the budget"],
    [key(svg("path", { class: "measured", d: "M3,6L21,6" })), "measured frontier"],
  ];
  at("legend").replaceChildren(...[...sizes, ...marks].map((parts) => html("li", {}, ...parts)));
}

const swatch = (colour) => html("span", { class: "swatch", style: `background:${colour}`, "aria-hidden": "true" });

function fill(table, caption, head, rows) {
  const top = html("thead", {}, html("tr", {}, ...head.map((name) => html("th", { scope: "col" }, name))));
  const body = html("tbody", {}, ...rows.map(({ cells: [first, ...others], best }) => html("tr", best ? { class: "row-best" } : {},
    html("th", { scope: "row" }, ...first), ...others.map((cell) => html("td", {}, ...[cell].flat())))));
  table.replaceChildren(html("caption", {}, caption), top, body);
}

const named = (k) => [swatch(page.models[k].colour), page.models[k].label];
const probability = (share) => [percent(share), html("span", { class: "bar", style: `width:${(3.5 * share).toFixed(2)}rem`, "aria-hidden": "true" })];
const numbers = (row) => [String(row[STEPS]), amount(row[COST], 4), value(row), interval(row), probability(row[PROBABILITY])];
const heads = () => ["Steps", "Cost", page.quality, `${percent(page.level)} interval`, "Probability"];
const settingOf = (k) => page.settings[k].label || "all rows";

function renderSizes(answer) {
  const rows = answer.candidates.map((row) => {
    const best = row[MODEL] === answer.model;
    return { cells: [[...named(row[MODEL]), ...(best ? [" (best)"] : [])], ...numbers(row)], best };
  });
  const setting = page.settings.length > 1 ? `, ${settingOf(answer.setting)}` : "";
  fill(at("sizes"), `At most ${amount(answer.budget)} per image${setting}.`, ["Size", ...heads()], rows);
}

function renderSettings(answer) {
  at("settings-section").hidden = page.settings.length < 2;
  const rows = answer.settings.map(([setting, ...row], k) => (
    { cells: [[settingOf(setting)], named(row[MODEL]), ...numbers(row)], best: !k }));
  fill(at("settings"), `The best size of each for at most ${amount(answer.budget)} per image, and the probability that it is the best within its setting.`, ["Setting", "Size", ...heads()], rows);
}

function renderStops() {
  const rows = scale.stops.map((one) => {
    const row = one.candidates.find((candidate) => candidate[MODEL] === one.model);
    const setting = page.settings.length > 1 ? [settingOf(one.setting)] : [];
    return { cells: [[amount(one.budget)], named(one.model), ...setting, ...numbers(row)] };
  });
  const setting = page.settings.length > 1 ? ["Setting"] : [];
  fill(at("stops"), `Budgets in ${scale.name}.`, ["Budget", "Size", ...setting, ...heads()], rows);
}

function renderAbout() {
  const said = [...page.read, ...page.skipped, ...scale.skipped, ...scale.notes, ...page.unpriced];
  at("read").replaceChildren(...said.map((sentence) => html("li", {}, sentence)));
  at("about").hidden = !said.length;
  at("optimistic").textContent = `Each was fitted on its own rows; the first is ${page.optimistic}.`;
  const whose = page.settings.length > 1 ? "Points, curves and the measured frontier are of the best setting, the red line is of all. " : "";
  at("chart-note").textContent = `${whose}The strip shows how probable each size is to be the best at each budget. Every budget of the slider was computed beforehand; drag on the chart, or use the arrow keys on the slider. Another budget in the address (#unit=${scale.key}&budget=${Number(scale.stops[0].budget.toPrecision(2))}) shows the answer of the nearest one.`;
}

/** The stop whose budget is nearest to a cost, in logs. */
function nearest(cost) {
  const far = scale.stops.map((one) => Math.abs(Math.log(one.budget / cost)));
  return far.indexOf(Math.min(...far));
}

function show(place) {
  stop = Math.min(Math.max(place, 0), scale.stops.length - 1);
  render();
}

function choose(key, cost) {
  const next = page.scales.find((one) => one.key === key) || scale;
  if (next !== scale || !at("legend").children.length) {
    scale = next;
    at("scale").value = scale.key;
    renderLegend();
    renderStops();
    renderAbout();
  }
  show(cost > 0 ? nearest(cost) : Math.floor(scale.stops.length / 2));
}

const keep = () => history.replaceState(null, "", `#unit=${encodeURIComponent(scale.key)}&budget=${optimum().budget}`);

function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const elsewhere = !asked.has("unit") && !asked.has("budget"); // such as the link that skips to the answer
  if (elsewhere && costAt) return;
  choose(asked.get("unit"), Number(asked.get("budget")));
}

function drag(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  show(nearest(costAt(event)));
  keep();
}

at("scale").append(...page.scales.map((one) => html("option", { value: one.key }, one.name)));
at("scale").addEventListener("change", (event) => { choose(event.target.value); keep(); });
at("budget").addEventListener("input", (event) => { show(Number(event.target.value)); keep(); });
for (const name of ["pointerdown", "pointermove"]) at("chart").addEventListener(name, drag);
window.addEventListener("hashchange", follow);
new ResizeObserver(() => renderChart()).observe(at("chart"));
follow();
