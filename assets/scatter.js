// A scatter of many thousand points, painted by WebGL. A lasso or a box selects a group; the page
// learns the ids of what lies inside. With other data the part of the plane that is seen stays.

const MARGIN = 0.04; // of the extent of the points, on every side
const REACH = 12; // pixels around the pointer in which a point is pointed at
const BESIDE = 12; // pixels between a point and what is said about it
const CLICK = 4; // pixels; a pointer that moves less than this between down and up has clicked
const FAINT = 0.12; // strength of what is not selected, where something is
const STRONG = 0.85; // of all points, where nothing is selected
const STEP = 1.4; // one step of a zoom button or key
const FARTHEST = 4; // zoomed out, the extent of the points takes at least a quarter
const NEAREST = 1e-4; // zoomed in, this part of it is seen at least: what is painted has 7 digits
const REST_MS = 80; // a pointer that only passes over a point does not ask for its photo
const SVG = "http://www.w3.org/2000/svg";
const KEYS =
  "Arrow keys move the map, plus and minus zoom, 0 shows all of it; Enter opens the image in the " +
  "middle.";
const MODES = { lasso: "Lasso", box: "Box", move: "Move" };

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
uniform vec2 middle;
uniform vec2 scale;
uniform float size;
out vec4 shade;
void main() {
  gl_Position = vec4((place - middle) * scale, 0.0, 1.0);
  gl_PointSize = size;
  shade = colour;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 shade;
uniform float size;
out vec4 seen;
void main() {
  float away = length(gl_PointCoord - 0.5) * size;
  float inside = clamp(size * 0.5 - away + 0.5, 0.0, 1.0);
  seen = vec4(shade.rgb, 1.0) * (shade.a * inside);
}`;

function drawing(tag, attributes, parent, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

// Which spots lie inside a closed line: those that it goes round (as it is filled where drawn).
function inside(xs, ys, line) {
  const lineX = Float64Array.from(line, ([x]) => x);
  const lineY = Float64Array.from(line, ([, y]) => y);
  const [left, right] = [Math.min(...lineX), Math.max(...lineX)];
  const [top, bottom] = [Math.min(...lineY), Math.max(...lineY)];
  return (i) => {
    const [x, y] = [xs[i], ys[i]];
    if (!(x >= left && x <= right && y >= top && y <= bottom)) return false;
    let turns = 0;
    for (let to = 0, from = lineX.length - 1; to < lineX.length; from = to++) {
      const [fromY, toY] = [lineY[from], lineY[to]];
      if (fromY > y === toY > y) continue;
      const across = lineX[from] + ((lineX[to] - lineX[from]) * (y - fromY)) / (toY - fromY);
      if (x < across) turns += toY > y ? 1 : -1;
    }
    return turns !== 0;
  };
}

// About `count` round numbers between two.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((round) => round * power >= rough) * power;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return found.map((value) => [value, value.toFixed(Math.min(digits, 8))]);
}

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: false });
    this.count = 0;
    if (this.gl) this.prepare();
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`The map's shaders do not link: ${gl.getProgramInfoLog(program)}`);
    }
    gl.useProgram(program);
    this.at = Object.fromEntries(
      ["middle", "scale", "size"].map((name) => [name, gl.getUniformLocation(program, name)]),
    );
    for (const [name, parts, type, whole] of [
      ["place", 2, gl.FLOAT, false],
      ["colour", 4, gl.UNSIGNED_BYTE, true],
    ]) {
      const place = gl.getAttribLocation(program, name);
      this[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this[name]);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, parts, type, whole, 0, 0);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  load(places, colours) {
    const { gl } = this;
    for (const [buffer, values] of [
      [this.place, places],
      [this.colour, colours],
    ]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    }
    this.count = places.length / 2;
  }

  paint({ x0, x1, y0, y1 }, size) {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.at.middle, (x0 + x1) / 2, (y0 + y1) / 2);
    gl.uniform2f(this.at.scale, 2 / (x1 - x0), 2 / (y1 - y0));
    gl.uniform1f(this.at.size, size);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }
}

