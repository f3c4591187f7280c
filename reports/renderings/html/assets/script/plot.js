// What all charts share: their places on the page, axes and scales, and the box of text beside the cursor.

const charts = {}; // the uPlot charts by name
const AXIS_PX = 58;
const NARROW_PX = 640;
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

// A place on the page, with controls above and a key below, which `draw` fills whenever the selection changes.
function addDrawing(identifier, draw) {
  const container = {
    controls: element("div", { class: "controls" }),
    plot: element("div", { class: "plot" }),
    second: element("div", { class: "plot" }),
    third: element("div", { class: "plot" }),
    foot: element("div", { class: "foot" }),
  };
  document.getElementById(`${identifier}-chart`).replaceChildren(...Object.values(container));
  drawings.push(() => draw(container));
}

function showNothing(container) {
  container.plot.replaceChildren(element("p", { class: "empty" }, "Nothing was measured."));
  container.second.replaceChildren();
  container.third.replaceChildren();
  container.foot.replaceChildren();
}

function axis(more) {
  return {
    stroke: () => colour("muted"),
    grid: { stroke: () => colour("grid"), width: 1 },
    ticks: { stroke: () => colour("grid"), width: 1, size: 5 },
    font: FONT,
    labelFont: FONT,
    gap: 6,
    ...more,
  };
}

function latencyAxis() {
  const values = (u, splits) => splits.map(axisNumber);
  return axis({ scale: "y", size: AXIS_PX, label: "milliseconds", labelSize: 20, labelGap: 0, values });
}

// The next of 1, 2, 5, 10, 20, ... in a direction: tight around the data, and ends on a line of the grid.
function roundOnLog(value, isUp) {
  const decade = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 5, 10].map((step) => Number((step * decade).toPrecision(6)));
  return isUp ? steps.find((step) => step >= value) : steps.findLast((step) => step <= value);
}

function latencyScale(isLog) {
  if (!isLog) return { range: (u, low, high) => [0, (high || 1) * 1.06] };
  const range = (u, low, high) =>
    low > 0 ? [roundOnLog(low * 0.999, false), roundOnLog(high * 1.001, true)] : [1, 1000];
  return { distr: 3, range };
}

// Draws a chart in place of the one of that name. `options` are uPlot's and
//   describes     what the chart shows, for screen readers
//   read(u, at)   what the box beside the cursor says about a point of the data: {title, lines}, or null
function plot(name, container, { describes, read, ...options }, columns) {
  removePlot(name);
  const width = () => Math.max(container.clientWidth, 200);
  let box = null; // uPlot reports a cursor before the chart is complete
  const follow = (u) => {
    const at = u.cursor.idx ?? null;
    const found = box && at !== null && isHovered(u) ? read(u, at) : null;
    if (found) box.show(found.title, found.lines);
    else box?.hide();
  };
  const chart = new uPlot(
    {
      width: width(),
      legend: { show: false },
      padding: [14, 18, 0, 0],
      ...options,
      hooks: { ...options.hooks, setCursor: [follow] },
    },
    columns,
    container,
  );
  box = readout(chart);
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", describes);
  const observer = new ResizeObserver(() => {
    if (width() !== chart.width) chart.setSize({ width: width(), height: chart.height });
  });
  observer.observe(container);
  chart.hooks.destroy = [...(chart.hooks.destroy ?? []), () => observer.disconnect()];
  charts[name] = chart;
  return chart;
}

function removePlot(name) {
  charts[name]?.destroy();
  delete charts[name];
}

const isHovered = (chart) => chart.cursor.left >= 0 && chart.over.matches(":hover");

// A box beside the cursor. Its lines are [colour or null, text, value].
function readout(chart) {
  const box = element("div", { class: "readout", role: "status" });
  box.hidden = true;
  chart.over.append(box);
  return {
    show(title, lines) {
      box.replaceChildren(element("div", { class: "title" }, title), ...lines.map(readoutRow));
      box.hidden = false;
      const { left, top } = chart.cursor;
      const [width, height] = [chart.over.clientWidth, chart.over.clientHeight];
      const isRight = left + box.offsetWidth + 24 > width;
      box.style.left = `${Math.max(0, isRight ? left - box.offsetWidth - 14 : left + 14)}px`;
      const lowest = Math.max(0, height - box.offsetHeight);
      box.style.top = `${Math.min(Math.max(0, top - box.offsetHeight / 2), lowest)}px`;
    },
    hide() {
      box.hidden = true;
    },
  };
}

function readoutRow([stroke, text, value]) {
  const dot = element("i", {});
  if (stroke) dot.style.background = stroke;
  return element(
    "div",
    { class: stroke ? "row" : "row plain" },
    dot,
    value ? cutLeft(text) : element("span", {}, text),
    element("b", {}, value ?? ""),
  );
}
