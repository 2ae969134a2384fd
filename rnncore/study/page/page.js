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
  choose({ step: strongest, unit: leading(strongest), series: chosen.part.names.includes("f") ? "f" : chosen.part.shown[0] });
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
    const swatch = element("span", "swatch"), button = element("button", "", swatch, symbol(name, part), " ", element("span", "value"));
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
  return sorted && part.place.has(step) ? order.sort((a, b) => part.at(series, step, b) - part.at(series, step, a)) : order;
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
  if (!byId("saliency").hidden) picks.saliency = drawBars(byId("saliency"), scores(part), part, step, "what each word brings to the answer");
  const norms = part.states.map((state) => line(`d${state}`, (t) => part.norm(`d${state}`, t), part.shown.indexOf(state)));
  picks.gradient = drawLines(byId("gradient"), norms, part, step, 50, "length of the gradient that reaches each word", true);
  const own = part.shown.map((name, n) => ({ ...line(name, (t) => part.at(name, t, unit), n), strong: name === series }));
  const open = own.filter(({ name }) => extent(part, name).gate), signed = own.filter(({ name }) => !extent(part, name).gate);
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
  byId("rampkey").textContent = `${shown(low)} or less, to ${shown(high)} or more: ${(chosen.part.meanings[name] || name).split(",")[0]}`;
}

// ---- one step --------------------------------------------------------------------------------------------------

function writeStep() {
  const { part, step, unit, way } = chosen, taken = part.place.has(step);
  byId("word").replaceChildren(`“${words[step].trim() || " "}”`, element("small", "", `step ${step + 1} of ${part.T}`));
  byId("unit").textContent = unit;
  for (const [id, name] of [["forwards", "forward"], ["backwards", "backward"]]) byId(id).setAttribute("aria-selected", way === name);
  byId("says").replaceChildren(...(taken ? sentences() : []));
  byId("unusual").replaceChildren(...(taken ? unusual() : []));
  byId("lines").replaceChildren(...(taken ? (way === "forward" ? forwardLines() : backwardLines())
    : [element("div", "padded", "This step is padding: the layer skips it, and its states stay as they were.")]));
  for (const canvas of byId("lines").querySelectorAll("canvas")) canvas.paint();
}

// What a layer reads: the word, or what the layer below makes of it.
const read = (part, word) => (part.above ? "the layer below" : word);
const bold = (value) => element("b", "", typeof value === "number" ? shown(value) : value);
const signed = (value) => `${value < 0 ? "" : "+"}${shown(value)}`;

function sentences() {
  const { part, step, unit, series } = chosen, values = part.values(step, unit);
  const called = () => symbol(series, part), meaning = (part.meanings[series] ?? "").split(",")[0], note = part.notes[series];
  const whole = part.taken.reduce((sum, t) => sum + part.mean(series, t), 0) / part.taken.length;
  const first = element("p", "", "Here ", meaning ? `the ${meaning} ` : "", called(), " of unit ", bold(String(unit)), " is ",
    bold(values[series]), `; over the text it is ${shown(part.usual(series, unit))} on average`,
    note && note !== `the ${meaning}` ? ` (${note}).` : ".");
  const feed = part.feeds.find((each) => each.name === `z_${series}`);
  const second = element("p");
  if (feed) {
    second.append("Why: ", symbol(feed.name, part), " is ", bold(values[feed.name]));
    feed.terms.forEach((term, n) => second.append(n ? ", " : ": ",
      term.source === "x" ? read(part, "this word") : symbolOf(term.source, part), " brings ", bold(signed(sum(part.products(term, step, unit))))));
    second.append(", the bias ", bold(signed(part.bias(feed, unit))), ".");
  } else {
    const own = part.stages.flatMap((stage) => stage.forward).filter((each) => each.name === series).pop();
    const split = terms(own.value, "+");
    if (split.length > 1) {
      second.append("Why: ");
      split.forEach(([sign, tree], n) => second.append(n ? ", " : "", formula(tree, part), " brings ",
        bold(signed(sign * compiled(tree, part.functions)(values)))));
      second.append(".");
    }
  }
  if (chosen.way === "backward") {
    const each = (ending, sums) => part.states.flatMap((state, n) => [n ? ", " : "", bold(signed(sums(state))), " for ", symbol(state + ending, part)]);
    return [element("p", "", `For each 1 that a state of unit ${unit} rises here, the answer changes by `,
      ...each("", (state) => part.at(`d${state}`, step, unit)), part.previous(step) === undefined ? "" : "; one step before, by ",
      ...(part.previous(step) === undefined ? [] : each("_prev", (state) => values[`d${state}_prev`])), ".")];
  }
  const third = element("p", "note", "All units: ", called(), " is ", shown(part.mean(series, step)),
    ` on average here, ${shown(whole)} over the text.`);
  return second.childNodes.length ? [first, second, third] : [first, third];
}

