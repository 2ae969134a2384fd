// Numbers: what was packed, and all the rest, computed from it by the cell's own equations.

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// A number of half precision from its 16 bits.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => half(bits));

// An array [offset, rows, columns] of the pack: a scale a row, then halves.
function matrix(buffer, [offset, rows, columns]) {
  const scales = new Float32Array(buffer, offset, rows);
  const halves = new Uint16Array(buffer, offset + 4 * rows, rows * columns);
  const data = Float32Array.from(halves, (bits, n) => HALVES[bits] * scales[Math.floor(n / columns)]);
  return { data, rows, columns };
}

const OPERATIONS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "**": (a, b) => a ** b,
  "&": (a, b) => a & b, "|": (a, b) => a | b, ">": (a, b) => +(a > b), ">=": (a, b) => +(a >= b),
  "<": (a, b) => +(a < b), "<=": (a, b) => +(a <= b), "==": (a, b) => +(a === b), "!=": (a, b) => +(a !== b),
  neg: (a) => -a, "np.absolute": Math.abs, "np.maximum": Math.max, "np.minimum": Math.min,
  "np.copysign": (a, b) => (b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a)),
  "np.square": (a) => a * a, "np.where": (a, b, c) => (a ? b : c),
};
for (const name of ["cos", "exp", "expm1", "log", "log1p", "sign", "sin", "sqrt", "tanh"]) {
  OPERATIONS[`np.${name}`] = Math[name];
}

// A tree as a function of its names' values.
function compiled(tree, functions) {
  if (typeof tree === "number") return () => tree;
  if (typeof tree === "string") return (values) => values[tree];
  const [head, ...rest] = tree;
  const [a, b, c] = rest.map((part) => compiled(part, functions));
  const own = Object.hasOwn(functions, head) ? functions[head] : null;
  if (own) {
    own.compiled ??= compiled(own.value, functions);
    return (values) => own.compiled({ [own.of]: a(values) });
  }
  const operation = OPERATIONS[head];
  if (rest.length === 1) return (values) => operation(a(values));
  if (rest.length === 2) return (values) => operation(a(values), b(values));
  return (values) => operation(a(values), b(values), c(values));
}

// One cell of one layer: T steps in the order of the words, H units, D inputs.
class Part {
  constructor(spec, buffer) {
    Object.assign(this, spec);
    this.arrays = Object.fromEntries(Object.entries(spec.arrays).map(([name, at]) => [name, matrix(buffer, at)]));
    [this.T, this.D] = [this.arrays.x.rows, this.arrays.x.columns];
    this.stages = spec.equations.stages;
    this.functions = spec.equations.functions;
    this.feeds = this.stages.flatMap((stage) => stage.feeds);
    const steps = Array.from({ length: this.T }, (_, t) => t).filter((t) => this.mask[t] === "1");
    this.taken = this.backwards ? steps.reverse() : steps; // in the order in which they are taken
    this.place = new Map(this.taken.map((t, n) => [t, n]));
    this.series = {}; // by name: what each step and unit has, T * H
    for (const stage of this.stages) {
      for (const line of [...stage.forward, ...stage.backward]) line.compiled = compiled(line.value, this.functions);
    }
    for (const state of this.states) {
      this.series[`${state}_prev`] = this.arrays[`${state}_prev`].data;
      this.series[`d${state}`] = this.arrays[`d${state}`].data.slice();
    }
    for (const t of this.taken) this.forward(t);
    for (const t of [...this.taken].reverse()) this.backward(t);
  }

  at(name, t, unit) {
    return this.series[name][t * this.H + unit];
  }

  row(name, t) {
    return name === "x" ? this.arrays.x.data.subarray(t * this.D, (t + 1) * this.D)
      : this.series[name].subarray(t * this.H, (t + 1) * this.H);
  }

  made(name) {
    return (this.series[name] ??= new Float32Array(this.T * this.H));
  }

  // The line of the equations that makes a value.
  line(name) {
    return this.stages.flatMap((stage) => stage.forward).findLast((line) => line.name === name);
  }

  // The pre-activation that alone makes a value, if there is one: z_f of f.
  feedOf(name) {
    const [only, more] = new Set(namesIn(this.line(name).value));
    return more === undefined ? this.feeds.find((feed) => feed.name === only) : undefined;
  }

  previous(t) {
    return this.taken[this.place.get(t) - 1];
  }

