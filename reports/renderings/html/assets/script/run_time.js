// What the charts over time share: the time axis, the bins, and the events they shade.

const TIME_STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  14400, 43200, 86400,
];
const SYNC = { key: "time", setSeries: false, scales: ["x", null] }; // all charts share the cursor and the zoom

function timeAxis() {
  const values = (u, splits) => splits.map((at) => clock(at, u.scales.x.max - u.scales.x.min));
  return axis({ values, incrs: TIME_STEPS, space: 70, size: 34 });
}

const endOf = (over) => over.in_flight.length * over.bin_s;

// Bins as points in their middles, between the ends of the run.
function binTimes(over) {
  return [0, ...over.in_flight.map((_, at) => (at + 0.5) * over.bin_s), endOf(over)];
}

const padded = (values) => [null, ...values, null];

function shade(u, fromS, toS, fill, leastPx = 0) {
  if (toS < u.scales.x.min || fromS > u.scales.x.max) return;
  const from = Math.max(u.valToPos(Math.max(fromS, u.scales.x.min), "x", true), u.bbox.left);
  const to = Math.min(u.valToPos(Math.min(toS, u.scales.x.max), "x", true), u.bbox.left + u.bbox.width);
  u.ctx.fillStyle = fill;
  u.ctx.fillRect(from, u.bbox.top, Math.max(to - from, leastPx * devicePixelRatio), u.bbox.height);
}

function drawEvents(u, over) {
  u.ctx.save();
  if (over.warmup_s > 0) shade(u, 0, over.warmup_s, colour("warmup"));
  const end = endOf(over);
  if (over.sending_until_s !== null && over.sending_until_s < end)
    shade(u, over.sending_until_s, end, colour("warmup"));
  for (const stall of over.stalls) shade(u, stall.start_s, stall.end_s, colour(`stall-${stall.who || "other"}`), 2);
  u.ctx.restore();
}

// Names the shaded parts above the chart, where there is room. The longest stalls come first.
function drawEventNames(u, over) {
  const ratio = devicePixelRatio;
  const end = endOf(over);
  const names = [
    ...over.stalls
      .filter((stall) => stall.who)
      .sort((a, b) => b.end_s - b.start_s - (a.end_s - a.start_s))
      .map((stall) => [stall.start_s, stall.end_s, `${stall.who} stall`]),
    [0, over.warmup_s, "warm-up"],
    [over.sending_until_s ?? end, end, "drain"],
  ].filter(([from, to]) => to > from && to >= u.scales.x.min && from <= u.scales.x.max);
  u.ctx.save();
  u.ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  u.ctx.fillStyle = colour("muted");
  u.ctx.textAlign = "left";
  u.ctx.textBaseline = "bottom";
  const taken = [];
  for (const [from, to, name] of names) {
    const width = u.ctx.measureText(name).width;
    const middle = u.valToPos((Math.max(from, u.scales.x.min) + Math.min(to, u.scales.x.max)) / 2, "x", true);
    const left = Math.min(Math.max(middle - width / 2, u.bbox.left), u.bbox.left + u.bbox.width - width);
    if (taken.some(([start, stop]) => left < stop + 8 * ratio && left + width > start - 8 * ratio)) continue;
    taken.push([left, left + width]);
    u.ctx.fillText(name, left, u.bbox.top - 2 * ratio);
  }
  u.ctx.restore();
}

// Lines about the events under the cursor.
function eventsAtCursor(u, over) {
  const atS = u.posToVal(u.cursor.left, "x");
  const slackS = (u.scales.x.max - u.scales.x.min) * (4 / Math.max(u.over.clientWidth, 1));
  const found = over.stalls.filter((stall) => stall.start_s - slackS <= atS && atS <= stall.end_s + slackS);
  const lines = found.slice(0, 3).map((stall) => [colour(`stall-line-${stall.who || "other"}`), stall.text, ""]);
  if (atS < over.warmup_s) lines.push([null, "warm-up: not counted in the tables", ""]);
  return lines;
}
