// A run over time: its latency, its errors if there were any, and its load.

const STALL_WORDS = {
  server: "server stall",
  client: "client stall",
  other: "stall of several streams",
};

function overTimeControls(latency) {
  const waits = Object.keys(latency);
  if (!waits.length) return runSelectors();
  const { wait, waitClass } = selection;
  return [
    ...runSelectors(),
    selector("metric", waits, wait, (name) => select({ wait: name })),
    selector("class", Object.keys(latency[wait]), waitClass, (name) => select({ waitClass: name })),
    scaleSwitch(selection.waitIsLog, (waitIsLog) => select({ waitIsLog })),
    element("span", { class: "meaning" }, `time axis: when the ${wait === "ttft" ? "turn was due" : "gap began"}`),
  ];
}

function drawOverTime(container) {
  const run = data.runs[selection.run];
  const over = run.over_time;
  const values = Object.keys(over.latency).length ? selectedLatency(run) : null;
  fill(container.controls, ...overTimeControls(over.latency));
  removePlot("latency");
  removePlot("errors");
  removePlot("load");
  if (!over.in_flight.length) return showNothing(container);
  container.plot.replaceChildren();
  container.second.replaceChildren();
  if (values) drawLatency(container.plot, run, values, rightPaddingPx(over));
  if (hasErrors(over)) drawErrors(container.second, run, rightPaddingPx(over));
  const lines = drawLoad(container.third, run);
  const stalls = new Set(over.stalls.map((stall) => stall.who || "other"));
  container.foot.replaceChildren(
    key(
      ...(values ? WAIT_LINES.map((name) => [name, name]) : []),
      ...[...stalls].map((who) => [`stall-${who}`, STALL_WORDS[who]]),
      ...errorMarks(over),
      ...lines.map(({ name, stroke }) => [stroke, name]),
    ),
  );
}

addDrawing("over-time", drawOverTime);
