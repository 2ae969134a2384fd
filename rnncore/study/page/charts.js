// Charts: everything against the words, on one scale, so that a column is the same word everywhere.

const LEFT = 54, RIGHT = 34, NARROWEST = 4;
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#b8568f", "#c98a00", "#222222", "#4a9fd0"]; // after Okabe and Ito
const DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [], [1, 3]];
const INK = "#26313d", FAINT = "#8a929b", GRID = "#e4e6e8", PADDING = "#eceded";

// What colour a value has: white to blue for 0 to 1, or blue over white to orange around 0.
function ramp(value, low, high) {
  const stops = low < 0 ? [[28, 84, 160], [122, 173, 214], [249, 249, 247], [242, 163, 96], [176, 72, 8]]
    : [[250, 250, 247], [196, 219, 234], [109, 165, 205], [36, 103, 166], [10, 45, 96]];
  const place = Math.min(0.9999, Math.max(0, (value - low) / (high - low))) * (stops.length - 1);
  const [from, to, share] = [stops[Math.floor(place)], stops[Math.floor(place) + 1], place % 1];
  return from.map((v, n) => Math.round(v + (to[n] - v) * share));
}

// From where to where a series goes, and without its rarest values: the ends of the colours.
function extent(part, name) {
  part.extents ??= {};
  if (!part.extents[name]) {
    const all = Float32Array.from(part.taken.flatMap((t) => [...part.row(name, t)])).sort();
    const least = all[0], most = all[all.length - 1], at = (share) => all[Math.round(share * (all.length - 1))];
    const size = all.map(Math.abs).sort()[Math.round(0.995 * (all.length - 1))] || Math.max(-least, most) || 1;
    const gate = least >= 0 && most <= 1, middle = at(0.99) > at(0.01) ? [at(0.01), at(0.99)] : [0, 1];
    part.extents[name] = { gate, tones: gate ? middle : [-size, size] };
  }
  return part.extents[name];
}

// A canvas made ready: sharp on any screen, its own width, this height.
function surface(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
  canvas.style.height = `${height}px`;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  return [pen, width];
}

// Which words fit, and where: all, or as many around the chosen one as have room.
function columns(width, count, step) {
  const room = Math.max(10, width - LEFT - RIGHT), fit = Math.min(count, Math.floor(room / NARROWEST));
  const first = Math.max(0, Math.min(count - fit, step - (fit >> 1))), pitch = room / fit;
  return {
    first, last: first + fit, pitch,
    x: (t) => LEFT + (t - first + 0.5) * pitch,
    at: (x) => Math.max(first, Math.min(first + fit - 1, first + Math.floor((x - LEFT) / pitch))),
  };
}

function cursor(pen, scale, step, top, bottom) {
  pen.strokeStyle = INK;
  pen.lineWidth = 1.25;
  pen.strokeRect(scale.x(step) - scale.pitch / 2, top, scale.pitch, bottom - top);
}

function label(pen, text, x, y, align = "right", colour = FAINT) {
  pen.fillStyle = colour;
  pen.textAlign = align;
  pen.fillText(text, x, y);
}

function paddingBehind(pen, part, scale, top, bottom) {
  pen.fillStyle = PADDING;
  for (let t = scale.first; t < scale.last; t++) {
    if (!part.place.has(t)) pen.fillRect(scale.x(t) - scale.pitch / 2, top, scale.pitch + 0.5, bottom - top);
  }
}

