"use strict";

// The kinds of cost, in the order in which they are stacked.
const KINDS = [
  ["used", "used"],
  ["idle", "idle: held, not working"],
  ["unmeasured", "unmeasured: held, no samples"],
  ["unallocated", "unallocated: held by nobody"],
  ["stranded", "stranded: cannot be held"],
  ["unobserved", "unobserved: nobody knows"],
];
const STORE = "gpuledger-key";
const HOUR = 3600e3;
const state = { hours: 168, key: sessionStorage.getItem(STORE) || "" };
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const drawn = ["svg", "rect", "text", "line", "title", "g"].includes(name);
  const made = drawn
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Figures are strings with every decimal; here they are only drawn and rounded for reading.
function money(text, currency) {
  if (text === null) return "no price";
  const value = Number(text);
  const digits = value !== 0 && Math.abs(value) < 1 ? 4 : 2;
  const format = { style: "currency", currency, minimumFractionDigits: 2, maximumFractionDigits: digits };
  return value.toLocaleString("en-US", format);
}
const count = (value) => (value === null ? "–" : Number(value).toLocaleString("en-US"));
const hours = (text) =>
  (Number(text) / 3600).toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–");
const instant = (date) => date.toISOString().slice(0, 16).replace("T", " ");
const address = (date) => date.toISOString().replace(/\.\d+Z$/, "Z");

async function ask(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(query ? `${path}?${query}` : path, {
    headers: { Authorization: `Bearer ${state.key}`, Accept: "application/json" },
  });
  const body = await answer.json();
  if (answer.ok) return body;
  const failure = new Error(`${body.detail} ${body.hint || ""}`.trim());
  failure.status = answer.status;
  throw failure;
}

// Every page of an answer: a table on screen must show the whole.
async function askAll(path, parameters = {}) {
  const first = await ask(path, { ...parameters, limit: "10000" });
  let next = first.next_cursor;
  while (next) {
    const more = await ask(path, { ...parameters, limit: "10000", cursor: next });
    first.rows.push(...more.rows);
    next = more.next_cursor;
  }
  return first;
}

async function show() {
  byId("trouble").hidden = true;
  byId("login").hidden = Boolean(state.key);
  byId("forget").hidden = !state.key;
  if (!state.key) {
    byId("content").hidden = true;
    byId("key").focus();
    return;
  }
  try {
    await draw();
  } catch (failure) {
    if (failure.status === 401) forget();
    byId("content").hidden = true;
    byId("trouble").textContent = failure.message;
    byId("trouble").hidden = false;
  }
}

async function draw() {
  const coverage = await ask("/v1/coverage");
  const known = coverage.rows.filter((row) => row.watermark);
  if (!known.length) {
    byId("content").hidden = true;
    notice(["The ledger is empty. Collect and rate the first hours: gpuledger collect, gpuledger rate."]);
    return;
  }
  const end = new Date(Math.max(...known.map((row) => Date.parse(row.watermark))));
  const oldest = Math.min(...known.map((row) => Date.parse(row.first_hour)));
  const start = new Date(Math.max(oldest, end.getTime() - state.hours * HOUR));
  const span = { start: address(start), end: address(end) };
  const step = end - start <= 48 * HOUR ? "hour" : "day";
  const [teams, series, models, findings, measured, periods, budgets] = await Promise.all([
    askAll("/v1/costs", { ...span, group_by: "team" }),
    askAll("/v1/costs", { ...span, group_by: step }),
    askAll("/v1/inference", { ...span, group_by: "model" }),
    askAll("/v1/findings"),
    ask("/v1/coverage", { ...span, group_by: "cluster" }),
    askAll("/v1/periods"),
    askAll("/v1/budgets"),
  ]);
  byId("span").textContent = `${instant(start)} to ${instant(end)} UTC`;
  const notes = [];
  if (!teams.complete) notes.push("Some of these hours lack a price, a sample or an hour's facts; sums are of what is known.");
  if (teams.pending_rerating) notes.push("An import changed prices or owners; some hours are still to be rated again.");
  notice(notes);
  drawTiles(teams, findings);
  drawChart(series, step);
  drawTeams(teams);
  drawModels(models);
  drawBudgets(budgets);
  drawPeriods(periods);
  drawMeasured(measured);
  drawFindings(findings);
  byId("content").hidden = false;
}

function notice(lines) {
  byId("notice").textContent = lines.join(" ");
  byId("notice").hidden = !lines.length;
}

const sum = (rows, name) => rows.reduce((total, row) => total + Number(row[name] || 0), 0);

