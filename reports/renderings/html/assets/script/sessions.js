// Sessions over time: one row each, with bars for its turns and thin lines for the pauses between them.

const ROW_PX = 13;
const PAUSES = { tool: "tool pause", human: "user pause", heartbeat: "heartbeat pause", none: "between turns" };

// Rows from the top: {heading} for each class, then {line, turns} for each of its sessions.
function sessionRows(sessions) {
  const rows = [];
  for (const line of sessions.lines) {
    const traffic = line.traffic_class;
    if (rows.at(-1)?.line.traffic_class !== traffic) {
      const shown = sessions.lines.filter((other) => other.traffic_class === traffic).length;
      const all = sessions.num_sessions[traffic].toLocaleString("en");
      rows.push({ heading: `${traffic}: ${shown} of ${all} sessions` });
    }
    rows.push({ line, turns: line.turns.map(asTurn) });
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

function drawRow(u, row, index) {
  const ratio = devicePixelRatio;
  const top = u.valToPos(index, "y", true);
  const height = u.valToPos(index + 1, "y", true) - top;
  if (row.heading) drawHeading(u, row.heading, top + height / 2);
  else drawSession(u, row, top + height / 2, Math.max(2, height - 5 * ratio));
}

function drawHeading(u, text, middle) {
  const ratio = devicePixelRatio;
  u.ctx.fillStyle = colour("muted");
  u.ctx.font = `600 ${11 * ratio}px system-ui, sans-serif`;
  u.ctx.textAlign = "left";
  u.ctx.textBaseline = "middle";
  u.ctx.fillText(text, u.bbox.left + 4 * ratio, middle);
}

function drawSession(u, row, middle, bar) {
  const ratio = devicePixelRatio;
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

function turnLines(turn) {
  const known = (value) => (value === null ? "?" : value.toLocaleString("en"));
  const waited = turn.first === null ? "no first token for" : "ttft";
  const lines = [
    [colour("waiting"), waited, secondsText((turn.first ?? turn.end) - turn.due)],
    [colour("streaming"), "e2e", secondsText(turn.end - turn.due)],
    [null, "prompt, cached, output tokens", `${known(turn.prompt)}, ${known(turn.cached)}, ${known(turn.output)}`],
  ];
  if (turn.tool) lines.push([null, "carries the result of", turn.tool]);
  if (turn.status !== "ok") {
    const words = {
      failed: `failed: ${turn.error}`,
      censored: "cut off when the run ended",
      dropped: "due but never sent",
    };
    lines.push([colour("line-failed"), words[turn.status], ""]);
  }
  return lines;
}

// The pause before a turn.
function pauseLine({ pause, tool, due }, before) {
  const words = {
    none: "between turns",
    tool: `waiting for a tool${tool ? `: ${tool}` : ""}`,
    human: "waiting for the user",
    heartbeat: "waiting for the heartbeat",
  };
  return [colour(`pause-${pause}`), words[pause], secondsText(due - before.end)];
}

function parkingLine([at, action, blocks, tool, remainingS]) {
  const [, stroke, meaning] = PARKING[action] ?? [null, "muted", ""];
  const expected = remainingS === null ? "" : `, expected back in ${secondsText(remainingS)}`;
  const words = `${action}: ${meaning}${tool ? ` (${tool})` : ""}`;
  return [colour(stroke), words, `${blocks} blocks${expected} at ${secondsText(at)}`];
}

function readSession(u, rows) {
  const row = rows[Math.floor(u.posToVal(u.cursor.top, "y"))];
  if (!row?.line) return null;
  const at = u.posToVal(u.cursor.left, "x");
  const slackS = ((u.scales.x.max - u.scales.x.min) * 4) / Math.max(u.over.clientWidth, 1);
  const turn = row.turns.find(({ due, end }) => due - slackS <= at && at <= end + slackS);
  const next = row.turns.findIndex(({ due }) => due > at);
  const marks = row.line.parking.filter(([markAt]) => Math.abs(markAt - at) <= slackS);
  const lines = [];
  if (turn) lines.push(...turnLines(turn));
  else if (next > 0) lines.push(pauseLine(row.turns[next], row.turns[next - 1]));
  lines.push(...marks.slice(0, 4).map(parkingLine));
  if (row.line.left_out) lines.push([null, "more turns, not shown", String(row.line.left_out)]);
  const name = row.line.name;
  return { title: turn ? `${name}, turn ${turn.number + 1}, due at ${turn.due.toFixed(2)} s` : name, lines };
}

// The names of sessions, cut to the room left of the chart; their ends tell them apart.
function sessionAxis(rows, widthPx) {
  const most = Math.floor(widthPx / 7.5);
  const short = (name) => (name.length > most ? `…${name.slice(1 - most)}` : name);
  return axis({
    scale: "y",
    size: widthPx,
    font: FONT.replace("12px", "10.5px"),
    grid: { show: false },
    ticks: { show: false },
    splits: () => rows.map((_, index) => index + 0.5),
    values: () => rows.map(({ line }) => (line ? short(line.name) : "")),
  });
}

function plotSessions(container, run, rows) {
  const ends = rows.flatMap(({ turns = [] }) => turns.map((turn) => turn.end));
  const end = ends.reduce((a, b) => Math.max(a, b), endOf(run.over_time));
  const options = {
    describes: `sessions of ${run.name}: their turns and pauses`,
    height: rows.length * ROW_PX + 60,
    padding: [8, 18, 0, 0],
    scales: { x: { time: false }, y: { range: [0, rows.length], dir: -1 } },
    axes: [timeAxis(), sessionAxis(rows, container.clientWidth < NARROW_PX ? 84 : 150)],
    series: [{}, { scale: "y", show: true, points: { show: false } }],
    cursor: { y: false, sync: SYNC, points: { show: false } },
    hooks: { drawClear: [(u) => drawEvents(u, run.over_time)], draw: [(u) => drawRows(u, rows)] },
    read: (u) => readSession(u, rows),
  };
  const columns = [
    [0, end],
    [null, null],
  ];
  plot("sessions", container, options, columns);
}

function drawSessions(container) {
  const run = data.runs[selection.run];
  fill(container.controls, ...runSelectors());
  removePlot("sessions");
  if (!run.sessions.lines.length) return showNothing(container);
  container.plot.replaceChildren();
  const rows = sessionRows(run.sessions);
  plotSessions(container.plot, run, rows);
  const pauses = new Set(rows.flatMap(({ turns = [] }) => turns.slice(1).map((turn) => turn.pause)));
  const actions = new Set(rows.flatMap(({ line }) => (line?.parking ?? []).map(([, action]) => action)));
  container.foot.replaceChildren(
    key(
      ["waiting", "waiting for the first token"],
      ["streaming", "streaming"],
      ["line-failed", "failed, never sent, or cut off"],
      ...Object.keys(PAUSES)
        .filter((pause) => pauses.has(pause))
        .map((pause) => [`pause-${pause}`, PAUSES[pause]]),
    ),
    parkingKey(Object.keys(PARKING).filter((action) => actions.has(action))),
  );
}

addDrawing("sessions", drawSessions);