// All units of one series over the words; `order` says from top to bottom which unit.
function drawUnits(canvas, part, name, order, step, unit, words) {
  const height = 160, [low, high] = extent(part, name).tones, scale = columns(canvas.clientWidth, part.T, step);
  const upright = scale.pitch >= 7;
  const [pen, width] = surface(canvas, height + (upright ? 60 : 6));
  const count = scale.last - scale.first, image = new ImageData(count, part.H);
  order.forEach((u, row) => {
    for (let n = 0; n < count; n++) {
      const t = scale.first + n;
      const colour = part.place.has(t) ? ramp(part.at(name, t, u), low, high) : [236, 237, 237];
      image.data.set([...colour, 255], 4 * (row * count + n));
    }
  });
  const small = document.createElement("canvas");
  [small.width, small.height] = [count, part.H];
  small.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = part.H > height;
  pen.drawImage(small, LEFT, 2, width - LEFT - RIGHT, height);
  const row = order.indexOf(unit), tall = height / part.H, y = 2 + (row + 0.5) * tall;
  pen.strokeStyle = INK;
  pen.lineWidth = 1.25;
  pen.strokeRect(LEFT, 2 + row * tall - (tall < 3 ? 1 : 0), width - LEFT - RIGHT, Math.max(tall, 3));
  cursor(pen, scale, step, 2, height + 2);
  label(pen, "unit", LEFT - 6, 8);
  label(pen, String(unit), LEFT - 6, Math.max(22, y), "right", INK);
  if (upright) {
    pen.font = `${Math.min(10, scale.pitch + 1.5)}px system-ui, sans-serif`;
    for (let t = scale.first; t < scale.last; t++) {
      pen.save();
      pen.translate(scale.x(t), height + 7);
      pen.rotate(Math.PI / 2);
      const word = words[t].length > 11 ? `${words[t].slice(0, 10)}…` : words[t];
      label(pen, word, 0, 0, "left", t === step ? "#000" : part.place.has(t) ? "#5b646e" : "#b9bdc1");
      pen.restore();
    }
  }
  const unitAt = (py) => order[Math.max(0, Math.min(part.H - 1, Math.floor((py - 2) / tall)))];
  return { scale, pick: (px, py) => [scale.at(px), unitAt(py)] };
}

// What a chart shows, in its corner.
function caption(pen, text) {
  pen.save();
  pen.font = "10px system-ui, sans-serif";
  pen.lineWidth = 3;
  pen.strokeStyle = "#fffd";
  pen.textAlign = "left";
  pen.strokeText(text, LEFT + 3, 7);
  label(pen, text, LEFT + 3, 7, "left");
  pen.restore();
}

// A value a word, as bars above and below 0.
function drawBars(canvas, values, part, step, title) {
  const height = 44, [pen, width] = surface(canvas, height), scale = columns(width, part.T, step);
  const most = Math.max(...values.map(Math.abs)) || 1, middle = height / 2;
  paddingBehind(pen, part, scale, 1, height - 1);
  pen.fillStyle = GRID;
  pen.fillRect(LEFT, middle, width - LEFT - RIGHT, 1);
  for (let t = scale.first; t < scale.last; t++) {
    const size = (values[t] / most) * (middle - 3);
    pen.fillStyle = `rgb(${ramp(Math.sign(values[t]) * 0.8, -1, 1)})`;
    pen.fillRect(scale.x(t) - scale.pitch * 0.4, size > 0 ? middle - size : middle, scale.pitch * 0.8, Math.abs(size));
  }
  cursor(pen, scale, step, 1, height - 1);
  [most, 0, -most].forEach((tick, n) => label(pen, shown(tick), LEFT - 6, 6 + n * (middle - 6)));
  caption(pen, title);
  return { scale };
}