  next(t) {
    return this.taken[this.place.get(t) + 1];
  }

  bias(feed, unit) {
    const { data, columns } = this.arrays.bias ?? { data: [], columns: 0 };
    return feed.bias.reduce((sum, row) => sum + (data[row * columns + feed.block * this.H + unit] ?? 0), 0);
  }

  // The products that are added up in one unit's pre-activation: source times weight, one an entry of the source.
  products(term, t, unit) {
    const weight = this.arrays[term.weight], source = this.row(term.source, t), column = term.block * this.H + unit;
    return Array.from(source, (value, n) => [value, weight.data[n * weight.columns + column]]);
  }

  forward(t) {
    const H = this.H, values = {};
    for (const stage of this.stages) {
      for (const feed of stage.feeds) {
        this.made(feed.name);
        const z = this.row(feed.name, t);
        for (let unit = 0; unit < H; unit++) z[unit] = this.bias(feed, unit);
        for (const term of feed.terms) {
          const source = this.row(term.source, t), { data, columns } = this.arrays[term.weight];
          for (let n = 0; n < source.length; n++) {
            const begin = n * columns + term.block * H;
            for (let unit = 0; unit < H; unit++) z[unit] += source[n] * data[begin + unit];
          }
        }
      }
      for (const line of stage.forward) this.made(line.name);
      for (let unit = 0; unit < H; unit++) {
        for (const name in this.series) values[name] = this.series[name][t * H + unit];
        for (const line of stage.forward) {
          this.series[line.name][t * H + unit] = values[line.name] = line.compiled(values);
        }
      }
    }
  }

  backward(t) {
    const H = this.H, values = {};
    const sums = [...this.states.map((state) => `d${state}_prev`), ...this.between.map((name) => `d${name}`)];
    for (const name of sums) {
      this.made(name);
      this.made(`${name} by step`);
    }
    for (const stage of [...this.stages].reverse()) {
      for (const name of stage.returns) this.made(name);
      for (let unit = 0; unit < H; unit++) {
        for (const name of stage.given) values[name] = this.series[name][t * H + unit];
        for (const line of stage.backward) values[line.name] = line.compiled(values);
        for (const name of stage.returns) {
          const at = t * H + unit, sum = sums.includes(name);
          this.series[name][at] = sum ? this.series[name][at] + values[name] : values[name];
          if (sum) this.series[`${name} by step`][at] += values[name];
        }
      }
      for (const feed of stage.feeds) {
        const dz = this.row(`d${feed.name}`, t);
        for (const term of feed.terms.filter((each) => each.source !== "x")) {
          const to = this.row(`d${term.source}`, t), { data, columns } = this.arrays[term.weight];
          for (let n = 0; n < to.length; n++) {
            const begin = n * columns + term.block * H;
            let sum = 0;
            for (let unit = 0; unit < H; unit++) sum += dz[unit] * data[begin + unit];
            to[n] += sum;
          }
        }
      }
    }
  }

  // The products that are added up in dL/d(source) of one unit: one a unit that reads it.
  productsBack(feed, term, t, unit) {
    const { data, columns } = this.arrays[term.weight], begin = unit * columns + term.block * this.H;
    return Array.from(this.row(`d${feed.name}`, t), (value, n) => [value, data[begin + n]]);
  }

  // What reaches a state after step t from the output, and from the step after it. Only the first state is put out.
  arrives(state, t, unit) {
    const name = `d${state}`, total = this.arrays[name].data[t * this.H + unit], next = this.next(t);
    if (state !== this.states[0]) return [0, total];
    if (!this.sequences) return next === undefined ? [total, 0] : [0, total];
    const later = next === undefined ? 0 : this.at(`${name}_prev`, next, unit);
    return [total - later, later];
  }

  norm(name, t) {
    return Math.hypot(...this.row(name, t));
  }

  mean(name, t) {
    return this.row(name, t).reduce((sum, value) => sum + value, 0) / this.H;
  }

  // A unit's mean over all steps that count.
  usual(name, unit) {
    return this.taken.reduce((sum, t) => sum + this.at(name, t, unit), 0) / this.taken.length;
  }

  // The values that a unit's lines begin with: forward ones, and the gradients that arrive.
  values(t, unit) {
    const found = {};
    for (const name in this.series) found[name] = this.at(name, t, unit);
    for (const state of this.states) found[`d${state}`] = this.arrays[`d${state}`].data[t * this.H + unit];
    return found;
  }
}