const sum = (products) => products.reduce((total, [a, b]) => total + a * b, 0);

function symbolOf(source, part) {
  return element("span", "", "the state before, ", symbol(source, part), ",");
}

// Buttons to the units that are furthest from what they usually are.
function unusual() {
  const { part, step, series } = chosen, off = (u) => Math.abs(part.at(series, step, u) - part.usual(series, u));
  const found = Array.from({ length: part.H }, (_, u) => u).sort((a, b) => off(b) - off(a)).slice(0, 4);
  return [element("span", "", "Unusual units here:"), ...found.map((u) => {
    const button = element("button", "", `${u}: ${shown(part.at(series, step, u))}`);
    button.onclick = () => choose({ unit: u });
    return button;
  })];
}

function group(...children) {
  return element("div", "group", ...children);
}

function forwardLines() {
  const { part, step, unit } = chosen, found = [], values = part.values(step, unit);
  for (const stage of part.stages) {
    for (const feed of stage.feeds) {
      const all = feed.terms.map((term) => part.products(term, step, unit));
      const gate = feed.name.slice(2);
      const letter = (term) => (term.weight === "kernel" ? "W" : term.weight === "recurrent_kernel" ? "U" : "V");
      const label = (term) => element("span", "", symbol(term.source, part), "·", symbol(`${letter(term)}_${gate}`, part));
      const columns = feed.terms.map((term, n) => column(label(term), shown(sum(all[n])), () => [
        top(all[n], (k) => entry(term.source, k, `${letter(term)}_${gate}`), part)]));
      const bias = part.bias(feed, unit);
      const line = element("div", "equation", column(symbol(feed.name, part), shown(values[feed.name]), () => [tally([
        ...feed.terms.map((term, n) => [label(term), sum(all[n])]), [symbol(`b_${gate}`, part), bias],
      ], values[feed.name], "sum")], "left"), column("=", "=", null, "sign"));
      columns.forEach((each, n) => line.append(...(n ? [column(" + ", " + ", null, "sign")] : []), each));
      if (part.arrays.bias) line.append(column(" + ", " + ", null, "sign"), column(symbol(`b_${gate}`, part), shown(bias), () => ["the bias, the same at every word"]));
      line.dataset.name = feed.name;
      line.classList.add("feed");
      found.push(line);
      if (part.feeds.length < 3 || gate === chosen.series) found.push(strip(feed.terms.map((term, n) => ({
        title: `${term.source === "x" ? read(part, "the word") : term.source.replace("_prev", " before")}: ${all[n].length} products`,
        products: all[n], name: (k) => entry(term.source, k, `${letter(term)}_${gate}`),
        go: term.source === "x" || part.previous(step) === undefined ? null : (k) => ({ step: part.previous(step), unit: k }),
      }))));
    }
    const now = { ...values };
    for (const each of stage.forward) {
      const line = equation(each.name, each.value, part, now, each.compiled(now)), [only, more] = new Set(namesIn(each.value));
      const beside = more === undefined && found.find((other) => other.dataset.name === only && other.classList.contains("feed"));
      line.dataset.name = each.name;
      if (beside) beside.append(line);
      else found.push(line);
      now[each.name] = each.compiled(now);
    }
  }
  return found;
}

