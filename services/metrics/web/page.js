// The journey map: reads the JSON API, draws the map, and follows the change stream.

const CHANNELS = ["web", "app", "email", "sms", "push", "phone", "chat", "store", "social", "ads", "mail", "delivery", "partner"];
const HOUR = 3600e3;
const REFRESH = 2000; // milliseconds between two readings of the funnel, at least
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const money = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

let key = null;
let maps = [];
let asked = 0; // number of the latest question: answers to earlier ones are dropped
let refreshing = null;
let listening = null;
let freshness = null;

// --- asking ----------------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, parameters = {}, more = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  const answer = await fetch(query ? `${path}?${query}` : path, { headers: { Authorization: `Bearer ${key}` }, ...more });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem.message || `the service answered ${answer.status}`);
  }
  return answer;
}

const read = async (path, parameters) => (await ask(path, parameters)).json();

async function readMaps() {
  const found = [];
  for (let cursor = null; ;) {
    const page = await read("/v1/maps", { limit: 1000, cursor });
    found.push(...page.data);
    if (!(cursor = page.next_cursor)) return found;
  }
}

// --- what is shown ---------------------------------------------------------------------------------------------------

const shown = () => maps.find((one) => one.map === byId("map").value);

function cut() {
  const hours = Number(byId("range").value);
  return {
    from: hours ? new Date(Date.now() - hours * HOUR).toISOString() : null,
    segment: byId("segment").value,
    channel: byId("channel").value,
  };
}

async function refresh() {
  clearTimeout(refreshing);
  refreshing = null;
  const number = ++asked;
  const map = shown();
  if (!map) return;
  const path = `/v1/maps/${encodeURIComponent(map.map)}`;
  try {
    const [funnel, dropOff, transitions, now] = await Promise.all(
      ["funnel", "drop-off", "transitions", "now"].map((question) => read(`${path}/${question}`, cut())),
    );
    if (number !== asked) return;
    told(null);
    draw({ map, funnel, dropOff, transitions, now });
  } catch (error) {
    if (number === asked) failed(error);
  }
}

function refreshSoon() {
  refreshing ??= setTimeout(refresh, REFRESH);
}

function draw({ map, funnel, dropOff, transitions, now }) {
  byId("title").textContent = map.title || map.map;
  document.title = `${map.title || map.map} – Throughline`;
  freshness = Date.now() - funnel.lag_seconds * 1000;
  byId("tiles").replaceChildren(...tiles(funnel, dropOff, now));
  byId("map-view").replaceChildren(mapTable(map, funnel, now));
  byId("table-view").replaceChildren(figures(funnel, dropOff, now));
  byId("ways-table").replaceChildren(ways(transitions));
  age();
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const line = (className, text) => element("div", { className }, text);
const percent = (rate) => (rate === null ? "–" : `${(100 * rate).toFixed(rate > 0 && rate < 0.1 ? 1 : 0)} %`);
const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);

function tiles(funnel, dropOff, now) {
  const { started, converted, value } = funnel.journeys;
  const stalled = sum(now.stages.map((stage) => stage.stalled));
  const worst = dropOff.stages.filter((stage) => stage.share !== null).sort((a, b) => b.share - a.share)[0];
  return [
    tile("Journeys", whole.format(started)),
    tile("Converted", percent(started ? converted / started : null), value ? `value ${money.format(value)}` : null),
    tile("Open now", whole.format(sum(now.stages.map((stage) => stage.open))), stalled ? `${whole.format(stalled)} stalled` : null),
    tile("Worst drop-off", worst && worst.lost ? percent(worst.share) : "–", worst && worst.lost ? worst.stage : null),
    tile("Data age", "–", null, "age"),
  ];
}

function tile(name, value, more = null, id = "") {
  const small = more === null ? null : element("small", {}, ` ${more}`);
  return element("div", {}, element("dt", {}, name), element("dd", {}, element("span", { id }, value), small));
}

