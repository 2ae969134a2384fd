// Formulas: a cell's equations, set in symbols with their numbers below.

function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// A number for the eye: two or three digits, or a power of ten.
function shown(value) {
  const size = Math.abs(value);
  let text;
  if (size === 0) text = "0";
  else if (size >= 1e5 || size < 1e-3) {
    const [digits, power] = value.toExponential(1).split("e");
    text = `${digits}e${power.replace("+", "")}`;
  } else text = value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : size >= 0.01 ? 3 : 4);
  return text.replaceAll("-", "−");
}

// Whether a name is that of a gradient: dz_f, and not a value of the user's called delta.
function isGradient(name, part) {
  return !part.names.includes(name) && name.startsWith("d") && part.names.includes(name.slice(1));
}

// A name as it is written by hand: z_f with an index, c_prev as that of the step before.
function symbol(name, part) {
  const gradient = isGradient(name, part);
  const [head, ...rest] = (gradient ? name.slice(1) : name).split("_");
  let index = rest.join("_");
  if (index === "prev") index = part.backwards ? "t+1" : "t−1";
  else if (!index && [...part.states, "x"].includes(head)) index = "t";
  const made = element("span", "symbol", ...(gradient ? [element("span", "grad", "d")] : []), element("i", "", head));
  if (index) made.append(element("sub", "", index));
  return made;
}

const FUNCTIONS = { sigmoid: "σ" };
const SIGNS = { "*": "·", "-": "−", "&": "and", "|": "or", ">=": "≥", "<=": "≤", "!=": "≠", "==": "=" };
// how tightly an operator binds; names, numbers and calls do not come apart
const BINDS = { "&": 0, "|": 0, ">": 1, ">=": 1, "<": 1, "<=": 1, "==": 1, "!=": 1,
  "+": 2, "-": 2, neg: 2, "*": 3, "/": 3, "**": 4 };

function binds(tree) {
  return Array.isArray(tree) ? BINDS[tree[0]] ?? 9 : 9;
}

const details = new WeakMap(); // what a hover shows, by element

// A column of a formula: what is written above, its number below.
function column(above, below, detail = null, className = "") {
  const made = element("span", `column ${className}`, element("span", "above", above), element("span", "below", below));
  if (detail) {
    made.classList.add("node");
    details.set(made, detail);
  }
  return made;
}

// A tree, with numbers where `values` has them, else in symbols only.
function formula(tree, part, values = null) {
  const sign = (text) => (values ? column(text, text, null, "sign") : element("span", "sign", text));
  const inner = (child, outer, right) => {
    const made = formula(child, part, values);
    const looser = binds(child) < outer || (right && binds(child) === outer);
    return looser ? element("span", "", sign("("), made, sign(")")) : made;
  };
  if (typeof tree === "number") return sign(shown(tree).replace(/\.?0+$/, "") || "0");
  if (typeof tree === "string") {
    if (!values) return symbol(tree, part);
    return column(symbol(tree, part), shown(values[tree]), () => named(tree, values[tree], part));
  }
  const [head, ...rest] = tree;
  const made = element("span", "tree");
  if (head === "neg") made.append(sign("−"), inner(rest[0], 3));
  else if (head in BINDS) {
    const own = binds(tree), mark = SIGNS[head] ?? head;
    const strict = head === "-" || head === "/" || head === "**";
    made.append(inner(rest[0], own), sign(own === 3 ? mark : ` ${mark} `), inner(rest[1], own, strict));
  } else {
    made.append(sign(`${FUNCTIONS[head] ?? head.replace(/^np\./, "")}(`));
    rest.forEach((child, n) => made.append(...(n ? [sign(", ")] : []), formula(child, part, values)));
    made.append(sign(")"));
  }
  if (values) {
    const kept = { ...values };
    made.classList.add("node");
    details.set(made, () => explained(tree, kept, part));
  }
  return made;
}

// One line of a cell: name = tree, with numbers. `values` has the name's own after it.
function equation(name, tree, part, before, value) {
  const line = element("div", "equation",
    column(symbol(name, part), shown(value), () => named(name, value, part), "left"),
    column("=", "=", null, "sign"), formula(tree, part, before));
  line.dataset.name = name;
  return line;
}

function named(name, value, part) {
  return [element("div", "", symbol(name, part), ` = ${shown(value)}`), element("div", "note", about(name, part))];
}

// What a name means, and what the cell's own file says of it.
function about(name, part) {
  if (isGradient(name, part)) return "by how much the answer rises, for each 1 that this rises";
  const own = part.notes[name] ?? "", meaning = part.meanings[name] ?? "";
  return !own || own.includes(meaning) ? own || meaning : meaning ? `${meaning}: ${own}` : own;
}

// The names that a tree reads.
function namesIn(tree) {
  return typeof tree === "string" ? [tree] : Array.isArray(tree) ? tree.slice(1).flatMap(namesIn) : [];
}

function terms(tree, head, sign = 1) {
  if (Array.isArray(tree) && head === "+" && tree.length === 3 && (tree[0] === "+" || tree[0] === "-")) {
    return [...terms(tree[1], head, sign), ...terms(tree[2], head, tree[0] === "-" ? -sign : sign)];
  }
  if (Array.isArray(tree) && head === "*" && tree[0] === "*") return [...terms(tree[1], head), ...terms(tree[2], head)];
  return [[sign, tree]];
}

// What a hover over a part of a formula shows: its terms or factors, and what they make.
function explained(tree, values, part) {
  const value = (each) => compiled(each, part.functions)(values);
  const head = tree[0] === "-" ? "+" : tree[0];
  if (head === "+" || head === "*") {
    const lines = terms(tree, head).map(([sign, each]) =>
      [[...(sign < 0 ? ["− "] : []), formula(each, part)], sign * value(each)]);
    return [tally(lines, value(tree), head === "+" ? "sum" : "product")];
  }
  const own = Object.hasOwn(part.functions, head) ? part.functions[head] : null;
  const lines = [element("div", "", formula(tree, part), ` = ${shown(value(tree))}`)];
  if (own && !["tanh", "linear"].includes(head)) {
    lines.push(element("div", "note", `${FUNCTIONS[head] ?? head}(${own.of}) = `, formula(own.value, part)));
  }
  return lines;
}

// A table of numbers with what they make: `kind` "sum" or "product".
function tally(lines, total, kind) {
  const table = element("table", "tally");
  table.dataset.kind = kind;
  for (const [label, value] of lines) {
    const cell = element("td", "number", shown(value));
    cell.dataset.value = value;
    table.append(element("tr", "", element("td", "", ...(Array.isArray(label) ? label : [label])), cell));
  }
  const cell = element("td", "number", shown(total));
  cell.dataset.value = total;
  table.append(element("tr", "total", element("td", "", kind), cell));
  return table;
}

// A comment of the source, `c = i * k + f * c_prev`, in symbols.
function comment(text, part) {
  const made = element("span", "quoted");
  for (const piece of text.split(/([A-Za-z_]\w*)/)) {
    const known = /^[A-Za-z_]/.test(piece) && (part.names.includes(piece) || piece.endsWith("_prev"));
    const plain = Object.hasOwn(FUNCTIONS, piece) ? FUNCTIONS[piece] : piece.replaceAll(" * ", "·");
    made.append(known ? symbol(piece, part) : plain);
  }
  return made;
}