// How an entry of a product is called: h of unit k before, times U.
function entry(source, k, weight) {
  const { part, unit } = chosen;
  return element("span", "", symbol(source, part), `[${k}] · `, symbol(weight, part), `[${k}, ${unit}]`);
}

// The largest products of many, what the others make together, and the sum.
function top(products, name, part) {
  const order = products.map((_, n) => n).sort((a, b) => Math.abs(products[b][0] * products[b][1]) - Math.abs(products[a][0] * products[a][1]));
  const shownOnes = order.slice(0, 6), rest = order.slice(6), total = sum(products);
  const lines = shownOnes.map((n) => [[name(n), ` = ${products[n].map(shown).join(" · ")}`], products[n][0] * products[n][1]]);
  if (rest.length) lines.push([`${rest.length} others`, sum(rest.map((n) => products[n]))]);
  return tally(lines, total, "sum");
}

// A strip of bars, a product each; `go` says where a click leads.
function strip(segments) {
  const canvas = element("canvas", "products");
  let bars = [];
  canvas.paint = () => {
    bars = drawProducts(canvas, segments.map(({ title, products }) => ({ title, sizes: products.map(([a, b]) => a * b) })));
  };
  const hit = (event) => bars.find(([from, to]) => event.offsetX >= from && event.offsetX < to);
  canvas.onpointermove = (event) => {
    const bar = hit(event);
    if (!bar) return hideTip();
    const [, , segment, n] = bar, [a, b] = segments[segment].products[n];
    const cells = tally([[segments[segment].name(n).firstChild.cloneNode(true), a], ["weight", b]], a * b, "product");
    showTip(event, [segments[segment].name(n), cells, ...(segments[segment].go ? [element("div", "note", `click: to unit ${n} there`)] : [])]);
  };
  canvas.onpointerleave = hideTip;
  canvas.onclick = (event) => {
    const bar = hit(event), go = bar && segments[bar[2]].go;
    if (go) choose(go(bar[3]));
  };
  return canvas;
}

function backwardLines() {
  const { part, step, unit } = chosen, found = [], values = part.values(step, unit);
  const arrow = part.backwards ? "the word before" : "the next word";
  for (const state of part.states) {
    const [outside, later] = part.arrives(state, step, unit), name = `d${state}`;
    const line = element("div", "equation", column(symbol(name, part), shown(values[name]), () => named(name, values[name], part), "left"),
      column("=", "=", null, "sign"));
    line.append(column(element("span", "words", "from the output"), shown(outside), () => ["what the layers above, and the answer, ask of this step"]),
      column(" + ", " + ", null, "sign"),
      column(element("span", "words", `from ${arrow}`), shown(later), () => ["what came back from the step that is taken after this one"]));
    line.dataset.name = name;
    found.push(line);
  }
  const now = { ...values };
  let together;
  for (const stage of [...part.stages].reverse()) {
    for (const name of stage.given) if (part.between.includes(name.slice(1)) && name.startsWith("d")) now[name] = part.at(name, step, unit);
    for (const each of stage.backward) {
      if (each.comment || each === stage.backward[0]) {
        together = element("div", "together");
        found.push(group(...(each.comment ? ["from ", comment(each.comment, part)] : [])), together);
      }
      const value = each.compiled(now), line = equation(each.name, each.value, part, now, value);
      line.dataset.name = each.name;
      together.append(line);
      now[each.name] = value;
    }
    const inner = new Set(stage.feeds.flatMap((feed) => feed.terms.map((term) => term.source)));
    for (const source of part.between.filter((each) => inner.has(each))) found.push(...toSource(source));
  }
  for (const state of part.states) {
    const source = `${state}_prev`;
    if (part.feeds.some((feed) => feed.terms.some((term) => term.source === source))) found.push(...toSource(source));
  }
  const dx = part.feeds.flatMap((feed) => feed.terms.filter((term) => term.source === "x").map((term) => [feed, term]));
  const x = part.row("x", step), gradient = Array.from(x, (_, n) => dx.reduce((total, [feed, term]) => total + sum(part.productsBack(feed, term, step, n)), 0));
  found.push(group(`to ${read(part, "the word itself")}, from all units`), element("div", "wide", "The gradient of its vector has length ",
    bold(Math.hypot(...gradient)), "; times the vector it makes ", bold(x.reduce((total, value, n) => total + value * gradient[n], 0)), "."));
  return found;
}