function drawTiles(costs, findings) {
  const held = sum(costs.rows, "gpu_seconds_held");
  const nobody = ["unallocated", "stranded", "unobserved"].map((kind) => `gpu_seconds_${kind}`);
  const capacity = held + nobody.reduce((total, name) => total + sum(costs.rows, name), 0);
  const perDay = sum(findings.rows, "wasted_cost_per_day");
  const tiles = [
    [money(costs.total_cost, costs.currency), "total cost"],
    [percent(held, capacity), "of GPU time was held"],
    [percent(sum(costs.rows, "gpu_seconds_active"), held), "of held time was active"],
    [money(sum(costs.rows, "idle_cost"), costs.currency), "cost of idle time"],
    [money(perDay, costs.currency), `wasted a day; open findings: ${findings.rows.length}`],
  ];
  byId("tiles").replaceChildren(
    ...tiles.map(([value, name]) =>
      element("div", { class: "tile" }, element("b", {}, value), element("span", {}, name)),
    ),
  );
}

function stacked(row, currency, place) {
  let from = 0;
  const parts = [];
  const known = KINDS.map(([kind]) => [kind, Number(row[`${kind}_cost`] || 0)]);
  const other = Number(row.total_cost || 0) - known.reduce((total, [, value]) => total + value, 0);
  for (const [kind, value] of [...known, ["other", other > 1e-9 ? other : 0]]) {
    if (value <= 0) continue;
    const tip = element("title", {}, `${kind}: ${money(value, currency)}`);
    parts.push(element("rect", { class: kind, ...place(from, value) }, tip));
    from += value;
  }
  return parts;
}

