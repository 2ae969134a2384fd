// One step of one unit: in sentences, and as equations with their numbers, forward and backward.

function writeStep() {
  const { part, step, unit, way } = chosen, taken = part.place.has(step);
  const place = element("small", "", `step ${step + 1} of ${part.T}`);
  byId("word").replaceChildren(`“${words[step].trim() || " "}”`, place);
  byId("unit").textContent = unit;
  byId("forwards").setAttribute("aria-selected", way === "forward");
  byId("backwards").setAttribute("aria-selected", way === "backward");
  const lines = way === "forward" ? forwardLines : backwardLines, said = way === "forward" ? sentences : rises;
  const padding = element("div", "padded", "This step is padding: the layer skips it, its states stay as they were.");
  byId("says").replaceChildren(...(taken ? said() : []));
  byId("unusual").replaceChildren(...(taken ? unusual() : []));
  byId("lines").replaceChildren(...(taken ? lines() : [padding]));
  for (const canvas of byId("lines").querySelectorAll("canvas")) canvas.paint();
}

// What a layer reads: the word, or what the layer below makes of it.
const read = (part, word) => (part.above ? "the layer below" : word);
const bold = (value) => element("b", "", typeof value === "number" ? shown(value) : value);
const signed = (value) => `${value < 0 ? "" : "+"}${shown(value)}`;
const sum = (products) => products.reduce((total, [a, b]) => total + a * b, 0);

// What the chosen gate or state is here, and why.
function sentences() {
  const { part, step, unit, series } = chosen, values = part.values(step, unit), called = () => symbol(series, part);
  const meaning = (part.meanings[series] ?? "").split(",")[0], note = part.notes[series];
  const first = element("p", "", "Here ", meaning ? `the ${meaning} ` : "", called(), " of unit ", bold(String(unit)),
    " is ", bold(values[series]), `; over the text it is ${shown(part.usual(series, unit))} on average`,
    note && note !== `the ${meaning}` ? ` (${note}).` : ".");
  const whole = part.taken.reduce((total, t) => total + part.mean(series, t), 0) / part.taken.length;
  const last = element("p", "note", "All units: ", called(), ` is ${shown(part.mean(series, step))} on average here, `,
    `${shown(whole)} over the text.`);
  const feed = part.feedOf(series);
  const brought = feed ? [
    ...feed.terms.map((term) => [source(term, part), sum(part.products(term, step, unit))]),
    ["the bias", part.bias(feed, unit)],
  ] : terms(part.line(series).value, "+").map(([sign, tree]) =>
    [formula(tree, part), sign * compiled(tree, part.functions)(values)]);
  if (brought.length < 2) return [first, last];
  const made = feed ? [symbol(feed.name, part), " is ", bold(values[feed.name]), ": "] : [];
  const why = element("p", "", "Why: ", ...made);
  brought.forEach(([what, value], n) => why.append(n ? ", " : "", what, " brings ", bold(signed(value))));
  why.append(".");
  return [first, why, last];
}

function source(term, part) {
  return term.source === "x" ? read(part, "this word")
    : element("span", "", "the state before, ", symbol(term.source, part), ",");
}

