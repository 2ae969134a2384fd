// The page: what is chosen, what is drawn for it, and the ways to choose.

const byId = (id) => document.getElementById(id);
const chosen = { part: null, step: 0, unit: 0, series: "", way: "forward", sorted: false };
let data, parts, words, picks = {};

async function start() {
  if (!("DecompressionStream" in window)) throw new Error("this page needs a browser of 2023 or later");
  data = JSON.parse(byId("data").textContent);
  const buffer = await unpacked(byId("pack").textContent);
  parts = data.parts.map((spec) => () => (spec.made ??= new Part(spec, buffer)));
  data.parts.forEach((spec, n) => {
    const button = element("button", "", `${spec.name} ${spec.backwards ? "←" : "→"}`);
    button.onclick = () => choosePart(n);
    byId("parts").append(button);
  });
  byId("parts").hidden = parts.length < 2;
  const { name, value, output, activation } = data.answer;
  byId("answer").append(`${name}: `, element("b", "", shown(output)),
    activation === "linear" ? "" : activation.endsWith("softmax") ? `, by ${activation} from ${shown(value)}`
      : ` = ${FUNCTIONS[activation] ?? activation}(${shown(value)})`);
  choosePart(0);
  const score = scores(chosen.part).map(Math.abs);
  const strongest = chosen.part.taken.reduce((best, t) => (score[t] > score[best] ? t : best));
  const series = chosen.part.shown.includes("f") ? "f" : chosen.part.shown[0];
  choose({ step: strongest, unit: leading(strongest), series });
}

// What each word brings to the answer, in the order of a layer's steps; of a layer with other steps nothing.
function scores(part) {
  return data.saliency.length !== part.T ? [] : part.turned ? [...data.saliency].reverse() : data.saliency;
}

// The unit whose states carry most to the answer at a step.
function leading(t) {
  const part = chosen.part, weight = (u) => part.states.reduce(
    (sum, s) => sum + Math.abs(part.at(s, t, u) * part.at(`d${s}`, t, u)), 0);
  return Array.from({ length: part.H }, (_, u) => u).reduce((best, u) => (weight(u) > weight(best) ? u : best));
}

function choosePart(n) {
  const part = chosen.part = parts[n]();
  words = part.words ?? data.words;
  [...byId("parts").children].forEach((button, k) => button.setAttribute("aria-pressed", k === n));
  byId("layer").textContent = part.name;
  byId("reads").textContent = `${part.kind} of ${part.H} units, reads ${part.taken.length} steps `
    + `from ${part.backwards ? "the last to the first" : "the first to the last"}`;
  chosen.unit = Math.min(chosen.unit, part.H - 1);
  chosen.step = part.place.has(chosen.step) ? chosen.step : part.taken[0];
  if (!part.shown.includes(chosen.series)) chosen.series = part.shown[0];
  byId("series").replaceChildren(...part.shown.map((name, k) => {
    const swatch = element("span", "swatch"), value = element("span", "value");
    const button = element("button", "", swatch, symbol(name, part), " ", value);
    swatch.style.background = COLOURS[k % COLOURS.length];
    button.dataset.name = name;
    button.onclick = () => choose({ series: name });
    return button;
  }));
  writeWords();
  choose({});
}

function choose(change) {
  Object.assign(chosen, change);
  draw();
}

function writeWords() {
  const part = chosen.part, own = scores(part);
  const most = Math.max(...own.map(Math.abs), 1e-300);
  byId("text").replaceChildren(...words.flatMap((word, t) => {
    const button = element("button", part.place.has(t) ? "" : "padding", word.trim() ? word : "·");
    const strength = Math.abs(own[t] ?? 0) / most;
    if (strength > 0.02) {
      const [r, g, b] = own[t] > 0 ? [240, 140, 60] : [70, 140, 205];
      button.style.background = `rgba(${r}, ${g}, ${b}, ${0.75 * strength})`;
    }
    button.onclick = () => choose({ step: t });
    return [button, " "];
  }));
  byId("textkey").textContent = own.length
    ? "orange words raise the answer, blue ones lower it; what they bring is in the bars below" : "";
  byId("saliency").hidden = !own.length;
}

function unitsInOrder() {
  const { part, step, series, sorted } = chosen, order = Array.from({ length: part.H }, (_, u) => u);
  if (!sorted || !part.place.has(step)) return order;
  return order.sort((a, b) => part.at(series, step, b) - part.at(series, step, a));
}

function draw() {
  const { part, step, unit, series } = chosen, order = unitsInOrder();
  const taken = part.place.has(step);
  [...byId("text").children].forEach((button, t) => {
    button.setAttribute("aria-pressed", t === step);
    button.tabIndex = t === step ? 0 : -1;
  });
  const text = byId("text"), here = text.children[step];
  if (here.offsetTop < text.scrollTop) text.scrollTop = here.offsetTop - 4;
  if (here.offsetTop + here.offsetHeight > text.scrollTop + text.clientHeight) {
    text.scrollTop = here.offsetTop + here.offsetHeight - text.clientHeight + 4;
  }
  for (const button of byId("series").children) {
    button.setAttribute("aria-pressed", button.dataset.name === series);
    button.lastChild.textContent = taken ? shown(part.at(button.dataset.name, step, unit)) : "";
  }
  picks.units = drawUnits(byId("units"), part, series, order, step, unit, words);
  drawRamp(extent(part, series).tones, series);
  if (!byId("saliency").hidden) {
    picks.saliency = drawBars(byId("saliency"), scores(part), part, step, "what each word brings to the answer");
  }
  const norms = part.states.map((state) =>
    line(`d${state}`, (t) => part.norm(`d${state}`, t), part.shown.indexOf(state)));
  const title = "length of the gradient that reaches each word";
  picks.gradient = drawLines(byId("gradient"), norms, part, step, 50, title, true);
  const own = part.shown.map((name, n) =>
    ({ ...line(name, (t) => part.at(name, t, unit), n), strong: name === series }));
  const open = own.filter(({ name }) => extent(part, name).gate);
  const signed = own.filter(({ name }) => !extent(part, name).gate);
  byId("unittitle").replaceChildren(`Unit ${unit}`, element("small", "", "its gates and states over the words"));
  byId("gates").hidden = !open.length;
  byId("states").hidden = !signed.length;
  if (open.length) picks.gates = drawLines(byId("gates"), open, part, step, 74);
  if (signed.length) picks.states = drawLines(byId("states"), signed, part, step, 84);
  writeStep();
}