function drawChart(series, step) {
  const swatch = (kind) => element("svg", { width: 11, height: 11 }, element("rect", { class: kind, width: 11, height: 11, rx: 2 }));
  byId("legend").replaceChildren(
    ...KINDS.map(([kind, text]) => element("li", {}, swatch(kind), text)),
  );
  const rows = series.rows;
  const [width, height, left, below] = [1120, 220, 64, 22];
  const most = Math.max(...rows.map((row) => Number(row.total_cost || 0)), 0.01);
  const pitch = (width - left) / Math.max(rows.length, 1);
  const scale = (height - below - 8) / most;
  const chart = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Cost by ${step}` });
  for (const share of [0, 0.5, 1]) {
    const y = height - below - share * most * scale;
    chart.append(element("line", { class: "axis", x1: left, x2: width, y1: y, y2: y }));
    const label = money((share * most).toFixed(2), series.currency);
    chart.append(element("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, label));
  }
  const every = Math.ceil(rows.length / 12);
  rows.forEach((row, index) => {
    const x = left + index * pitch + pitch * 0.12;
    const place = (from, value) => ({
      x, width: Math.min(pitch * 0.76, 70), y: height - below - (from + value) * scale, height: value * scale,
    });
    chart.append(...stacked(row, series.currency, place));
    if (index % every) return;
    const label = step === "hour" ? row.hour.slice(11, 16) : row.day.slice(5);
    chart.append(element("text", { x, y: height - 6 }, label));
  });
  byId("chart").replaceChildren(chart);
}

function fill(id, head, lines, foot = []) {
  const row = (cells, tag) =>
    element("tr", {}, ...cells.map((cell) => (cell instanceof Element ? cell : element(tag, {}, cell))));
  const parts = [
    element("thead", {}, row(head, "th")),
    element("tbody", {}, ...lines.map((line) => row(line, "td"))),
  ];
  if (foot.length) parts.push(element("tfoot", {}, row(foot, "td")));
  byId(id).replaceChildren(...parts);
}

function teamName(team) {
  if (team === "") return "no team";
  return team === "unowned" ? "unowned: no team claims it" : team;
}

function drawTeams(costs) {
  const rows = [...costs.rows].sort((a, b) => Number(b.total_cost) - Number(a.total_cost));
  const most = Math.max(...rows.map((row) => Number(row.total_cost)), 0.01);
  const lines = rows.map((row) => {
    const place = (from, value) => ({ x: (from / most) * 200, width: (value / most) * 200, y: 0, height: 14 });
    const bar = element("svg", { viewBox: "0 0 200 14", preserveAspectRatio: "none", height: 14 });
    bar.append(...stacked(row, costs.currency, place));
    const name = teamName(row.team) + (row.complete ? "" : " (incomplete)");
    return [
      name,
      element("td", { class: "bar" }, bar),
      hours(row.gpu_seconds_held),
      percent(Number(row.gpu_seconds_active), Number(row.gpu_seconds_held)),
      money(row.used_cost, costs.currency),
      money(row.idle_cost, costs.currency),
      money(row.total_cost, costs.currency),
    ];
  });
  const head = ["Team", "", "GPU-hours held", "Active", "Used", "Idle", "Total"];
  const foot = ["All", "", hours(sum(rows, "gpu_seconds_held")), "", money(sum(rows, "used_cost"), costs.currency),
    money(sum(rows, "idle_cost"), costs.currency), money(costs.total_cost, costs.currency)];
  fill("teams", head, lines, foot);
}

function drawModels(inference) {
  const unit = (row, name) => {
    if (row[name] !== null) return money(row[name], inference.currency);
    return element("td", {}, element("span", { class: "why" }, row.unit_cost_reason || "–"));
  };
  const lines = inference.rows.map((row) => [
    row.model || "no model name",
    count(row.requests),
    count(row.prompt_tokens),
    count(row.generation_tokens),
    unit(row, "cost_per_million_tokens"),
    unit(row, "cost_per_million_generation_tokens"),
    unit(row, "cost_per_request"),
    row.ttft_p95_seconds === null ? "–" : `${Number(row.ttft_p95_seconds).toFixed(2)} s`,
  ]);
  const head = ["Model", "Requests", "Prompt tokens", "Generated", "Per million", "Per million generated",
    "Per request", "First token, p95"];
  fill("models", head, lines.length ? lines : [["No service published tokens in this span."]]);
  const weights = inference.token_weights.map(
    (entry) => `${entry.model}: prompt ${entry.prompt}, cached ${entry.cached}, generated ${entry.generation}`,
  );
  byId("weights").textContent = weights.length ? `Token weights by model: ${weights.join("; ")}.` : "";
}

const TITLES = {
  idle_hold: (subject) => `${subject.namespace}/${subject.pod} holds ${subject.gpu_model} and leaves it idle`,
  unallocated_pool: (subject) => `${subject.node}: GPUs (${subject.gpu_model}) that nobody holds`,
  gateway_ratio: (subject) => `${subject.namespace}/${subject.workload}: gateways and engines count different tokens`,
};
const WHY = {
  idle_hold: (figures) => `${Math.round(100 * figures.low_activity_ratio)} % of its measured time at 5 % activity or less`,
  unallocated_pool: (figures) => `${Math.round(100 * figures.unallocated_ratio)} % of its GPU time could have been taken`,
  gateway_ratio: (figures) => `Gateways counted ${Math.round(100 * figures.gateway_to_engine_ratio)} % of the tokens of its engines`,
};

function drawFindings(findings) {
  const items = findings.rows.map((row) => {
    const figures = Object.fromEntries(row.evidence.map((figure) => [figure.name, Number(figure.value)]));
    const daily = row.wasted_cost_per_day === null ? "no price" : `${money(row.wasted_cost_per_day, row.currency)} a day`;
    const cost = element("div", { class: "money" }, money(row.wasted_cost, row.currency), element("small", {}, daily));
    const team = row.subject.team ? teamName(row.subject.team) : "nobody";
    const since = instant(new Date(row.since));
    return element("div", { class: "finding" }, cost,
      element("div", {}, TITLES[row.kind](row.subject)),
      element("div", { class: "quiet" }, `${WHY[row.kind](figures)}, since ${since} UTC. Paid by ${team}; cluster ${row.subject.cluster}.`),
      element("div", { class: "quiet" }, "Known or wanted? ", element("code", {}, `gpuledger findings ack ${row.id}`)),
    );
  });
  const nothing = element("p", { class: "quiet" }, "No finding is open: nothing is wasted as far as the detectors can tell, or somebody is on it.");
  byId("findings").replaceChildren(...(items.length ? items : [nothing]));
}

// Of the month that goes on, whatever span is chosen; the most used first.
function drawBudgets(budgets) {
  const rows = [...budgets.rows].sort((a, b) => Number(b.used_ratio) - Number(a.used_ratio));
  const lines = rows.map((row) => {
    const over = Number(row.remaining) < 0;
    const used = row.used_ratio === null ? "–" : share(row.used_ratio);
    const low = [row.forecast_low, row.forecast_high].map((one) => money(one, row.currency));
    const forecast = row.forecast_cost === null
      ? element("td", {}, element("span", { class: "why" }, row.forecast_reason || "–"))
      : `${money(row.forecast_cost, row.currency)} (${low.join(" to ")})`;
    return [
      teamName(row.team) + (row.complete ? "" : " (incomplete)"),
      row.period,
      money(row.budget, row.currency),
      money(row.spent_cost, row.currency),
      element("td", over ? { class: "over" } : {}, money(row.remaining, row.currency)),
      element("td", over ? { class: "over" } : {}, used),
      forecast,
    ];
  });
  const head = ["Team", "Month", "Budget", "Spent", "Remaining", "Used", "At the end of the month"];
  fill("budgets", head, lines.length ? lines : [["No team has a budget."]]);
  const crossed = rows.filter((row) => row.thresholds_reached);
  byId("crossed").textContent = crossed
    .map((row) => `${teamName(row.team)}: ${row.thresholds_reached}.`)
    .join(" ");
}

const SHOWN_PERIODS = 12;

// The latest first; a period that was opened again shows what it was closed as before.
function drawPeriods(periods) {
  const lines = periods.rows.slice(-SHOWN_PERIODS).reverse().map((row) => [
    row.name,
    row.state === "open" && row.version ? "open again" : row.state,
    row.version ? String(row.version) : "–",
    row.closed_at === null ? "–" : `${instant(new Date(row.closed_at))} UTC`,
    row.total === null ? "–" : money(row.total, row.currency),
  ]);
  const head = ["Period", "State", "Version", "Closed at", "Total"];
  fill("periods", head, lines.length ? lines : [["No hour is collected yet."]]);
}

const MEASURES = [
  ["gpu_utilization", "GPU utilization"],
  ["token_throughput", "Tokens"],
  ["latency", "Latency"],
  ["cold_start", "Cold starts"],
  ["ownership", "Owner"],
  ["price", "Price"],
];
const SHOWN_HOLES = 12;
// Tenths of a percent, rounded down like the ratio itself: what is not all is never 100 %.
const share = (ratio) => (ratio === null ? "unknown" : `${Math.floor(Number(ratio) * 1000 + 1e-6) / 10} %`);

function drawMeasured(coverage) {
  const clusters = [...new Set(coverage.measured.map((row) => row.cluster))];
  const lines = clusters.map((cluster) => {
    const mine = new Map(
      coverage.measured.filter((row) => row.cluster === cluster).map((row) => [row.measure, row]),
    );
    const cell = (row) =>
      row ? element("td", row.time_ratio === "1.0000" ? {} : { class: "part" }, `${share(row.time_ratio)} (${share(row.cost_ratio)})`) : "–";
    return [cluster, ...MEASURES.map(([measure]) => cell(mine.get(measure)))];
  });
  fill("measured", ["Cluster", ...MEASURES.map(([, name]) => name)], lines);
  const holes = coverage.holes.filter((hole) => hole.weight !== "told");
  const kinds = [...new Set(holes.map((hole) => hole.kind))];
  const items = kinds.slice(0, SHOWN_HOLES).map((kind) => {
    const mine = holes.filter((hole) => hole.kind === kind);
    const more = mine.length > 1 ? ` And ${mine.length - 1} more.` : "";
    return element("div", { class: "hole" },
      element("b", { class: mine[0].weight }, kind.replaceAll("_", " ")),
      element("span", {}, `${mine[0].cluster} ${mine[0].subject}: ${mine[0].detail}${more}`),
      element("span", { class: "quiet" }, mine[0].what_to_do),
    );
  });
  const rest = kinds.length - SHOWN_HOLES;
  if (rest > 0) items.push(element("p", { class: "quiet" }, `${rest} more kinds: gpuledger doctor lists them.`));
  const none = element("p", { class: "quiet" }, "No hole is known.");
  byId("holes").replaceChildren(...(items.length ? items : [none]));
}

function forget() {
  sessionStorage.removeItem(STORE);
  state.key = "";
  byId("login").hidden = false;
  byId("forget").hidden = true;
}

function choose(chosen) {
  state.hours = Number(chosen.dataset.hours);
  for (const button of document.querySelectorAll("nav button")) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
}

// A key in the fragment (#key=glk_…) never leaves the browser; it is taken out of the address.
const given = /^#key=(glk_[A-Za-z0-9_-]+)$/.exec(location.hash);
if (given) {
  state.key = given[1];
  sessionStorage.setItem(STORE, state.key);
  history.replaceState(null, "", location.pathname);
}
byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = byId("key").value.trim();
  sessionStorage.setItem(STORE, state.key);
  show();
});
byId("forget").addEventListener("click", () => {
  forget();
  show();
});
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => {
    choose(button);
    show();
  });
}
choose(document.querySelector('[data-hours="168"]'));
show();
