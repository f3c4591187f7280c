// Numbers as text.

function milliseconds(value) {
  if (value === null || value === undefined) return "-";
  if (value >= 1000) return value.toFixed(0);
  return value >= 100 ? value.toFixed(1) : value >= 10 ? value.toFixed(2) : value.toFixed(3);
}

const secondsText = (value) => (value >= 1 ? `${value.toFixed(2)} s` : `${milliseconds(value * 1e3)} ms`);

const axisNumber = (value) => (value === null ? "" : String(Number(value.toPrecision(6))));

// A time in the run: in seconds, or as h:mm:ss where the axis spans more than ten minutes.
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
