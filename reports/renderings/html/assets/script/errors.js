// Errors over time: requests that failed, stacked by class, and those that were sent again.

const ERROR_WORDS = {
  timeout: "timeout",
  connect: "no connection",
  disconnected: "connection closed by the server",
  client_limit: "limit of the client",
  other_errors: "other errors",
};
const errorWords = (kind) => ERROR_WORDS[kind] ?? kind.replace(/^http_/, "HTTP ").replaceAll("_", " ");
const hasErrors = (over) => over.failures.length > 0 || over.retried.length > 0;

function readErrors(u, at, over) {
  const isEnd = at === 0 || at === u.data[0].length - 1;
  if (isEnd) return { title: clock(u.data[0][at], 0), lines: eventsAtCursor(u, over) };
  const lines = over.failures
    .map(({ kind, n }, index) => [colour(`failure-${index}`), errorWords(kind), n[at - 1]])
    .filter(([, , count]) => count > 0);
  if (over.retried[at - 1]) lines.push([colour("load-0"), "sent again", over.retried[at - 1]]);
  const counted = lines.map(([stroke, words, count]) => [stroke, words, count.toLocaleString("en")]);
  if (!counted.length) counted.push([null, "no errors", ""]);
  return { title: binText(over, at), lines: [...counted, ...eventsAtCursor(u, over)] };
}

// Each bar as high as its class and those before it: drawn from the highest down, they look stacked.
function stackedBars(over) {
  const sums = over.in_flight.map(() => 0);
  const bars = over.failures.map(({ kind, n }, index) => {
    n.forEach((count, at) => (sums[at] += count));
    return { label: kind, stroke: `failure-${index}`, values: sums.map((sum) => sum || null) };
  });
  return bars.reverse();
}

function drawErrors(container, run, rightPx) {
  const over = run.over_time;
  const bars = stackedBars(over);
  const columns = [binTimes(over), ...bars.map(({ values }) => padded(values))];
  const series = bars.map(({ label, stroke }) => ({
    label,
    stroke: () => colour(stroke),
    fill: () => colour(stroke),
    width: 0,
    paths: uPlot.paths.bars({ size: [0.9, 14] }),
    points: { show: false },
  }));
  if (over.retried.length) {
    const fill = () => colour("load-0");
    columns.push(padded(over.retried.map((count) => count || null)));
    series.push({ label: "sent again", stroke: fill, width: 0, points: { show: true, size: 6, fill, width: 0 } });
  }
  const values = (u, splits) => splits.map((at) => (Number.isInteger(at) ? axisNumber(at) : ""));
  const options = {
    describes: `errors over time by class, run ${run.name}`,
    height: 130,
    padding: [10, rightPx, 0, 0],
    scales: { x: { time: false }, y: { range: (u, low, high) => [0, Math.max(high || 1, 1) * 1.1] } },
    axes: [timeAxis(), axis({ scale: "y", size: AXIS_PX, label: "errors", labelSize: 20, labelGap: 0, values, space: 28 })],
    series: [{}, ...series],
    cursor: { y: false, sync: SYNC, points: { show: false } },
    hooks: { drawClear: [(u) => drawEvents(u, over)] },
    read: (u, at) => readErrors(u, at, over),
  };
  plot("errors", container, options, columns);
}

// What the key below says of them.
const errorMarks = (over) => [
  ...over.failures.map(({ kind, n }, index) => {
    const count = n.reduce((sum, one) => sum + one, 0);
    return [`failure-${index}`, `${errorWords(kind)} (${count.toLocaleString("en")})`];
  }),
  ...(over.retried.length ? [["again", "sent again on a new connection"]] : []),
];
