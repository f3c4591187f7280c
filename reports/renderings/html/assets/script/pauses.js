// Turns after pauses: how long the tool took, against how long the first token then took.

const CONTEXTS = {
  kept: "context kept",
  restored: "restored from the host",
  partly: "partly kept",
  recomputed: "recomputed",
  unknown: "not known",
};
const AT_ONCE_S = 0.1;
const NEAR_PX = 24;
const runsWithPauses = () => data.runs.map((_, index) => index).filter((index) => data.runs[index].pauses);

// Pauses of nearly nothing stand side by side at the left end of the axis, which has no zero.
const placeOf = (pause, index) => (pause >= AT_ONCE_S ? pause : AT_ONCE_S * (0.55 + 0.3 * ((index * 0.618) % 1)));

function asPoint([pause, us, context, session, number, due, prompt, cached], index) {
  return { pause, ms: us / 1e3, context, session, number, due, prompt, cached, x: placeOf(pause, index) };
}

function drawBands(u, bands) {
  const ratio = devicePixelRatio;
  u.ctx.save();
  for (const [fromS, toS, p50, p99] of bands) {
    const left = Math.max(fromS ? u.valToPos(fromS, "x", true) : 0, u.bbox.left);
    const right = Math.min(toS === null ? Infinity : u.valToPos(toS, "x", true), u.bbox.left + u.bbox.width);
    for (const [ms, stroke, width] of [
      [p50, "line-p50", 3],
      [p99, "line-p99", 2],
    ]) {
      if (ms === null || right <= left) continue;
      u.ctx.fillStyle = colour(stroke);
      u.ctx.fillRect(left + ratio, u.valToPos(ms, "y", true) - (width * ratio) / 2, right - left - 2 * ratio, width * ratio);
    }
  }
  u.ctx.restore();
}

function readPause(u, points) {
  const apart = (point) =>
    Math.hypot(u.valToPos(point.x, "x") - u.cursor.left, u.valToPos(point.ms, "y") - u.cursor.top);
  const near = points.reduce((best, point) => (apart(point) < apart(best) ? point : best), points[0]);
  if (!near || apart(near) > NEAR_PX) return null;
  const known = (value) => (value === null ? "?" : value.toLocaleString("en"));
  return {
    title: `${near.session}, turn ${near.number + 1}, due at ${near.due.toFixed(2)} s`,
    lines: [
      [null, "pause", near.pause < AT_ONCE_S ? "none" : secondsText(near.pause)],
      [null, "ttft", secondsText(near.ms / 1e3)],
      [colour(`context-${near.context}`), CONTEXTS[near.context], ""],
      [null, "prompt, cached tokens", `${known(near.prompt)}, ${known(near.cached)}`],
    ],
  };
}

function pauseAxis(hasAtOnce) {
  const none = hasAtOnce ? [AT_ONCE_S * 0.7] : [];
  const splits = (u) => {
    const isWide = u.width >= NARROW_PX;
    const steps = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600].filter((at, index) => isWide || index % 2 === 0);
    const seconds = !isWide && hasAtOnce ? steps.slice(1) : steps;
    return [...none, ...seconds.filter((at) => at >= u.scales.x.min && at <= u.scales.x.max)];
  };
  return axis({
    label: "length of the pause",
    labelSize: 18,
    labelGap: 0,
    size: 44,
    splits,
    filter: (u, at) => at,
    values: (u, at) => at.map((value) => (value < AT_ONCE_S ? "none" : `${value} s`)),
    space: 0,
  });
}

function plotPauses(container, run, points, names) {
  const columns = [points.map(({ x }) => x)];
  for (const name of names) columns.push(points.map(({ context, ms }) => (context === name ? ms : null)));
  const hasAtOnce = points.some(({ x }) => x < AT_ONCE_S);
  const [least, most] = [points[0].x, points.at(-1).x];
  const range = [hasAtOnce ? AT_ONCE_S * 0.5 : least * 0.8, Math.max(most * 1.25, least * 2)];
  const options = {
    describes: `time to first token against the length of the pause before it, run ${run.name}`,
    height: 320,
    scales: {
      x: { time: false, distr: 3, range: () => range },
      y: latencyScale(selection.pauseIsLog),
    },
    axes: [pauseAxis(hasAtOnce), latencyAxis()],
    series: [
      {},
      ...names.map((name) => ({
        label: name,
        stroke: () => colour(`context-${name}`),
        paths: () => null,
        points: { show: true, size: 5, width: 0, fill: () => `${colour(`context-${name}`)}b0` },
      })),
    ],
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    hooks: { draw: [(u) => drawBands(u, run.pauses.bands)] },
    read: (u) => readPause(u, points),
  };
  plot("pauses", container, options, columns);
}

function drawPauses(container) {
  const indices = runsWithPauses();
  const index = indices.includes(selection.run) ? selection.run : indices[0];
  const run = data.runs[index];
  const choose = (chosen) => select({ run: chosen });
  const runs = indices.length > 1 ? [selector("run", indices, index, choose, (one) => data.runs[one].name)] : [];
  fill(container.controls, ...runs, scaleSwitch(selection.pauseIsLog, (pauseIsLog) => select({ pauseIsLog })));
  const points = run.pauses.points.map(asPoint).sort((a, b) => a.x - b.x);
  const names = Object.keys(CONTEXTS).filter((name) => points.some(({ context }) => context === name));
  plotPauses(container.plot, run, points, names);
  const count = (name) => points.filter(({ context }) => context === name).length.toLocaleString("en");
  const shown = points.length < run.pauses.num_turns ? [["", `${points.length} of ${run.pauses.num_turns} turns`]] : [];
  container.foot.replaceChildren(
    key(
      ...names.map((name) => [`context-${name}`, `${CONTEXTS[name]} (${count(name)})`]),
      ["p50", "median of a band"],
      ...(run.pauses.bands.some(([, , , p99]) => p99 !== null) ? [["p99", "p99 of a band"]] : []),
      ...shown,
    ),
  );
}

if (runsWithPauses().length) addDrawing("pauses", drawPauses);
