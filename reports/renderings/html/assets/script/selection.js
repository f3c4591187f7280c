// The report's data, and which part of it the charts show.

const data = JSON.parse(document.getElementById("report-data").textContent);
const verdictClass = data.runs[0].verdict_class;
const metricNames = [...new Set(data.runs.flatMap((run) => Object.keys(run.curves)))];

// The traffic classes that any run has for a metric. `kind`: the values of a run by metric, then by class.
const classesOf = (kind, metric) => [...new Set(data.runs.flatMap((run) => Object.keys(kind(run)[metric] ?? {})))];
const firstOf = (names, ...wanted) => wanted.find((name) => names.includes(name)) ?? names[0] ?? "";
const preferredClass = (kind, metric) => firstOf(classesOf(kind, metric), verdictClass, "all");

const selection = {
  metric: firstOf(metricNames, "ttft"),
  class: "",
  isLog: false,
  hidden: new Set(), // names of runs whose curves are switched off
  run: 0,
  wait: "ttft",
  waitClass: preferredClass((run) => run.over_time.latency, "ttft"),
  waitIsLog: true,
  pauseIsLog: true,
};
selection.class = preferredClass((run) => run.curves, selection.metric);

const drawings = []; // draws one chart each

function drawAll() {
  for (const draw of drawings) draw();
}

function select(change) {
  Object.assign(selection, change);
  drawAll();
}
