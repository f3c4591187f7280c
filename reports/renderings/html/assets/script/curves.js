// Latency by percentile: one curve for each run.

// The points of a run's curve, the last of which is the maximum; null if it has none.
function curve(runIndex, metric, traffic) {
  const found = data.runs[runIndex]?.curves[metric]?.[traffic];
  if (!found) return null;
  const length = found.us.length - 1;
  return {
    count: found.count,
    percents: [...data.grid.percents.slice(0, length), 100],
    nines: [...data.grid.nines.slice(0, length), found.end],
    ms: found.us.map((us) => us / 1e3),
  };
}

function percentile(runIndex, metric, traffic, percent) {
  const found = curve(runIndex, metric, traffic);
  if (!found) return null;
  const isBeyond = percent < 100 && -Math.log10(1 - percent / 100) > Math.log10(found.count) + 1e-9;
  return isBeyond ? found.ms.at(-1) : found.ms[found.percents.findLastIndex((point) => point <= percent)];
}

// Where the axis has grid lines, in nines: round percentages, the important ones first, while there is room.
function nineSplits(u, _, low, high) {
  const span = high - low;
  const wanted = [0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999, 99.99999];
  if (span < 2) wanted.push(75, 95, 98, 99.5, 99.8, 99.95, 99.98);
  const places = wanted.map((percent) => (percent ? Number((-Math.log10(1 - percent / 100)).toFixed(6)) : 0));
  const roomPx = u.bbox.width / devicePixelRatio || 600;
  const kept = [];
  for (const place of places) {
    const isNear = kept.some((other) => (Math.abs(other - place) / span) * roomPx < 46);
    if (place >= low && place <= high && !isNear) kept.push(place);
  }
  return kept.sort((a, b) => a - b);
}

function drawMaxima(u, shown) {
  for (const { index, found, series } of shown) {
    if (!u.series[series].show) continue;
    u.ctx.fillStyle = runColour(index);
    u.ctx.beginPath();
    const [x, y] = [u.valToPos(found.nines.at(-1), "x", true), u.valToPos(found.ms.at(-1), "y", true)];
    u.ctx.arc(x, y, 3.5 * devicePixelRatio, 0, 2 * Math.PI);
    u.ctx.fill();
  }
}

function readCurves(u, at, shown) {
  const nines = u.data[0][at];
  const lines = shown
    .filter(({ series }) => u.series[series].show)
    .map(({ index, found }) => {
      const point = found.nines.findLastIndex((place) => place <= nines + 1e-9);
      const value = `${milliseconds(found.ms[point])} ms`;
      return [runColour(index), data.runs[index].name, point === found.ms.length - 1 ? `max ${value}` : value];
    });
  return { title: percentText(nines), lines };
}

function legendItem({ index, found, series }) {
  const name = data.runs[index].name;
  const isShown = () => !selection.hidden.has(name);
  const toggle = () => {
    if (!selection.hidden.delete(name)) selection.hidden.add(name);
    button.setAttribute("aria-pressed", String(isShown()));
    charts.curves.setSeries(series, { show: isShown() });
  };
  const button = element(
    "button",
    { type: "button", class: "legend-item", "aria-pressed": String(isShown()), onclick: toggle },
    element("span", { class: `swatch run-${index % NUM_COLOURS}`, "aria-hidden": "true" }),
    cutLeft(name),
    element("small", {}, `n ${found.count.toLocaleString("en")}`),
  );
  return button;
}

function plotCurves(container, shown) {
  const series = shown.map(({ index }) => ({
    label: data.runs[index].name,
    stroke: () => runColour(index),
    width: 2,
    dash: index >= NUM_COLOURS ? [6, 4] : undefined,
    show: !selection.hidden.has(data.runs[index].name),
    points: { show: false },
  }));
  const options = {
    describes: `percentile curves of ${selection.metric}, class ${selection.class}`,
    height: 380,
    scales: { x: { time: false }, y: latencyScale(selection.isLog) },
    axes: [
      axis({ splits: nineSplits, values: (u, splits) => splits.map(percentText), size: 34, space: 0 }),
      latencyAxis(),
    ],
    series: [{}, ...series],
    cursor: { y: false, points: { size: 8 } },
    hooks: { draw: [(u) => drawMaxima(u, shown)] },
    read: (u, at) => readCurves(u, at, shown),
  };
  plot("curves", container, options, uPlot.join(shown.map(({ found }) => [found.nines, found.ms])));
}

function drawCurves(container) {
  if (!metricNames.length) return showNothing(container);
  const classes = classesOf((run) => run.curves, selection.metric);
  if (!classes.includes(selection.class)) selection.class = firstOf(classes, verdictClass, "all");
  fill(
    container.controls,
    selector("metric", metricNames, selection.metric, (metric) => select({ metric })),
    selector("class", classes, selection.class, (name) => select({ class: name })),
    scaleSwitch(selection.isLog, (isLog) => select({ isLog })),
    element("span", { class: "meaning" }, data.meanings[selection.metric] ?? ""),
  );
  const shown = data.runs
    .map((_, index) => ({ index, found: curve(index, selection.metric, selection.class) }))
    .filter(({ found }) => found)
    .map((item, at) => ({ ...item, series: at + 1 }));
  plotCurves(container.plot, shown);
  const items = shown.map(legendItem);
  container.foot.replaceChildren(element("div", { class: "legend", role: "group", "aria-label": "runs" }, ...items));
}

addDrawing("curves", drawCurves);