function mapTable(map, funnel, now) {
  const head = element("tr", {}, rowName("Stage"), ...map.stages.map((stage, k) => stageHead(stage, funnel.stages[k], funnel)));
  const rows = [
    ["Now", (k) => nowCell(now.stages[k])],
    ["Touchpoints", (k) => [whole.format(funnel.stages[k].touchpoints)]],
    ["Experience", (k) => experienceCell(funnel.stages[k].experience, map.stages[k].target)],
    ["Left here", (k) => leftCell(funnel.stages[k].left)],
  ];
  const body = rows.map(([name, cell]) =>
    element("tr", {}, rowName(name), ...map.stages.map((_, k) => element("td", {}, ...cell(k)))));
  const moments = Object.entries(funnel.moments);
  if (moments.length) body.push(momentsRow(moments, map.stages.length));
  const caption = element("caption", {}, `Journeys through ${map.map}, version ${map.version}`);
  return element("table", { className: "journey-map" }, caption, element("thead", {}, head), element("tbody", {}, ...body));
}

const rowName = (name) => element("th", { scope: "row" }, name);

function stageHead(stage, counted, funnel) {
  const leave = counted.conversion === null ? null : 1 - counted.conversion;
  return element("th", { scope: "col" },
    line("name", stage.name),
    stage.goal ? line("goal", stage.goal) : null,
    track(counted.reached, funnel.journeys.started),
    line("", `${whole.format(counted.reached)} · ${percent(counted.from_start)}`),
    leave === null ? null : line("leave", `▼ ${percent(leave)} go no further`),
    targetLine(counted));
}

function track(part, all) {
  const bar = element("div");
  bar.style.width = `${all ? (100 * part) / all : 0}%`;
  return element("div", { className: "track", ariaHidden: "true" }, bar);
}

function targetLine({ conversion, target }) {
  if (target === null || conversion === null) return null;
  const met = conversion >= target;
  return element("div", { className: "target" }, `target ${percent(target)} to next `,
    element("span", { className: met ? "met" : "missed" }, met ? "✓ met" : `✗ ${percent(target - conversion)} short`));
}

function nowCell(stage) {
  return [
    line("", `${whole.format(stage.open)} here`),
    stage.stalled ? line("stalled", `${whole.format(stage.stalled)} stalled`) : null,
    line("none", `last hour: ${whole.format(stage.entered["1h"])} in, ${whole.format(stage.left["1h"])} out`),
  ];
}

function experienceCell({ mean, n }, target) {
  if (mean === null) return [line("none", "nobody was asked here")];
  const face = mean >= 0.2 ? "good" : mean <= -0.2 ? "bad" : "neutral";
  const wanted = target && target.experience !== null ? `, target ${target.experience}` : "";
  return [
    line(face === "bad" ? "leave" : face === "good" ? "met" : "", `${mean > 0 ? "+" : ""}${mean.toFixed(2)} ${face}`),
    line("none", `n = ${whole.format(n)}${wanted}`),
  ];
}

const leftCell = (left) => ["lost", "open", "completed"].map((status) => line("", `${whole.format(left[status])} ${status}`));

function momentsRow(moments, stages) {
  const said = moments.map(([name, n]) => element("span", { className: "truth" }, `◆ ${name} ×${whole.format(n)}  `));
  return element("tr", {}, rowName("Moments of truth"), element("td", { colSpan: stages }, ...said));
}

function table(caption, heads, rows) {
  const head = heads.map(([name, text]) => element("th", { scope: "col", className: text ? "text" : "" }, name));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, k) => k === 0
    ? element("th", { scope: "row" }, cell)
    : element("td", { className: heads[k][1] ? "text" : "" }, cell))));
  return element("table", { className: "figures" }, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

function figures(funnel, dropOff, now) {
  const heads = [["Stage", true], ["Reached"], ["Entered"], ["To next"], ["From start"], ["Lost here"], ["of entered"], ["95 %"], ["Open now"], ["Stalled"]];
  const rows = funnel.stages.map((stage, k) => {
    const { lost, share, interval } = dropOff.stages[k];
    return [
      stage.stage, whole.format(stage.reached), whole.format(stage.entered), percent(stage.conversion),
      percent(stage.from_start), whole.format(lost), percent(share),
      interval ? `${percent(interval[0])} – ${percent(interval[1])}` : "–",
      whole.format(now.stages[k].open), whole.format(now.stages[k].stalled),
    ];
  });
  return table("Stage by stage", heads, rows);
}

function ways({ transitions }) {
  if (!transitions.length) return line("none", "None in this range.");
  const heads = [["From", true], ["To", true], ["Journeys"], ["Median time there"]];
  const most = [...transitions].sort((a, b) => b.count - a.count).slice(0, 30);
  const rows = most.map((one) => [one.from ?? "(start)", one.to, whole.format(one.count), duration(one.median_seconds)]);
  return table("By when they happened, the most frequent first", heads, rows);
}

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return days ? `${days} d ${hours} h` : hours ? `${hours} h ${minutes} min` : `${minutes} min`;
}

