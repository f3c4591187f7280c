// Latency over time: median, p99 and maximum of each bin.

const WAIT_LINES = ["p50", "p99", "max"];

function binText(over, at) {
  const from = Number(((at - 1) * over.bin_s).toFixed(3));
  return `${from} s to ${Number((at * over.bin_s).toFixed(3))} s`;
}

function readLatency(u, at, over, values) {
  const isEnd = at === 0 || at === u.data[0].length - 1;
  if (isEnd) return { title: clock(u.data[0][at], 0), lines: eventsAtCursor(u, over) };
  const lines = WAIT_LINES.map((name, line) => {
    const ms = u.data[line + 1][at];
    return [colour(`line-${name}`), name, ms === null ? "-" : `${milliseconds(ms)} ms`];
  });
  const count = [null, "samples", String(values.n[at - 1])];
  return { title: binText(over, at), lines: [...lines, count, ...eventsAtCursor(u, over)] };
}

// The values of the metric and class that are selected; the selection changes where this run has no such values.
function selectedLatency(run) {
  const latency = run.over_time.latency;
  if (!(selection.wait in latency)) selection.wait = Object.keys(latency)[0];
  const classes = Object.keys(latency[selection.wait]);
  if (!classes.includes(selection.waitClass)) selection.waitClass = firstOf(classes, run.verdict_class, "all");
  return latency[selection.wait][selection.waitClass];
}

function drawLatency(container, run, values, rightPx) {
  const over = run.over_time;
  const toMs = (us) => (us === null ? null : us / 1e3);
  const columns = [binTimes(over), ...WAIT_LINES.map((name) => padded(values[name].map(toMs)))];
  const line = (name, width) => ({ label: name, stroke: () => colour(`line-${name}`), width, points: { size: 4 } });
  const dots = {
    label: "max",
    stroke: () => colour("line-max"),
    width: 0,
    paths: () => null,
    points: { show: true, size: 4, fill: () => colour("line-max"), width: 0 },
  };
  const options = {
    describes: `${selection.wait} of class ${selection.waitClass} over time, run ${run.name}`,
    height: 300,
    padding: [22, rightPx, 0, 0],
    scales: { x: { time: false }, y: latencyScale(selection.waitIsLog) },
    axes: [timeAxis(), latencyAxis()],
    series: [{}, line("p50", 2), line("p99", 1.6), dots],
    bands: [{ series: [2, 1], fill: () => colour("band") }],
    cursor: { y: false, sync: SYNC, points: { size: 7 } },
    hooks: { drawClear: [(u) => drawEvents(u, over)], draw: [(u) => drawEventNames(u, over)] },
    read: (u, at) => readLatency(u, at, over, values),
  };
  plot("latency", container, options, columns);
}
