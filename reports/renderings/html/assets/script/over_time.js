// A run over time: the charts of its latency and its load, one above the other.

const STALL_WORDS = {
  server: "the server stood still",
  client: "the client stood still",
  other: "streams stood still together",
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
    element("span", { class: "meaning" }, wait === "ttft" ? "by when the turn was due" : "by when the gap began"),
  ];
}

function drawOverTime(container) {
  const run = data.runs[selection.run];
  const over = run.over_time;
  const values = Object.keys(over.latency).length ? selectedLatency(run) : null;
  fill(container.controls, ...overTimeControls(over.latency));
  removePlot("latency");
  removePlot("load");
  if (!over.in_flight.length) return showNothing(container);
  container.plot.replaceChildren();
  if (values) drawLatency(container.plot, run, values, rightPaddingPx(over));
  const lines = drawLoad(container.second, run);
  const stalls = new Set(over.stalls.map((stall) => stall.who || "other"));
  container.foot.replaceChildren(
    key(
      ...(values ? WAIT_LINES.map((name) => [name, name]) : []),
      ...[...stalls].map((who) => [`stall-${who}`, STALL_WORDS[who]]),
      ...lines.map(({ name, stroke }) => [stroke, name]),
    ),
  );
}

addDrawing("over-time", drawOverTime);
