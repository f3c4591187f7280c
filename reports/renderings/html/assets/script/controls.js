// The controls above a chart, and the key below it.

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

// A selector of runs, if there is a choice.
function runSelectors() {
  if (data.runs.length === 1) return [];
  const indices = data.runs.map((_, index) => index);
  const choose = (run) => select({ run });
  return [selector("run", indices, selection.run, choose, (index) => data.runs[index].name)];
}

// Replaces the controls in a container. The control that had the keyboard's focus keeps it.
function fill(container, ...content) {
  const before = [...container.querySelectorAll("button, select")];
  const place = before.indexOf(document.activeElement);
  container.replaceChildren(...content);
  if (place >= 0) container.querySelectorAll("button, select")[place]?.focus();
}

// `marks`: [a mark's name in the style sheet, or nothing, text] for each.
function key(...marks) {
  const items = marks.map(([name, text]) =>
    element("li", {}, name ? element("span", { class: `mark mark-${name}`, "aria-hidden": "true" }) : "", text),
  );
  return element("ul", { class: "chart-key" }, ...items);
}