class Scatter {
  constructor(parent) {
    this.mode = "lasso";
    this.line = null; // of a lasso or a box that is being drawn, in pixels
    this.frame = 0;
    this.pointed = -1;
    this.turn = ""; // of the newest selection made here
    this.root = element("div", "scatter", parent);
    this.root.view = this; // for whoever looks at the page from a console, or from a test
    this.build();
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => {
      this.painter.prepare();
      this.load();
    });
    this.painter = new Painter(this.canvas);
    if (!this.painter.gl) {
      this.hint.textContent =
        "This browser has no WebGL, which the map is drawn with. Switch on hardware " +
        "acceleration in its settings, or use another browser.";
    }
    this.resized = new ResizeObserver(() => {
      this.point(-1);
      this.later();
    });
    this.resized.observe(this.plot);
  }

  build() {
    const bar = element("div", "bar", this.root);
    const modes = element("div", "group", bar);
    modes.setAttribute("role", "group");
    modes.setAttribute("aria-label", "What dragging does");
    this.buttons = Object.entries(MODES).map(([mode, name]) => {
      const button = this.button(name, modes, () => this.choose(mode));
      button.dataset.mode = mode;
      return button;
    });
    const zooms = element("div", "group", bar);
    this.button("Zoom in", zooms, () => this.zoom(1 / STEP));
    this.button("Zoom out", zooms, () => this.zoom(STEP));
    this.button("Whole map", zooms, () => this.whole());
    this.choose(this.mode);

    const body = element("div", "body", this.root);
    this.stage = element("div", "stage", body);
    this.plot = element("div", "plot", this.stage);
    this.grid = drawing("svg", { class: "grid", "aria-hidden": "true" }, this.plot);
    this.canvas = element("canvas", "", this.plot);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "map");
    this.drawn = drawing("svg", { class: "drawn", "aria-hidden": "true" }, this.plot);
    this.hint = element("div", "hint", this.plot);
    this.across = element("div", "across", this.stage);
    this.upward = element("div", "upward", this.stage);
    this.tip = element("div", "tip", this.plot);
    this.tip.setAttribute("role", "status");
    this.tip.hidden = true;
    this.photo = element("img", "", this.tip);
    this.photo.alt = "";
    this.photo.addEventListener("load", () => (this.photo.hidden = false));
    this.said = element("div", "", this.tip);
    this.legend = element("div", "legend", body);

    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("pointerleave", () => this.point(-1));
    canvas.addEventListener("blur", () => this.point(-1));
    canvas.addEventListener("dblclick", () => this.whole());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 400))), this.spot(event));
      },
      { passive: false },
    );
  }

  button(name, parent, act) {
    const button = element("button", "", parent);
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", act);
    return button;
  }

  choose(mode) {
    this.mode = mode;
    for (const button of this.buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    this.root.dataset.mode = mode;
  }

  update(data) {
    const { points } = data;
    this.data = data;
    this.x = points.getChild("x").toArray();
    this.y = points.getChild("y").toArray();
    // Data that were on their way when a group was selected here know nothing of it.
    const late = this.turn && data.answered !== this.turn && data.revision === this.revision;
    if (!late) this.chosen = Uint8Array.from(points.getChild("chosen"), Number);
    this.ids = points.getChild("id");
    this.words = data.words.map((name) => points.getChild(name));
    this.size = this.x.length <= 2000 ? 8 : this.x.length <= 15000 ? 5 : 3;
    this.root.toggleAttribute("data-axes", data.axes.some(Boolean));
    [this.across.textContent, this.upward.textContent] = data.axes;
    this.canvas.setAttribute("aria-label", `${data.label}. ${KEYS}`);
    if (data.revision !== this.revision) {
      this.revision = data.revision;
      this.home = this.extent();
      this.seen = { ...this.home };
      this.turn = "";
    }
    this.point(-1);
    this.explain();
    this.load();
  }

  extent() {
    const around = (values) => {
      let low = Infinity;
      let high = -Infinity;
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      if (!(high > low)) [low, high] = Number.isFinite(low) ? [low - 1, low + 1] : [-1, 1];
      const more = MARGIN * (high - low);
      return [low - more, high + more];
    };
    const [x0, x1] = around(this.x);
    const [y0, y1] = around(this.y);
    return { x0, x1, y0, y1 };
  }

  // Give the painter all points; the selected ones come last, so that they lie on top.
  load() {
    if (!this.painter.gl) return;
    const { x, y, chosen } = this;
    const codes = this.data.points.getChild("colour").toArray();
    const palette = this.data.palette.map((text) =>
      [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)),
    );
    const n = x.length;
    const places = new Float32Array(2 * n);
    const colours = new Uint8Array(4 * n);
    this.selected = chosen.reduce((sum, one) => sum + one, 0);
    let k = 0;
    for (const turn of this.selected ? [0, 1] : [0]) {
      const strength = Math.round(255 * (this.selected ? [FAINT, 1][turn] : STRONG));
      for (let i = 0; i < n; i++) {
        if (chosen[i] !== turn) continue;
        places[2 * k] = x[i];
        places[2 * k + 1] = y[i];
        colours.set(palette[codes[i]], 4 * k);
        colours[4 * k + 3] = strength;
        k += 1;
      }
    }
    this.painter.load(places, colours);
    this.later();
  }

  later() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.frame = 0;
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!this.painter.gl || !width || !this.data) return;
    const fine = window.devicePixelRatio || 1;
    if (fine !== this.fine) {
      this.fine = fine;
      const same = window.matchMedia(`(resolution: ${fine}dppx)`);
      same.addEventListener("change", () => this.later(), { once: true });
    }
    const [w, h] = [Math.round(width * fine), Math.round(height * fine)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      Object.assign(this.canvas, { width: w, height: h });
    }
    this.painter.paint(this.seen, this.size * fine);
    this.rule(width, height);
    this.root.dataset.painted = this.x.length;
    this.root.dataset.selected = this.selected;
  }

  // Lines and numbers of the axes.
  rule(width, height) {
    this.grid.replaceChildren();
    if (!this.data.axes.some(Boolean)) return;
    const { x0, x1, y0, y1 } = this.seen;
    for (const [value, text] of ticks(x0, x1, width / 110)) {
      const at = ((value - x0) / (x1 - x0)) * width;
      drawing("line", { x1: at, x2: at, y1: 0, y2: height }, this.grid);
      drawing("text", { x: at, y: height + 16, "text-anchor": "middle" }, this.grid, text);
    }
    for (const [value, text] of ticks(y0, y1, height / 80)) {
      const at = height - ((value - y0) / (y1 - y0)) * height;
      drawing("line", { x1: 0, x2: width, y1: at, y2: at }, this.grid);
      drawing("text", { x: -6, y: at + 4, "text-anchor": "end" }, this.grid, text);
    }
  }

  // What the colours mean.
  explain() {
    const { title, palette, entries, ticks: marks } = this.data;
    this.legend.replaceChildren();
    element("div", "title", this.legend).textContent = title;
    if (marks.length) {
      const scale = element("div", "scale", this.legend);
      const ramp = element("div", "ramp", scale);
      ramp.style.setProperty("--stops", palette.slice(0, -1).join(", "));
      const numbers = element("div", "numbers", scale);
      for (const text of marks) element("div", "", numbers).textContent = text;
    }
    for (const [colour, text] of entries) {
      const entry = element("div", "entry", this.legend);
      element("span", "swatch", entry).style.background = colour;
      const name = element("span", "name", entry);
      name.textContent = text;
      name.title = text;
    }
  }

  // Where an event is, in pixels of the plot.
  spot(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Where every point is, in pixels of the plot.
  spots() {
    const { x0, x1, y0, y1 } = this.seen;
    const { clientWidth: width, clientHeight: height } = this.plot;
    return [
      this.x.map((value) => ((value - x0) / (x1 - x0)) * width),
      this.y.map((value) => height - ((value - y0) / (y1 - y0)) * height),
    ];
  }

  down(event) {
    if (event.button !== 0 || !event.isPrimary || !this.painter.gl) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.start = this.last = this.spot(event);
    this.moved = false;
    this.line = this.mode === "move" ? null : [this.start];
  }

  move(event) {
    if (!event.isPrimary || !this.painter.gl) return;
    if (this.start && !(event.buttons & 1)) this.drop(); // it was let go where nobody saw it
    const [x, y] = this.spot(event);
    if (!this.start) {
      this.point(this.nearest(x, y));
      return;
    }
    const [startX, startY] = this.start;
    this.moved ||= Math.hypot(x - startX, y - startY) > CLICK;
    if (!this.moved) return;
    this.point(-1);
    if (this.mode === "move") this.shift(x - this.last[0], y - this.last[1]);
    else if (this.mode === "lasso") this.line.push([x, y]);
    else this.line = [[startX, startY], [x, startY], [x, y], [startX, y]]; // prettier-ignore
    this.last = [x, y];
    this.outline();
  }

  up(event) {
    if (!this.start || !event.isPrimary) return;
    const { line, moved } = this;
    this.drop();
    if (!moved) {
      const found = this.nearest(...this.spot(event));
      if (found >= 0) this.pick(this.ids.get(found));
    } else if (line) {
      this.enclose(line, event.shiftKey);
    }
  }

  drop() {
    this.start = this.line = null;
    this.outline();
  }

  outline() {
    this.drawn.replaceChildren();
    if (!this.line) return;
    drawing("polygon", { points: this.line.map((spot) => spot.join(",")).join(" ") }, this.drawn);
  }

  // Select what lies inside a line; with the shift key, what is selected stays so.
  enclose(line, more) {
    const within = inside(...this.spots(), line);
    const found = [];
    for (let i = 0; i < this.chosen.length; i++) {
      this.chosen[i] = (more && this.chosen[i]) || within(i) ? 1 : 0;
      if (this.chosen[i]) found.push(this.ids.get(i));
    }
    this.load();
    this.turn = crypto.randomUUID?.() ?? String(Math.random());
    this.select(found, this.turn);
  }

  // The point next to a spot, of several on the same place the one on top; -1 where none is near.
  nearest(x, y, reach = REACH) {
    const { x0, x1, y0, y1 } = this.seen;
    const { clientWidth: width, clientHeight: height } = this.plot;
    const [across, up] = [width / (x1 - x0), height / (y1 - y0)];
    const [placeX, placeY] = [x0 + x / across, y1 - y / up];
    let found = -1;
    let least = reach ** 2;
    for (let i = 0; i < this.x.length; i++) {
      const away = ((this.x[i] - placeX) * across) ** 2 + ((this.y[i] - placeY) * up) ** 2;
      const above = away === least && this.chosen[i] >= (this.chosen[found] ?? 0);
      if (away < least || above) [found, least] = [i, away];
    }
    return found;
  }

  // Say what a point is; -1 says nothing.
  point(place) {
    if (place === this.pointed) return;
    this.pointed = place;
    clearTimeout(this.waiting);
    this.photo.hidden = true;
    this.photo.removeAttribute("src"); // else it shows the last photo until the next is there
    this.tip.hidden = place < 0;
    this.canvas.classList.toggle("pointing", place >= 0);
    if (place < 0) return;
    const words = this.words.map((column) => column.get(place));
    this.said.textContent = words.filter(Boolean).join(", ");
    this.waiting = setTimeout(() => {
      const [before, after] = this.data.photo;
      this.photo.src = `${before}${encodeURIComponent(this.ids.get(place))}${after}`;
    }, REST_MS);
    const { x0, x1, y0, y1 } = this.seen;
    const { clientWidth: width, clientHeight: height } = this.plot;
    const x = ((this.x[place] - x0) / (x1 - x0)) * width;
    const y = ((y1 - this.y[place]) / (y1 - y0)) * height;
    const left = x < width / 2 ? x + BESIDE : x - BESIDE - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${y}px`;
    this.tip.style.translate = `0 ${y < height / 2 ? 0 : "-100%"}`;
  }

  shift(right, down) {
    const { clientWidth: width, clientHeight: height } = this.plot;
    const { x0, x1, y0, y1 } = this.seen;
    const [dx, dy] = [(right / width) * (x1 - x0), (down / height) * (y1 - y0)];
    this.look({ x0: x0 - dx, x1: x1 - dx, y0: y0 + dy, y1: y1 + dy });
  }

  // See `factor` times as much of the plane around a spot, the middle by default.
  zoom(factor, spot) {
    const { clientWidth: width, clientHeight: height } = this.plot;
    const { x0, x1, y0, y1 } = this.seen;
    const extent = (this.home.x1 - this.home.x0) / (x1 - x0);
    const by = Math.max(Math.min(factor, FARTHEST * extent), NEAREST * extent);
    const [px, py] = spot ?? [width / 2, height / 2];
    const [x, y] = [x0 + (px / width) * (x1 - x0), y1 - (py / height) * (y1 - y0)];
    this.look({
      x0: x + (x0 - x) * by,
      x1: x + (x1 - x) * by,
      y0: y + (y0 - y) * by,
      y1: y + (y1 - y) * by,
    });
  }

  whole() {
    this.look({ ...this.home });
  }

  // See another part of the plane, unless a line is being drawn on this one.
  look(seen) {
    if (this.line) return;
    this.seen = seen;
    this.point(-1);
    this.later();
  }

  key(event) {
    const acts = {
      ArrowLeft: () => this.shift(40, 0),
      ArrowRight: () => this.shift(-40, 0),
      ArrowUp: () => this.shift(0, 40),
      ArrowDown: () => this.shift(0, -40),
      "+": () => this.zoom(1 / STEP),
      "-": () => this.zoom(STEP),
      0: () => this.whole(),
      Enter: () => this.pointed >= 0 && this.pick(this.ids.get(this.pointed)),
      Escape: () => this.drop(),
    };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
    if (this.line || event.key === "Escape") return;
    const { clientWidth: width, clientHeight: height } = this.plot;
    this.point(this.nearest(width / 2, height / 2, Infinity)); // as a pointer in the middle would
  }

  destroy() {
    clearTimeout(this.waiting);
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
    this.painter.gl?.getExtension("WEBGL_lose_context")?.loseContext(); // browsers hold few of them
    this.root.remove();
  }
}

export default mounting(Scatter, (view, setTriggerValue) => {
  view.select = (ids, turn) => setTriggerValue("selected", { ids, turn });
  view.pick = (id) => setTriggerValue("picked", id);
});
