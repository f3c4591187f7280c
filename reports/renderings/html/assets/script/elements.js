// Elements of the page, and the colours of its style sheet.

const root = document.documentElement;
const NUM_COLOURS = 8;
const colours = new Map(); // by name, as read from the style sheet in the present theme

function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...content);
  return made;
}

// A name that loses its beginning where there is no room: the ends tell runs and URLs apart.
const cutLeft = (text) => element("span", { class: "cut-left", title: text }, element("bdi", {}, text));

function colour(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}

const runColour = (index) => colour(`run-${index % NUM_COLOURS}`);