// Lines over the words. `lines`: name, values by step, colour, dash. Logarithmic where `log`.
function drawLines(canvas, lines, part, step, height, title = "", log = false) {
  const [pen, width] = surface(canvas, height), scale = columns(width, part.T, step);
  const all = lines.flatMap((line) => part.taken.map((t) => line.values[t])).filter(Number.isFinite);
  const top = 6, bottom = height - 6;
  let low, high, ticks, level;
  if (log) {
    const most = Math.max(...all), least = Math.min(...all.filter((value) => value > 0));
    if (!(most > 0)) {
      label(pen, "no gradient reaches this layer", LEFT, height / 2, "left");
      return { scale };
    }
    high = Math.ceil(Math.log10(most));
    low = Math.min(high - 1, Math.max(high - 12, Math.floor(Math.log10(least))));
    ticks = [low, high];
    level = (value) => Math.max(low, Math.log10(value || 1e-300));
  } else {
    [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
    if (low >= 0 && high <= 1) high = 1;
    else [low, high] = [Math.min(low, -high * 0.2), Math.max(high, -low * 0.2)];
    ticks = low < 0 ? [low, 0, high] : [0, high];
    level = (value) => value;
  }
  const y = (value) => bottom - ((value - low) / (high - low || 1)) * (bottom - top);
  paddingBehind(pen, part, scale, 1, height - 1);
  for (const tick of ticks) {
    pen.fillStyle = GRID;
    pen.fillRect(LEFT, Math.round(y(tick)), width - LEFT - RIGHT, 1);
    label(pen, log ? `1e${tick}`.replace("-", "−") : shown(tick).replace(/\.0+$/, ""), LEFT - 6, y(tick));
  }
  cursor(pen, scale, step, 1, height - 1);
  const ends = [];
  for (const { name, values, colour, dash, strong } of lines) {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = strong ? 2.4 : 1.3;
    pen.setLineDash(dash);
    pen.beginPath();
    let open = false, end = null;
    for (let t = scale.first; t < scale.last; t++) {
      if (!part.place.has(t)) {
        open = false;
        continue;
      }
      end = [scale.x(t), y(level(values[t]))];
      if (open) pen.lineTo(...end);
      else pen.moveTo(...end);
      open = true;
    }
    pen.stroke();
    pen.setLineDash([]);
    if (part.place.has(step)) {
      pen.beginPath();
      pen.arc(scale.x(step), y(level(values[step])), strong ? 4 : 3, 0, 7);
      pen.fill();
    }
    if (end) ends.push([name, end[1], colour]);
  }
  ends.sort((one, other) => one[1] - other[1]);
  ends.forEach((end, n) => {
    if (n) end[1] = Math.max(end[1], ends[n - 1][1] + 12);
  });
  const over = ends.length ? Math.max(0, ends[ends.length - 1][1] - (height - 6)) : 0;
  for (const [name, at, colour] of ends) label(pen, name, width - RIGHT + 5, at - over, "left", colour);
  caption(pen, title);
  return { scale };
}

// The products of a sum, largest first to the most negative: one segment a source. Returns what lies where.
function drawProducts(canvas, segments) {
  const height = 34, [pen, width] = surface(canvas, height), gap = 10, middle = 21;
  const total = segments.reduce((sum, { sizes }) => sum + sizes.length, 0);
  const most = Math.max(...segments.flatMap(({ sizes }) => sizes.map((size) => Math.abs(size)))) || 1;
  const pitch = Math.min(14, (width - gap * (segments.length - 1)) / total);
  const bars = [];
  let x = 0;
  for (const { title, sizes } of segments) {
    const order = sizes.map((_, n) => n).sort((a, b) => sizes[b] - sizes[a]);
    pen.font = "10px system-ui, sans-serif";
    label(pen, title, x, 5, "left");
    pen.fillStyle = GRID;
    pen.fillRect(x, middle, pitch * sizes.length, 1);
    for (const n of order) {
      const size = (sizes[n] / most) * 12;
      pen.fillStyle = `rgb(${ramp(Math.sign(sizes[n]) * 0.8, -1, 1)})`;
      pen.fillRect(x, size > 0 ? middle - size : middle, Math.max(0.6, pitch * 0.85), Math.max(0.5, Math.abs(size)));
      bars.push([x, x + pitch, segments.findIndex((each) => each.sizes === sizes), n]);
      x += pitch;
    }
    x += gap;
  }
  return bars;
}