function line(name, value, n) {
  const values = Array.from({ length: chosen.part.T }, (_, t) => (chosen.part.place.has(t) ? value(t) : NaN));
  return { name, values, colour: COLOURS[n % COLOURS.length], dash: DASHES[n % DASHES.length] };
}

function drawRamp([low, high], name) {
  const [pen, width] = surface(byId("ramp"), 10);
  for (let x = 0; x < width; x++) {
    pen.fillStyle = `rgb(${ramp(low + (high - low) * (x / width), low, high)})`;
    pen.fillRect(x, 0, 1.5, 10);
  }
  const meaning = (chosen.part.meanings[name] || name).split(",")[0];
  byId("rampkey").textContent = `${shown(low)} or less, to ${shown(high)} or more: ${meaning}`;
}

function showTip(event, children) {
  const tip = byId("tip");
  tip.replaceChildren(...children);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const x = Math.min(event.clientX + 14, window.innerWidth - width - 6), below = event.clientY + 18;
  tip.style.left = `${Math.max(6, x)}px`;
  tip.style.top = `${below + height > window.innerHeight ? Math.max(4, event.clientY - height - 12) : below}px`;
}

function hideTip() {
  byId("tip").hidden = true;
  document.querySelectorAll(".lit, .near").forEach((each) => each.classList.remove("lit", "near"));
}

byId("lines").addEventListener("pointerover", (event) => {
  const node = event.target.closest(".node");
  hideTip();
  if (!node) return;
  node.classList.add("lit");
  const children = details.get(node)();
  showTip(event, children);
});
byId("lines").addEventListener("pointerleave", hideTip);
byId("lines").addEventListener("click", (event) => {
  const name = event.target.closest(".equation")?.dataset.name, gate = name?.replace(/^[zxu]_/, "");
  const series = [name, gate].find((each) => chosen.part.shown.includes(each));
  if (chosen.way === "forward" && series) choose({ series });
});

for (const id of ["units", "saliency", "gradient", "gates", "states"]) {
  const canvas = byId(id);
  const over = ({ offsetX, offsetY }) => (
    id === "units" ? picks.units.pick(offsetX, offsetY) : [picks[id].scale.at(offsetX), chosen.unit]);
  // what a chart has there
  const values = (step, unit) => {
    const { part, series } = chosen, said = element.bind(null, "div", "");
    if (id === "saliency") return [said(`brings ${signed(scores(part)[step])} to the answer`)];
    if (id === "gradient") {
      return part.states.map((state) => `d${state}`)
        .map((name) => said("length of ", symbol(name, part), ` = ${shown(part.norm(name, step))}`));
    }
    const names = id === "units" ? [series] : part.shown;
    return names.map((name) => said(symbol(name, part), ` = ${shown(part.at(name, step, unit))}`));
  };
  canvas.addEventListener("pointerdown", (event) => {
    const [step, unit] = over(event);
    choose({ step, unit });
  });
  canvas.addEventListener("pointermove", (event) => {
    const [step, unit] = over(event);
    if (event.buttons & 1) return choose({ step, unit });
    hideTip();
    byId("text").children[step].classList.add("near");
    const place = `“${words[step].trim()}”, step ${step + 1}${id === "units" ? `, unit ${unit}` : ""}`;
    showTip(event, [element("div", "", place), ...(chosen.part.place.has(step) ? values(step, unit) : ["padding"])]);
  });
  canvas.addEventListener("pointerleave", hideTip);
}

const moveStep = (by) => choose({ step: Math.max(0, Math.min(chosen.part.T - 1, chosen.step + by)) });
function moveUnit(by) {
  const order = unitsInOrder(), place = order.indexOf(chosen.unit) + by;
  choose({ unit: order[Math.max(0, Math.min(order.length - 1, place))] });
}
const KEYS = {
  ArrowLeft: () => moveStep(-1), ArrowRight: () => moveStep(1),
  ArrowUp: () => moveUnit(-1), ArrowDown: () => moveUnit(1),
  Home: () => moveStep(-Infinity), End: () => moveStep(Infinity),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  hideTip();
  KEYS[event.key]();
  if (byId("text").contains(document.activeElement)) byId("text").children[chosen.step].focus({ preventScroll: true });
});
byId("left").onclick = KEYS.ArrowLeft;
byId("right").onclick = KEYS.ArrowRight;
byId("up").onclick = KEYS.ArrowUp;
byId("down").onclick = KEYS.ArrowDown;
byId("forwards").onclick = () => choose({ way: "forward" });
byId("backwards").onclick = () => choose({ way: "backward" });
byId("sorted").onchange = (event) => choose({ sorted: event.target.checked });
window.addEventListener("resize", () => chosen.part && draw());

// for the browser's console, and for tests
window.walk = {
  chosen: () => ({ ...chosen, part: chosen.part?.name }),
  series: (name) => Array.from(chosen.part.series[name]),
};

start().catch((error) => {
  byId("reads").textContent = `This page cannot be shown: ${error.message}`;
  console.error(error);
});