function age() {
  const place = byId("age");
  if (place && freshness !== null) {
    const seconds = Math.max(0, (Date.now() - freshness) / 1000);
    place.textContent = freshness < 1e12 * 0.5 ? "nothing yet" : duration(seconds);
  }
}

// --- the change stream -----------------------------------------------------------------------------------------------

async function listen() {
  listening?.abort();
  const map = shown();
  if (!map) return;
  const mine = (listening = new AbortController());
  for (let wait = 500; !mine.signal.aborted; wait = Math.min(2 * wait, 15000)) {
    try {
      const answer = await ask("/v1/stream", { map: map.map }, { signal: mine.signal });
      state("on");
      wait = 500;
      for await (const event of events(answer.body)) heard(event);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof Refused && error.status < 500) return failed(error);
    }
    state("off");
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((text) => text.split(/: ?(.*)/s).slice(0, 2)));
      if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

let standing = "";

function heard({ name, data }) {
  if (name === "now") {
    freshness = Date.now() - data.lag_seconds * 1000;
    age();
  }
  const stands = name === "now" ? JSON.stringify(data.stages) : standing;
  if (name === "transition" || stands !== standing) refreshSoon();
  standing = stands;
}

function state(on) {
  byId("live").dataset.state = on;
  byId("live").textContent = on === "on" ? "live" : "reconnecting";
}

// --- controls --------------------------------------------------------------------------------------------------------

function told(message) {
  byId("problem").textContent = message ?? "";
  byId("problem").hidden = message === null;
}

function failed(error) {
  told(error.message);
  if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
    sessionStorage.removeItem("key");
    locked(true);
  }
}

function locked(yes) {
  byId("key-form").hidden = !yes;
  byId("controls").hidden = yes;
  byId("content").hidden = yes;
  if (yes) byId("key").focus();
}

function options(id, choices, wanted) {
  const all = choices.map(([value, text]) => element("option", { value }, text));
  byId(id).replaceChildren(...all);
  if (choices.some(([value]) => value === wanted)) byId(id).value = wanted;
}

function remember() {
  const address = new URL(location.href);
  for (const id of ["map", "range", "segment", "channel"]) {
    if (byId(id).value) address.searchParams.set(id, byId(id).value);
    else address.searchParams.delete(id);
  }
  history.replaceState(null, "", address);
}

function chooseMap(address) {
  const segments = Object.keys(shown()?.segments ?? {}).sort();
  options("segment", [["", "All customers"], ...segments.map((name) => [name, name])], address.get("segment"));
}

async function open() {
  try {
    maps = await readMaps();
  } catch (error) {
    return failed(error);
  }
  sessionStorage.setItem("key", key);
  const address = new URLSearchParams(location.search);
  options("map", maps.map((one) => [one.map, one.title || one.map]), address.get("map"));
  options("channel", [["", "All channels"], ...CHANNELS.map((name) => [name, name])], address.get("channel"));
  if (address.get("range")) byId("range").value = address.get("range");
  chooseMap(address);
  locked(false);
  told(maps.length ? null : "There is no live map yet.");
  await refresh();
  await listen();
}

function start() {
  const address = new URL(location.href);
  key = address.searchParams.get("key") ?? sessionStorage.getItem("key");
  address.searchParams.delete("key");
  history.replaceState(null, "", address);
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key = byId("key").value.trim();
    open();
  });
  byId("map").addEventListener("change", () => {
    chooseMap(new URLSearchParams());
    listen();
  });
  byId("controls").addEventListener("change", () => {
    remember();
    refresh();
  });
  byId("as-table").addEventListener("click", () => {
    const table = byId("table-view").hidden;
    byId("table-view").hidden = !table;
    byId("map-view").hidden = table;
    byId("as-table").setAttribute("aria-pressed", String(table));
  });
  setInterval(age, 1000);
  if (key) open();
  else locked(true);
}

start();