// What the gradients of the states say.
function rises() {
  const { part, step, unit } = chosen, values = part.values(step, unit);
  const each = (ending, value) => part.states.flatMap((state, n) =>
    [n ? ", " : "", bold(signed(value(state))), " for ", symbol(state + ending, part)]);
  const before = part.previous(step) === undefined ? []
    : ["; one step before, by ", ...each("_prev", (state) => values[`d${state}_prev`])];
  return [element("p", "", `For each 1 that a state of unit ${unit} rises here, the answer changes by `,
    ...each("", (state) => part.at(`d${state}`, step, unit)), ...before, ".")];
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

// A line name = one + other + …, of [what, value, detail].
function added(name, total, columns) {
  const copies = () => columns.map(([what, value]) => [what.cloneNode(true), value]);
  const detail = columns.length > 1 ? () => [tally(copies(), total, "sum")] : null;
  const line = element("div", "equation", column(symbol(name, chosen.part), shown(total), detail, "left"),
    column("=", "=", null, "sign"));
  columns.forEach(([what, value, of], n) => {
    if (n) line.append(column(" + ", " + ", null, "sign"));
    line.append(column(what, shown(value), of));
  });
  line.dataset.name = name;
  return line;
}

// The weights of a product, W for the input, U for the state; a cell's further ones V.
function weight(feed, term) {
  return `${{ kernel: "W", recurrent_kernel: "U" }[term.weight] ?? "V"}_${feed.name.slice(2)}`;
}

// A product, or an entry of it: h of unit k before, times U.
function product(left, right, first = "", second = "") {
  const { part } = chosen;
  return element("span", "", symbol(left, part), first, first ? " · " : "·", symbol(right, part), second);
}

function forwardLines() {
  const { part, step, unit, series } = chosen, found = [], values = part.values(step, unit);
  for (const stage of part.stages) {
    for (const feed of stage.feeds) {
      const segments = feed.terms.map((term) => {
        const products = part.products(term, step, unit), before = part.previous(step);
        const title = term.source === "x" ? read(part, "the word") : term.source.replace("_prev", " before");
        return {
          title: `${title}: ${products.length} products`, products,
          name: (k) => product(term.source, weight(feed, term), `[${k}]`, `[${k}, ${unit}]`),
          go: term.source === "x" || before === undefined ? null : (k) => ({ step: before, unit: k }),
        };
      });
      const columns = feed.terms.map((term, n) =>
        [product(term.source, weight(feed, term)), sum(segments[n].products), () => [top(segments[n])]]);
      const gate = feed.name.slice(2);
      const bias = [symbol(`b_${gate}`, part), part.bias(feed, unit), () => ["the same at every step"]];
      const line = added(feed.name, values[feed.name], part.arrays.bias ? [...columns, bias] : columns);
      line.classList.add("feed");
      found.push(line);
      if (part.feeds.length < 3 || gate === series || feed === part.feedOf(series)) found.push(strip(segments));
    }
    const now = { ...values };
    for (const each of stage.forward) {
      const value = each.compiled(now), line = equation(each.name, each.value, part, now, value);
      const [only, more] = new Set(namesIn(each.value));
      const beside = more === undefined && found.find((other) => other.matches(`.feed[data-name="${only}"]`));
      if (beside) beside.append(line);
      else found.push(line);
      now[each.name] = value;
    }
  }
  return found;
}

// The largest products of many, what the others make together, and the sum.
function top({ products, name }) {
  const sizes = products.map(([a, b]) => a * b), order = sizes.map((_, n) => n);
  order.sort((a, b) => Math.abs(sizes[b]) - Math.abs(sizes[a]));
  const lines = order.slice(0, 6).map((n) => [[name(n), ` = ${products[n].map(shown).join(" · ")}`], sizes[n]]);
  const rest = order.slice(6);
  if (rest.length) lines.push([`${rest.length} others`, sum(rest.map((n) => products[n]))]);
  return tally(lines, sum(products), "sum");
}

// A strip of bars, a product each; `go` says where a click leads.
function strip(segments) {
  const canvas = element("canvas", "products");
  let bars = [];
  canvas.paint = () => {
    const sizes = (products) => products.map(([a, b]) => a * b);
    bars = drawProducts(canvas, segments.map(({ title, products }) => ({ title, sizes: sizes(products) })));
  };
  const hit = (event) => bars.find(([from, to]) => event.offsetX >= from && event.offsetX < to);
  canvas.onpointermove = (event) => {
    const bar = hit(event);
    if (!bar) return hideTip();
    const { products, name, go } = segments[bar[2]], n = bar[3], [a, b] = products[n];
    const factors = tally([[name(n).firstChild.cloneNode(true), a], ["weight", b]], a * b, "product");
    return showTip(event, [name(n), factors, ...(go ? [element("div", "note", `click: to unit ${n} there`)] : [])]);
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
  const text = (what) => element("span", "words", what);
  for (const state of part.states) {
    const [outside, later] = part.arrives(state, step, unit), name = `d${state}`;
    const next = [text(part.backwards ? "from the word before" : "from the next word"), later,
      () => ["what came back from the step that is taken after this one"]];
    const output = [text("from the output"), outside, () => ["what the layers above, and the answer, ask of it"]];
    found.push(added(name, values[name], state === part.states[0] ? [output, next] : [next]));
  }
  const now = { ...values };
  for (const stage of [...part.stages].reverse()) {
    let together;
    for (const each of stage.backward) {
      if (each.comment || !together) {
        together = element("div", "together");
        found.push(group(...(each.comment ? ["from ", comment(each.comment, part)] : [])), together);
      }
      const value = each.compiled(now);
      together.append(equation(each.name, each.value, part, now, value));
      now[each.name] = value;
    }
    const sources = new Set(stage.feeds.flatMap((feed) => feed.terms.map((term) => term.source)));
    found.push(...part.between.filter((each) => sources.has(each)).flatMap(toSource));
  }
  const sources = new Set(part.feeds.flatMap((feed) => feed.terms.map((term) => term.source)));
  found.push(...part.states.map((state) => `${state}_prev`).filter((each) => sources.has(each)).flatMap(toSource));
  const pairs = readers("x"), x = part.row("x", step);
  const dx = Array.from(x, (_, n) =>
    pairs.reduce((total, [feed, term]) => total + sum(part.productsBack(feed, term, step, n)), 0));
  found.push(group(`to ${read(part, "the word itself")}, from all units`), element("div", "wide",
    "The gradient of its vector has length ", bold(Math.hypot(...dx)), "; times the vector it makes ",
    bold(x.reduce((total, value, n) => total + value * dx[n], 0)), "."));
  return found;
}

// The pre-activations, and their terms, that read a source.
function readers(source) {
  const pairs = chosen.part.feeds.flatMap((feed) => feed.terms.map((term) => [feed, term]));
  return pairs.filter(([, term]) => term.source === source);
}

// The gradient of what products read: through each gate's weights, from all units; and what came directly.
function toSource(source) {
  const { part, step, unit } = chosen, name = `d${source}`, directly = element("span", "words", "directly");
  const segments = readers(source).map(([feed, term]) => ({
    title: feed.name.slice(2), products: part.productsBack(feed, term, step, unit), go: (k) => ({ unit: k }),
    name: (k) => product(`d${feed.name}`, weight(feed, term), `[${k}]`, `[${unit}, ${k}]`),
    label: element("span", "", product(`d${feed.name}`, weight(feed, term)), element("sup", "", "T")),
  }));
  const columns = segments.map((each) => [each.label, sum(each.products), () => [top(each)]]);
  if (part.stages.some((stage) => stage.returns.includes(name))) {
    columns.unshift([directly, part.at(`${name} by step`, step, unit)]);
  }
  const total = columns.reduce((all, [, value]) => all + value, 0);
  return [group(source.endsWith("_prev") ? "back to the step before, through all units" : "back within the step"),
    added(name, total, columns), strip(segments)];
}
