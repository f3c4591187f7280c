// Load over time: requests in flight, and the server's own metrics.

const RIGHT_AXIS_PX = 56;

const loadUnits = (over) => [...new Set(["requests", ...over.server.map((series) => series.unit)])];

// The padding that makes both charts over time end at the same place, however many axes this one has.
const rightPaddingPx = (over) => 18 + (loadUnits(over).length - 1) * RIGHT_AXIS_PX;

// The lines of the chart, {name, unit, stroke}, and a table [times, ...values] for each of their time grids.
function loadLines(over) {
  const lines = [{ name: "in flight", unit: "requests", stroke: "load-0" }];
  const tables = [[binTimes(over), padded(over.in_flight)]];
  over.server.forEach((series, index) => {
    lines.push({ name: series.name, unit: series.unit, stroke: `load-${1 + (index % 5)}` });
    tables.push([series.t, series.v]);
  });
  return { lines, tables };
}

// A column's value at a point, or its last one before that: the joined columns have different times.
function latest(column, at) {
  for (let place = at; place >= 0; place -= 1) {
    if (column[place] !== undefined) return column[place];
  }
  return null;
}

function readLoad(u, at, over, lines) {
  const values = lines.map(({ name, unit, stroke }, line) => {
    const value = latest(u.data[line + 1], at);
    const text = value === null ? "-" : `${axisNumber(value)}${unit === "requests" ? "" : ` ${unit}`}`;
    return [colour(stroke), name, text];
  });
  return { title: clock(u.data[0][at], 0), lines: [...values, ...eventsAtCursor(u, over)] };
}

function loadAxis(unit, index) {
  const values = (u, splits) => splits.map(axisNumber);
  const labelled = { scale: `unit ${unit}`, label: unit, labelSize: 20, labelGap: 0, values, space: 28 };
  return index === 0
    ? axis({ ...labelled, size: AXIS_PX })
    : axis({ ...labelled, side: 1, size: RIGHT_AXIS_PX - 20, grid: { show: false } });
}

function loadSeries({ name, unit, stroke }) {
  return {
    label: name,
    scale: `unit ${unit}`,
    stroke: () => colour(stroke),
    width: 1.6,
    points: { show: false },
  };
}

// Returns the lines that it drew.
function drawLoad(container, run) {
  const over = run.over_time;
  const units = loadUnits(over);
  const { lines, tables } = loadLines(over);
  const fromZero = { range: (u, low, high) => [Math.min(0, low), (high || 1) * 1.1] };
  const options = {
    describes: `requests in flight over time, run ${run.name}`,
    height: 160,
    padding: [10, 18, 0, 0],
    scales: {
      x: { time: false, range: (u, low, high) => [Math.max(low, 0), high] },
      ...Object.fromEntries(units.map((unit) => [`unit ${unit}`, fromZero])),
    },
    axes: [timeAxis(), ...units.map(loadAxis)],
    series: [{}, ...lines.map(loadSeries)],
    cursor: { y: false, sync: SYNC, points: { size: 7 } },
    hooks: { drawClear: [(u) => drawEvents(u, over)] },
    read: (u, at) => readLoad(u, at, over, lines),
  };
  plot("load", container, options, uPlot.join(tables));
  return lines;
}
