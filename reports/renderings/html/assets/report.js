"use strict";
// Draws the charts of a report and makes its tables sortable. The page is complete without it but for the charts.
//
// window.abatchReport, for tests and for people with a console:
//   data                                       what is drawn: `ReportData` in reports/html/report_data.py, times in
//                                              seconds since a run began, latencies in microseconds
//   readyMs                                    when all charts were drawn, in milliseconds since the page began to load
//   charts                                     the uPlot charts by name: curves, latency, load, sessions
//   curve(run, metric, class)                  {percents, ms}: the points of a curve; null where there is none
//   percentile(run, metric, class, percent)    a point of it, in milliseconds; beyond the last sample, the maximum
//   select({run, metric, class, wait, waitClass, ...})   what the charts show, as their selectors do
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const charts = {};
  const NUM_COLOURS = 8;
  const NARROW_PX = 640;

  // ---- elements, colours, numbers ----

  function element(tag, attributes = {}, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...content);
    return made;
  }

  let colours = new Map();

  function colour(name) {
    if (!colours.has(name)) colours.set(name, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
    return colours.get(name);
  }

  const runColour = (index) => colour(`run-${index % NUM_COLOURS}`);

  function milliseconds(value) {
    if (value === null || value === undefined) return "-";
    if (value >= 1000) return value.toFixed(0);
    return value >= 100 ? value.toFixed(1) : value >= 10 ? value.toFixed(2) : value.toFixed(3);
  }

  const axisNumber = (value) => (value === null ? "" : String(Number(value.toPrecision(6))));

  function clock(seconds, span) {
    if (span < 600) return `${Number(seconds.toFixed(3))} s`;
    const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60)];
    const two = (value) => String(Math.floor(value)).padStart(2, "0");
    return span < 7200 ? `${minutes}:${two(seconds % 60)}` : `${hours}:${two(minutes % 60)}:${two(seconds % 60)}`;
  }

  function percentText(nines) {
    const percent = 100 * (1 - 10 ** -nines);
    return `${Number(percent.toFixed(Math.max(1, Math.ceil(nines))))}%`;
  }

  // ---- state: what is shown ----

  const metricNames = [...new Set(data.runs.flatMap((run) => Object.keys(run.curves)))];
  const classesOf = (kind, metric) => [...new Set(data.runs.flatMap((run) => Object.keys(kind(run)[metric] ?? {})))];
  const firstOf = (names, ...wanted) => wanted.find((name) => names.includes(name)) ?? names[0] ?? "";

  const state = {
    metric: firstOf(metricNames, "ttft"),
    class: "",
    isLog: false,
    hidden: new Set(),
    run: 0,
    wait: "ttft",
    waitClass: "",
    waitIsLog: true,
  };
  const verdictClass = data.runs[0].verdict_class;
  state.class = firstOf(
    classesOf((run) => run.curves, state.metric),
    verdictClass,
    "all",
  );
  state.waitClass = firstOf(
    classesOf((run) => run.over_time.latency, state.wait),
    verdictClass,
    "all",
  );

  function select(change) {
    Object.assign(state, change);
    drawAll();
  }

  // ---- controls ----

  function selector(label, names, value, choose, words = (name) => name) {
    const options = names.map((name) => {
      const option = element("option", { value: String(name) }, words(name));
      option.selected = name === value;
      return option;
    });
    const box = element("select", { onchange: () => choose(names[box.selectedIndex]) }, ...options);
    return element("label", { class: "control" }, element("span", {}, label), box);
  }

  function scaleSwitch(isLog, choose) {
    const button = (text, value) =>
      element(
        "button",
        { type: "button", "aria-pressed": String(isLog === value), onclick: () => choose(value) },
        text,
      );
    return element(
      "div",
      { class: "switch", role: "group", "aria-label": "latency axis" },
      button("linear", false),
      button("log", true),
    );
  }

  function runSelector() {
    const indices = data.runs.map((_, index) => index);
    return selector(
      "run",
      indices,
      state.run,
      (run) => select({ run }),
      (index) => data.runs[index].name,
    );
  }

  // Where the keyboard was stays where it was, though the controls are made anew.
  function fill(container, ...content) {
    const before = [...container.querySelectorAll("button, select")];
    const place = before.indexOf(document.activeElement);
    container.replaceChildren(...content);
    if (place >= 0) container.querySelectorAll("button, select")[place]?.focus();
  }

  function key(...marks) {
    const items = marks.map(([name, text]) =>
      element("li", {}, element("span", { class: `mark mark-${name}`, "aria-hidden": "true" }), text),
    );
    return element("ul", { class: "chart-key" }, ...items);
  }

  // ---- what all charts have in common ----

  const AXIS_PX = 58;
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

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

  // The next of 1, 2, 5, 10, 20, ... in a direction: tight around the data, and ends on a line.
  function roundOnLog(value, isUp) {
    const decade = 10 ** Math.floor(Math.log10(value));
    const steps = [1, 2, 5, 10].map((step) => Number((step * decade).toPrecision(6)));
    return isUp ? steps.find((step) => step >= value) : steps.findLast((step) => step <= value);
  }

  const latencyScale = (isLog) =>
    isLog
      ? {
          distr: 3,
          range: (u, low, high) =>
            low > 0 ? [roundOnLog(low * 0.999, false), roundOnLog(high * 1.001, true)] : [1, 1000],
        }
      : { range: (u, low, high) => [0, (high || 1) * 1.06] };

  function plot(name, container, options, columns) {
    charts[name]?.destroy();
    const width = () => Math.max(container.clientWidth, 240);
    const chart = new uPlot(
      { width: width(), legend: { show: false }, ...options, padding: options.padding ?? [14, 18, 0, 0] },
      columns,
      container,
    );
    chart.root.setAttribute("role", "img");
    chart.root.setAttribute("aria-label", options.describes);
    const observer = new ResizeObserver(() => {
      if (width() !== chart.width) chart.setSize({ width: width(), height: chart.height });
    });
    observer.observe(container);
    chart.hooks.destroy = [...(chart.hooks.destroy ?? []), () => observer.disconnect()];
    charts[name] = chart;
    return chart;
  }

  // A box with lines of text beside the cursor: [colour or null, text, value].
  function readout(chart) {
    const box = element("div", { class: "readout", role: "status" });
    box.hidden = true;
    chart.over.append(box);
    return {
      box,
      show(title, lines) {
        const rows = lines.map(([stroke, text, value]) => {
          const dot = element("i", {});
          if (stroke) dot.style.background = stroke;
          return element(
            "div",
            { class: stroke ? "row" : "row plain" },
            dot,
            element("span", {}, text),
            element("b", {}, value ?? ""),
          );
        });
        box.replaceChildren(element("div", { class: "title" }, title), ...rows);
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

  const isHovered = (chart) => chart.cursor.left >= 0 && chart.over.matches(":hover");

  // ---- percentile curves ----

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
    const last = found.ms.length - 1;
    if (percent < 100 && -Math.log10(1 - percent / 100) > Math.log10(found.count) + 1e-9) return found.ms[last];
    return found.ms[found.percents.findLastIndex((point) => point <= percent)];
  }

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
      const x = u.valToPos(found.nines[found.nines.length - 1], "x", true);
      const y = u.valToPos(found.ms[found.ms.length - 1], "y", true);
      u.ctx.fillStyle = runColour(index);
      u.ctx.beginPath();
      u.ctx.arc(x, y, 3.5 * devicePixelRatio, 0, 2 * Math.PI);
      u.ctx.fill();
    }
  }

  function readCurves(u, box, shown) {
    const at = u.cursor.idx;
    if (at === null || at === undefined || !isHovered(u)) return box.hide();
    const nines = u.data[0][at];
    const lines = shown
      .filter(({ series }) => u.series[series].show)
      .map(({ index, found }) => {
        const last = found.nines[found.nines.length - 1];
        const point = found.nines.findLastIndex((place) => place <= nines + 1e-9);
        const isBeyond = nines > last + 1e-9;
        const value = `${milliseconds(found.ms[point])} ms`;
        return [
          runColour(index),
          data.runs[index].name,
          isBeyond || point === found.ms.length - 1 ? `max ${value}` : value,
        ];
      });
    return box.show(percentText(nines), lines);
  }

  function curveLegend(container, shown) {
    const buttons = shown.map(({ index, found, series }) => {
      const name = data.runs[index].name;
      const toggle = () => {
        if (!state.hidden.delete(name)) state.hidden.add(name);
        button.setAttribute("aria-pressed", String(!state.hidden.has(name)));
        charts.curves.setSeries(series, { show: !state.hidden.has(name) });
      };
      const button = element(
        "button",
        { type: "button", class: "legend-item", "aria-pressed": String(!state.hidden.has(name)), onclick: toggle },
        element("span", { class: `swatch run-${index % NUM_COLOURS}`, "aria-hidden": "true" }),
        name,
        element("small", {}, `n ${found.count.toLocaleString("en")}`),
      );
      return button;
    });
    container.append(element("div", { class: "legend", role: "group", "aria-label": "runs" }, ...buttons));
  }

  function drawCurves(container) {
    const classes = classesOf((run) => run.curves, state.metric);
    if (!classes.includes(state.class)) state.class = firstOf(classes, verdictClass, "all");
    if (!metricNames.length) return nothing(container);
    fill(
      container.controls,
      selector("metric", metricNames, state.metric, (metric) => select({ metric })),
      selector("class", classes, state.class, (name) => select({ class: name })),
      scaleSwitch(state.isLog, (isLog) => select({ isLog })),
      element("span", { class: "meaning" }, data.meanings[state.metric] ?? ""),
    );
    const shown = data.runs
      .map((_, index) => ({ index, found: curve(index, state.metric, state.class) }))
      .filter(({ found }) => found)
      .map((item, at) => ({ ...item, series: at + 1 }));
    const columns = uPlot.join(shown.map(({ found }) => [found.nines, found.ms]));
    const series = shown.map(({ index }) => ({
      label: data.runs[index].name,
      stroke: () => runColour(index),
      width: 2,
      dash: index >= NUM_COLOURS ? [6, 4] : undefined,
      show: !state.hidden.has(data.runs[index].name),
      points: { show: false },
    }));
    let box = null;
    const options = {
      describes: `percentile curves of ${state.metric}, class ${state.class}`,
      height: 380,
      scales: { x: { time: false }, y: latencyScale(state.isLog) },
      axes: [
        axis({ splits: nineSplits, values: (u, splits) => splits.map(percentText), size: 34, space: 0 }),
        latencyAxis(),
      ],
      series: [{}, ...series],
      cursor: { y: false, points: { size: 8 } },
      hooks: {
        draw: [(u) => drawMaxima(u, shown)],
        setCursor: [(u) => box && readCurves(u, box, shown)],
      },
    };
    const chart = plot("curves", container.plot, options, columns);
    box = readout(chart);
    container.foot.replaceChildren();
    curveLegend(container.foot, shown);
    return chart;
  }

  // ---- latency and load over time ----

  const TIME_STEPS = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
    14400, 43200, 86400,
  ];
  const SYNC = { key: "time", setSeries: false, scales: ["x", null] };

  function timeAxis() {
    const values = (u, splits) => splits.map((at) => clock(at, u.scales.x.max - u.scales.x.min));
    return axis({ values, incrs: TIME_STEPS, space: 70, size: 34 });
  }

  // Bins as points in their middles, between the ends of the run.
  function times(over) {
    const length = over.in_flight.length;
    return [0, ...Array.from({ length }, (_, at) => (at + 0.5) * over.bin_s), length * over.bin_s];
  }

  const padded = (values) => [null, ...values, null];

  function shade(u, fromS, toS, fill, leastPx = 0) {
    const from = Math.max(u.valToPos(Math.max(fromS, u.scales.x.min), "x", true), u.bbox.left);
    const to = Math.min(u.valToPos(Math.min(toS, u.scales.x.max), "x", true), u.bbox.left + u.bbox.width);
    if (toS < u.scales.x.min || fromS > u.scales.x.max) return;
    u.ctx.fillStyle = fill;
    u.ctx.fillRect(from, u.bbox.top, Math.max(to - from, leastPx * devicePixelRatio), u.bbox.height);
  }

  function drawEvents(u, over) {
    u.ctx.save();
    if (over.warmup_s > 0) shade(u, 0, over.warmup_s, colour("warmup"));
    const end = over.in_flight.length * over.bin_s;
    if (over.sending_until_s !== null && over.sending_until_s < end)
      shade(u, over.sending_until_s, end, colour("warmup"));
    for (const stall of over.stalls) shade(u, stall.start_s, stall.end_s, colour(`stall-${stall.who || "other"}`), 2);
    u.ctx.restore();
  }

  // Names what is shaded, where there is room above it.
  function drawEventNames(u, over) {
    const ratio = devicePixelRatio;
    const end = over.in_flight.length * over.bin_s;
    const names = [
      ...over.stalls
        .filter((stall) => stall.who)
        .sort((a, b) => b.end_s - b.start_s - (a.end_s - a.start_s))
        .map((stall) => [stall.start_s, stall.end_s, `${stall.who} stood still`]),
      [0, over.warmup_s, "warm-up"],
      [over.sending_until_s ?? end, end, "sending is over"],
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

  function eventsAt(u, over, atS) {
    const slackS = (u.scales.x.max - u.scales.x.min) * (4 / Math.max(u.over.clientWidth, 1));
    const found = over.stalls.filter((stall) => stall.start_s - slackS <= atS && atS <= stall.end_s + slackS);
    const lines = found.slice(0, 3).map((stall) => [colour(`stall-line-${stall.who || "other"}`), stall.text, ""]);
    if (atS < over.warmup_s) lines.push([null, "warm-up: in no figure of the tables", ""]);
    return lines;
  }

  function binText(over, at) {
    const from = Number(((at - 1) * over.bin_s).toFixed(3));
    return `${from} s to ${Number((at * over.bin_s).toFixed(3))} s`;
  }

  const WAIT_LINES = [
    ["p50", "p50"],
    ["p99", "p99"],
    ["max", "max"],
  ];

  function drawLatency(container, run) {
    const over = run.over_time;
    const waits = Object.keys(over.latency);
    if (!waits.includes(state.wait)) state.wait = waits[0];
    const classes = Object.keys(over.latency[state.wait]);
    if (!classes.includes(state.waitClass)) state.waitClass = firstOf(classes, run.verdict_class, "all");
    const values = over.latency[state.wait][state.waitClass];
    const toMs = (us) => (us === null ? null : us / 1e3);
    const columns = [times(over), ...WAIT_LINES.map(([name]) => padded(values[name].map(toMs)))];
    let box = null;
    const read = (u) => {
      const at = u.cursor.idx;
      if (!box || at === null || at === undefined || !isHovered(u)) return box?.hide();
      const isEnd = at === 0 || at === columns[0].length - 1;
      const lines = isEnd
        ? []
        : [
            ...WAIT_LINES.map(([name], line) => [
              colour(`line-${name}`),
              name,
              columns[line + 1][at] === null ? "-" : `${milliseconds(columns[line + 1][at])} ms`,
            ]),
            [null, "values", String(values.n[at - 1])],
          ];
      return box.show(isEnd ? clock(columns[0][at], 0) : binText(over, at), [
        ...lines,
        ...eventsAt(u, over, u.posToVal(u.cursor.left, "x")),
      ]);
    };
    const line = (name, width) => ({ label: name, stroke: () => colour(`line-${name}`), width, points: { size: 4 } });
    const dots = {
      label: "max",
      stroke: () => colour("line-max"),
      width: 0,
      paths: () => null,
      points: { show: true, size: 4, fill: () => colour("line-max"), width: 0 },
    };
    const options = {
      describes: `${state.wait} of class ${state.waitClass} over the time of ${run.name}`,
      height: 300,
      padding: [22, rightPadding(over), 0, 0],
      scales: { x: { time: false }, y: latencyScale(state.waitIsLog) },
      axes: [timeAxis(), latencyAxis()],
      series: [{}, line("p50", 2), line("p99", 1.6), dots],
      bands: [{ series: [2, 1], fill: () => colour("band") }],
      cursor: { y: false, sync: SYNC, points: { size: 7 } },
      hooks: {
        drawClear: [(u) => drawEvents(u, over)],
        draw: [(u) => drawEventNames(u, over)],
        setCursor: [read],
      },
    };
    const chart = plot("latency", container.plot, options, columns);
    box = readout(chart);
  }

  const loadUnits = (over) => [...new Set(["requests", ...over.server.map((series) => series.unit)])];
  const RIGHT_AXIS_PX = 56;

  // Both charts end at the same place, however many axes the lower one has.
  const rightPadding = (over) => 18 + (loadUnits(over).length - 1) * RIGHT_AXIS_PX;

  function drawLoad(container, run) {
    const over = run.over_time;
    const units = loadUnits(over);
    const lines = [{ name: "in flight", unit: "requests", stroke: "load-0" }];
    const tables = [[times(over), padded(over.in_flight)]];
    if (over.failed.length) {
      lines.push({ name: "failed", unit: "requests", stroke: "line-failed", isBars: true });
      tables[0].push(padded(over.failed));
    }
    over.server.forEach((series, index) => {
      lines.push({ name: series.name, unit: series.unit, stroke: `load-${1 + (index % 5)}` });
      tables.push([series.t, series.v]);
    });
    const columns = uPlot.join(tables);
    let box = null;
    const read = (u) => {
      const at = u.cursor.idx;
      if (!box || at === null || at === undefined || !isHovered(u)) return box?.hide();
      const found = lines.map(({ name, unit, stroke }, line) => {
        const value = nearest(columns[line + 1], at);
        return [
          colour(stroke),
          name,
          value === null ? "-" : `${axisNumber(value)}${unit === "requests" ? "" : ` ${unit}`}`,
        ];
      });
      return box.show(clock(columns[0][at], 0), [...found, ...eventsAt(u, over, u.posToVal(u.cursor.left, "x"))]);
    };
    const options = {
      describes: `requests in flight over the time of ${run.name}`,
      height: 160,
      padding: [10, 18, 0, 0],
      scales: {
        x: { time: false, range: (u, low, high) => [Math.max(low, 0), high] },
        ...Object.fromEntries(
          units.map((unit) => [`unit ${unit}`, { range: (u, low, high) => [Math.min(0, low), (high || 1) * 1.1] }]),
        ),
      },
      axes: [timeAxis(), ...units.map((unit, index) => loadAxis(unit, index))],
      series: [
        {},
        ...lines.map(({ name, unit, stroke, isBars }) => ({
          label: name,
          scale: `unit ${unit}`,
          stroke: () => colour(stroke),
          fill: isBars ? () => colour(stroke) : undefined,
          width: isBars ? 0 : 1.6,
          paths: isBars ? uPlot.paths.bars({ size: [0.8, 12] }) : undefined,
          points: { show: false },
        })),
      ],
      cursor: { y: false, sync: SYNC, points: { size: 7 } },
      hooks: { drawClear: [(u) => drawEvents(u, over)], setCursor: [read] },
    };
    box = readout(plot("load", container.second, options, columns));
    return lines;
  }

  function loadAxis(unit, index) {
    const values = (u, splits) => splits.map(axisNumber);
    const labelled = { scale: `unit ${unit}`, label: unit, labelSize: 20, labelGap: 0, values, space: 28 };
    return index === 0
      ? axis({ ...labelled, size: AXIS_PX })
      : axis({ ...labelled, side: 1, size: RIGHT_AXIS_PX - 20, grid: { show: false } });
  }

  // What a column has there, or had last: columns of different times are joined.
  function nearest(column, at) {
    for (let place = at; place >= 0; place -= 1) {
      if (column[place] !== undefined) return column[place];
    }
    return null;
  }

  function drawOverTime(container) {
    const run = data.runs[state.run];
    const waits = Object.keys(run.over_time.latency);
    fill(
      container.controls,
      ...(data.runs.length > 1 ? [runSelector()] : []),
      ...(waits.length
        ? [
            selector("metric", waits, firstOf(waits, state.wait), (wait) => select({ wait })),
            selector(
              "class",
              Object.keys(run.over_time.latency[firstOf(waits, state.wait)]),
              state.waitClass,
              (waitClass) => select({ waitClass }),
            ),
            scaleSwitch(state.waitIsLog, (waitIsLog) => select({ waitIsLog })),
            element(
              "span",
              { class: "meaning" },
              state.wait === "ttft" ? "by when the turn was due" : "by when the gap began",
            ),
          ]
        : []),
    );
    for (const name of ["latency", "load"]) {
      charts[name]?.destroy();
      delete charts[name];
    }
    if (!run.over_time.in_flight.length) return nothing(container);
    container.plot.replaceChildren();
    if (waits.length) drawLatency(container, run);
    const lines = drawLoad(container, run);
    const stalls = new Set(run.over_time.stalls.map((stall) => stall.who || "other"));
    const stallWords = {
      server: "the server stood still",
      client: "the client stood still",
      other: "streams stood still together",
    };
    container.foot.replaceChildren(
      key(
        ...(waits.length
          ? [
              ["p50", "p50"],
              ["p99", "p99"],
              ["max", "max"],
            ]
          : []),
        ...[...stalls].map((who) => [`stall-${who}`, stallWords[who]]),
        ...lines.map(({ name, stroke }) => [stroke, name]),
      ),
    );
    return null;
  }

  // ---- sessions ----

  const ROW_PX = 13;
  const PAUSES = ["tool", "human", "heartbeat", "none"];
  const PARKING = {
    keep: ["ring", "park-good", "pinned on the device"],
    offload: ["down", "park-host", "copied to the host"],
    drop: ["cross", "park-bad", "let go"],
    break: ["square", "park-bad", "its pin gave way to somebody's need"],
    prefetch: ["up", "park-host", "brought back before its return"],
    expire: ["cross", "muted", "forgotten"],
    kept: ["dot", "park-good", "returned, and found its context on the device"],
    restored: ["dot", "park-host", "returned, and had it copied back"],
    recomputed: ["dot", "park-bad", "returned, and had it computed again"],
  };

  // Rows from the top: a heading for each class, then its sessions.
  function sessionRows(sessions) {
    const rows = [];
    for (const line of sessions.lines) {
      const before = rows[rows.length - 1];
      if (!before || before.traffic !== line.traffic_class) {
        const shown = sessions.lines.filter((other) => other.traffic_class === line.traffic_class).length;
        const all = sessions.num_sessions[line.traffic_class].toLocaleString("en");
        rows.push({ traffic: line.traffic_class, heading: `${line.traffic_class}: ${shown} of ${all} sessions` });
      }
      rows.push({ traffic: line.traffic_class, line });
    }
    return rows;
  }

  function asTurn([number, due, first, end, status, pause, tool, prompt, cached, output, error]) {
    return { number, due, first, end, status, pause, tool, prompt, cached, output, error };
  }

  function drawTurn(u, turn, top, height) {
    const x = (at) => u.valToPos(at, "x", true);
    const ratio = devicePixelRatio;
    const [due, first, end] = [x(turn.due), x(turn.first ?? turn.end), x(turn.end)];
    const isBad = turn.status === "failed" || turn.status === "dropped";
    u.ctx.fillStyle = isBad ? colour("line-failed") : colour("waiting");
    u.ctx.fillRect(due, top, Math.max(first - due, ratio), height);
    u.ctx.fillStyle = colour("streaming");
    if (turn.first !== null) u.ctx.fillRect(first, top, Math.max(end - first, ratio), height);
    if (isBad) drawMark(u.ctx, "cross", end, top + height / 2, 3.2 * ratio, colour("line-failed"));
    if (turn.status === "censored") {
      u.ctx.fillStyle = colour("line-failed");
      u.ctx.fillRect(end - ratio, top - ratio, 2 * ratio, height + 2 * ratio);
    }
  }

  function drawMark(ctx, shape, x, y, size, stroke) {
    ctx.strokeStyle = ctx.fillStyle = stroke;
    ctx.lineWidth = size / 2.2;
    ctx.beginPath();
    if (shape === "cross") {
      ctx.moveTo(x - size, y - size);
      ctx.lineTo(x + size, y + size);
      ctx.moveTo(x - size, y + size);
      ctx.lineTo(x + size, y - size);
      return ctx.stroke();
    }
    if (shape === "square") ctx.rect(x - size, y - size, 2 * size, 2 * size);
    else if (shape === "dot" || shape === "ring") ctx.arc(x, y, size, 0, 2 * Math.PI);
    else {
      const way = shape === "up" ? -1 : 1;
      ctx.moveTo(x - size, y - way * size);
      ctx.lineTo(x + size, y - way * size);
      ctx.lineTo(x, y + way * size);
      ctx.closePath();
    }
    return shape === "ring" ? ctx.stroke() : ctx.fill();
  }

  function drawRow(u, row, index) {
    const ratio = devicePixelRatio;
    const top = u.valToPos(index, "y", true);
    const height = u.valToPos(index + 1, "y", true) - top;
    if (row.heading) {
      u.ctx.fillStyle = colour("muted");
      u.ctx.font = `600 ${11 * ratio}px system-ui, sans-serif`;
      u.ctx.textAlign = "left";
      u.ctx.textBaseline = "middle";
      u.ctx.fillText(row.heading, u.bbox.left + 4 * ratio, top + height / 2);
      return;
    }
    const [middle, bar] = [top + height / 2, Math.max(2, height - 5 * ratio)];
    const { min, max } = u.scales.x;
    let before = null;
    for (const turn of row.turns) {
      if (before && turn.due > before.end && turn.due >= min && before.end <= max) {
        const [from, to] = [u.valToPos(before.end, "x", true), u.valToPos(turn.due, "x", true)];
        u.ctx.fillStyle = colour(`pause-${turn.pause}`);
        u.ctx.fillRect(from, middle - 0.75 * ratio, to - from, 1.5 * ratio);
      }
      if (turn.end >= min && turn.due <= max) drawTurn(u, turn, middle - bar / 2, bar);
      before = turn;
    }
    for (const [at, action] of row.line.parking) {
      const [shape, stroke] = PARKING[action] ?? ["ring", "muted"];
      if (at >= min && at <= max) drawMark(u.ctx, shape, u.valToPos(at, "x", true), middle, 3 * ratio, colour(stroke));
    }
  }

  function drawRows(u, rows) {
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    u.ctx.clip();
    rows.forEach((row, index) => drawRow(u, row, index));
    u.ctx.restore();
  }

  const seconds = (value) => (value >= 1 ? `${value.toFixed(2)} s` : `${milliseconds(value * 1e3)} ms`);

  function turnLines(turn) {
    const known = (value) => (value === null ? "?" : value.toLocaleString("en"));
    const lines = [
      [
        colour("waiting"),
        turn.first === null ? "without a first token for" : "ttft",
        seconds((turn.first ?? turn.end) - turn.due),
      ],
      [colour("streaming"), "e2e", seconds(turn.end - turn.due)],
      [null, "prompt, cached, output tokens", `${known(turn.prompt)}, ${known(turn.cached)}, ${known(turn.output)}`],
    ];
    if (turn.tool) lines.push([null, "brings the result of", turn.tool]);
    if (turn.status !== "ok") {
      const words = {
        failed: `failed: ${turn.error}`,
        censored: "cut off at the end of the run",
        dropped: "due and never sent",
      };
      lines.push([colour("line-failed"), words[turn.status], ""]);
    }
    return lines;
  }

  function sessionAt(u, rows) {
    const row = rows[Math.floor(u.posToVal(u.cursor.top, "y"))];
    if (!row?.line) return null;
    const at = u.posToVal(u.cursor.left, "x");
    const slackS = ((u.scales.x.max - u.scales.x.min) * 4) / Math.max(u.over.clientWidth, 1);
    const marks = row.line.parking.filter(([markAt]) => Math.abs(markAt - at) <= slackS);
    const turn = row.turns.find(({ due, end }) => due - slackS <= at && at <= end + slackS);
    const next = row.turns.findIndex(({ due }) => due > at);
    const lines = [];
    if (turn) lines.push(...turnLines(turn));
    else if (next > 0) {
      const { pause, tool, due } = row.turns[next];
      const kind = {
        none: "until the next turn",
        tool: `pause for a tool${tool ? `: ${tool}` : ""}`,
        human: "pause for a person",
        heartbeat: "pause until the heartbeat",
      }[pause];
      lines.push([colour(`pause-${pause}`), kind, seconds(due - row.turns[next - 1].end)]);
    }
    for (const [markAt, action, blocks, tool, remainingS] of marks.slice(0, 4)) {
      const expected = remainingS === null ? "" : `, expected back in ${seconds(remainingS)}`;
      const words = `${action}: ${PARKING[action]?.[2] ?? ""}${tool ? ` (${tool})` : ""}`;
      lines.push([colour(PARKING[action]?.[1] ?? "muted"), words, `${blocks} blocks${expected} at ${seconds(markAt)}`]);
    }
    if (row.line.left_out) lines.push([null, "further turns that are not shown", String(row.line.left_out)]);
    return {
      title: turn ? `${row.line.name}, turn ${turn.number + 1}, due at ${turn.due.toFixed(2)} s` : row.line.name,
      lines,
    };
  }

  function drawSessions(container) {
    const run = data.runs[state.run];
    fill(container.controls, ...(data.runs.length > 1 ? [runSelector()] : []));
    charts.sessions?.destroy();
    delete charts.sessions;
    if (!run.sessions.lines.length) return nothing(container);
    container.plot.replaceChildren();
    const rows = sessionRows(run.sessions).map((row) =>
      row.line ? { ...row, turns: row.line.turns.map(asTurn) } : row,
    );
    const ends = rows.flatMap((row) => (row.turns ?? []).map((turn) => turn.end));
    const end = Math.max(
      run.over_time.in_flight.length * run.over_time.bin_s,
      ends.reduce((a, b) => Math.max(a, b), 0),
    );
    const isNarrow = container.plot.clientWidth < NARROW_PX;
    const size = isNarrow ? 84 : 150;
    const name = ({ line }) => (line.name.length > size / 7.5 ? `${line.name.slice(0, size / 7.5 - 1)}…` : line.name);
    let box = null;
    const read = (u) => {
      if (!box || !isHovered(u)) return box?.hide();
      const found = sessionAt(u, rows);
      return found ? box.show(found.title, found.lines) : box.hide();
    };
    const options = {
      describes: `sessions of ${run.name}: their turns and pauses`,
      height: rows.length * ROW_PX + 60,
      padding: [8, 18, 0, 0],
      scales: { x: { time: false }, y: { range: [0, rows.length], dir: -1 } },
      axes: [
        timeAxis(),
        axis({
          scale: "y",
          size,
          font: FONT.replace("12px", "10.5px"),
          grid: { show: false },
          ticks: { show: false },
          splits: () => rows.map((_, index) => index + 0.5),
          values: () => rows.map((row) => (row.line ? name(row) : "")),
        }),
      ],
      series: [{}, { scale: "y", show: true, points: { show: false } }],
      cursor: { y: false, sync: SYNC, points: { show: false } },
      hooks: {
        drawClear: [(u) => drawEvents(u, run.over_time)],
        draw: [(u) => drawRows(u, rows)],
        setCursor: [read],
      },
    };
    box = readout(
      plot("sessions", container.plot, options, [
        [0, end],
        [null, null],
      ]),
    );
    const pauses = new Set(rows.flatMap((row) => (row.turns ?? []).slice(1).map((turn) => turn.pause)));
    const actions = new Set(rows.flatMap((row) => (row.line?.parking ?? []).map(([, action]) => action)));
    const pauseWords = { tool: "tool pause", human: "person", heartbeat: "heartbeat", none: "between turns" };
    container.foot.replaceChildren(
      key(
        ["waiting", "waiting for the first token"],
        ["streaming", "streaming"],
        ["line-failed", "failed, never sent or cut off"],
        ...PAUSES.filter((pause) => pauses.has(pause)).map((pause) => [`pause-${pause}`, pauseWords[pause]]),
      ),
      parkingKey(Object.keys(PARKING).filter((action) => actions.has(action))),
    );
    return null;
  }

  function parkingKey(actions) {
    const items = actions.map((action) => {
      const [shape, stroke, words] = PARKING[action];
      const picture = element("canvas", { width: 28, height: 28, "aria-hidden": "true", class: "mark-picture" });
      drawMark(picture.getContext("2d"), shape, 14, 14, 7, colour(stroke));
      return element("li", {}, picture, `${action}: ${words}`);
    });
    return element("ul", { class: "chart-key" }, ...items);
  }

  // ---- all of it ----

  function nothing(container) {
    container.plot.replaceChildren(element("p", { class: "empty" }, "Nothing was measured."));
    container.second.replaceChildren();
    container.foot.replaceChildren();
    return null;
  }

  function makeContainer(identifier) {
    const place = document.getElementById(`${identifier}-chart`);
    const parts = {
      controls: element("div", { class: "controls" }),
      plot: element("div", { class: "plot" }),
      second: element("div", { class: "plot" }),
      foot: element("div", { class: "foot" }),
    };
    place.replaceChildren(...Object.values(parts));
    return parts;
  }

  const containers = {
    curves: makeContainer("curves"),
    overTime: makeContainer("over-time"),
    sessions: makeContainer("sessions"),
  };

  function drawAll() {
    drawCurves(containers.curves);
    drawOverTime(containers.overTime);
    drawSessions(containers.sessions);
  }

  // ---- tables that are sorted by their headings ----

  function valueOf(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text.replace(/[,%x]/g, ""));
    return text === "" || text === "-" ? null : Number.isNaN(number) ? text : number;
  }

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  }

  // Largest first, then smallest first, then as it was. What has no value comes last either way.
  function sortBy(table, heading, original) {
    const before = heading.getAttribute("aria-sort");
    const isText = heading.classList.contains("text");
    const order = isText ? ["ascending", "descending", null] : ["descending", "ascending", null];
    const next = order[(order.indexOf(before) + 1) % 3];
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    const rows = [...original];
    if (next) {
      heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const keyed = rows.map((row) => [valueOf(row, heading.cellIndex), row]);
      keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
      rows.splice(0, rows.length, ...keyed.map(([, row]) => row));
    }
    table.tBodies[0].append(...rows);
    table.classList.toggle("is-sorted", Boolean(next));
  }

  function makeSortable(table) {
    const original = [...table.tBodies[0].rows];
    for (const heading of table.querySelectorAll("th[data-sorts]")) {
      const button = element("button", { type: "button", onclick: () => sortBy(table, heading, original) });
      button.append(...heading.childNodes);
      heading.append(button);
    }
  }

  // ---- light and dark ----

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

  function recolour() {
    colours = new Map();
    themeButton.textContent = isDark() ? "Light" : "Dark";
    drawAll();
  }

  const themeButton = element("button", {
    type: "button",
    id: "theme",
    onclick: () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      recolour();
    },
  });
  document.getElementById("tools").append(themeButton);
  prefersDark.addEventListener("change", recolour);

  window.abatchReport = { data, readyMs: null, charts, curve, percentile, select };
  document.querySelectorAll("table.metrics, table.extra").forEach(makeSortable);
  recolour();
  requestAnimationFrame(() =>
    setTimeout(() => {
      window.abatchReport.readyMs = performance.now();
      root.dataset.ready = "1";
    }),
  );
})();
