// Marks for what became of a parked session's KV blocks.

// What the engine did with the context of a parked session: [shape, colour, what that means] by action.
const PARKING = {
  keep: ["ring", "park-good", "pinned on the device"],
  offload: ["down", "park-host", "copied to host memory"],
  drop: ["cross", "park-bad", "released"],
  break: ["square", "park-bad", "unpinned to make room for other requests"],
  prefetch: ["up", "park-host", "copied back before the session returned"],
  expire: ["cross", "muted", "forgotten: the session took too long, or there were too many"],
  kept: ["dot", "park-good", "returned; its context was still on the device"],
  restored: ["dot", "park-host", "returned; its context was copied back"],
  recomputed: ["dot", "park-bad", "returned; its context was recomputed"],
};

// A small mark at (x, y), `size` from its middle to its edge.
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

function parkingKey(actions) {
  const items = actions.map((action) => {
    const [shape, stroke, words] = PARKING[action];
    const picture = element("canvas", { width: 28, height: 28, "aria-hidden": "true", class: "mark-picture" });
    drawMark(picture.getContext("2d"), shape, 14, 14, 7, colour(stroke));
    return element("li", {}, picture, `${action}: ${words}`);
  });
  return element("ul", { class: "chart-key" }, ...items);
}