// The gradient of what products read: through each gate's weights, from all units; and what came directly.
function toSource(source) {
  const { part, step, unit } = chosen, name = `d${source}`, pairs = part.feeds.flatMap((feed) =>
    feed.terms.filter((term) => term.source === source).map((term) => [feed, term, part.productsBack(feed, term, step, unit)]));
  const own = part.stages.some((stage) => stage.returns.includes(name)) ? part.at(`${name} by step`, step, unit) : null;
  const letter = (term) => (term.weight === "recurrent_kernel" ? "U" : "V");
  const label = (feed, term) => element("span", "", symbol(`d${feed.name}`, part), "·", symbol(`${letter(term)}_${feed.name.slice(2)}`, part), element("sup", "", "T"));
  const total = pairs.reduce((all, [, , products]) => all + sum(products), own ?? 0);
  const columns = [...(own === null ? [] : [[element("span", "words", "directly"), own, null]]), ...pairs.map(([feed, term, products]) => [label(feed, term), sum(products),
    () => [top(products, (k) => back(feed, term, k), part)]])];
  const line = element("div", "equation", column(symbol(name, part), shown(total), () => [tally(columns.map(([text, value]) =>
    [typeof text === "string" ? text : text.cloneNode(true), value]), total, "sum")], "left"), column("=", "=", null, "sign"));
  columns.forEach(([text, value, detail], n) => line.append(...(n ? [column(" + ", " + ", null, "sign")] : []), column(text, shown(value), detail)));
  line.dataset.name = name;
  const back = (feed, term, k) => element("span", "", symbol(`d${feed.name}`, part), `[${k}] · `, symbol(`${letter(term)}_${feed.name.slice(2)}`, part), `[${unit}, ${k}]`);
  return [group(source.endsWith("_prev") ? "back to the step before, through all units" : "back within the step"), line, strip(pairs.map(([feed, term, products]) => ({
    title: feed.name.slice(2), products, name: (k) => back(feed, term, k), go: (k) => ({ unit: k }),
  })))];
}

// ---- the ways to choose ----------------------------------------------------------------------------------------

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
  const over = (event) => (id === "units" ? picks.units.pick(event.offsetX, event.offsetY) : [picks[id].scale.at(event.offsetX), chosen.unit]);
  canvas.addEventListener("pointerdown", (event) => {
    const [step, unit] = over(event);
    choose({ step, unit });
  });
  canvas.addEventListener("pointermove", (event) => {
    const [step, unit] = over(event), part = chosen.part;
    if (event.buttons & 1) return choose({ step, unit });
    hideTip();
    byId("text").children[step].classList.add("near");
    const head = element("div", "", `“${words[step].trim()}”, step ${step + 1}${id === "units" ? `, unit ${unit}` : ""}`);
    if (!part.place.has(step)) return showTip(event, [head, "padding"]);
    const names = { units: [chosen.series], gradient: part.states.map((state) => `d${state}`) }[id] ?? part.shown;
    const lines = id === "saliency" ? [element("div", "", `brings ${signed(scores(part)[step])} to the answer`)]
      : names.map((name) => element("div", "", ...(id === "gradient" ? ["length of ", symbol(name, part)] : [symbol(name, part)]), ` = ${shown(id === "gradient" ? part.norm(name, step) : part.at(name, step, unit))}`));
    showTip(event, [head, ...lines]);
  });
  canvas.addEventListener("pointerleave", hideTip);
}

const moveStep = (by) => choose({ step: Math.max(0, Math.min(chosen.part.T - 1, chosen.step + by)) });
function moveUnit(by) {
  const order = unitsInOrder(), place = order.indexOf(chosen.unit) + by;
  choose({ unit: order[Math.max(0, Math.min(order.length - 1, place))] });
}
const KEYS = {
  ArrowLeft: () => moveStep(-1), ArrowRight: () => moveStep(1), ArrowUp: () => moveUnit(-1), ArrowDown: () => moveUnit(1),
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
