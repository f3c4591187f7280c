// Light and dark, and the start of it all.
//
// window.abatchReport, for tests and for people with a console:
//   data                                       what is drawn: `ReportData` in report_data.py; times are seconds since
//                                              the run began, latencies microseconds
//   readyMs                                    when all charts were drawn, in milliseconds since the page began to load
//   charts                                     the uPlot charts by name: curves, latency, errors, load, pauses, sessions
//   curve(run, metric, class)                  {percents, ms}: the points of a curve; null where there is none
//   percentile(run, metric, class, percent)    a point of it, in milliseconds; beyond the last sample, the maximum
//   select({run, metric, class, wait, waitClass, ...})   what the charts show, as their controls do

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

function toggleTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  recolour();
}

function recolour() {
  colours.clear();
  themeButton.textContent = isDark() ? "Light" : "Dark";
  drawAll();
}

const themeButton = element("button", { type: "button", id: "theme", onclick: toggleTheme });
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
