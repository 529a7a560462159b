// A gallery of photos with transparent pictures on top. The page calls the default export again
// whenever its data change; the same view is then patched, never rebuilt.

const OPACITY = "spurioscope-opacity"; // key in localStorage and name of the window event
const HOLD_MS = 400; // a press longer than this looks at the photo and is not a click
const HEAD_START_MS = 300; // at most so long the first row has the server to itself

const views = new WeakMap();
let cellCount = 0;
let chosenOpacity = null; // by the user, on this page; null until a slider is moved

export default function ({ data, parentElement, setTriggerValue }) {
  let view = views.get(parentElement);
  if (!view) {
    view = new View(parentElement);
    views.set(parentElement, view);
  }
  view.pick = (imageId) => setTriggerValue("picked", imageId);
  const generation = view.update(data);
  return () => {
    // A call that was overtaken by a newer one must not take the newer one's view away.
    if (view.generation !== generation) return;
    view.destroy();
    views.delete(parentElement);
  };
}

function element(tag, className, parent) {
  const node = document.createElement(tag);
  node.className = className;
  parent.append(node);
  return node;
}

function storedOpacity() {
  try {
    const text = window.localStorage.getItem(OPACITY);
    const value = text === null ? NaN : Number(text);
    return value >= 0 && value <= 1 ? value : chosenOpacity;
  } catch {
    return chosenOpacity; // storage is blocked: the choice lasts as long as the page
  }
}

function storeOpacity(value) {
  chosenOpacity = value;
  try {
    window.localStorage.setItem(OPACITY, String(value));
  } catch {
    // See storedOpacity.
  }
  window.dispatchEvent(new CustomEvent(OPACITY, { detail: value }));
}

async function decoded(url, urgent) {
  const image = new Image();
  image.decoding = "async";
  image.fetchPriority = urgent ? "high" : "auto";
  image.src = url;
  await image.decode();
}

function afterPaint() {
  return new Promise((resolve) => {
    if (document.hidden) resolve();
    else requestAnimationFrame(() => setTimeout(resolve, 0));
  });
}

class Cell {
  constructor(view) {
    this.root = document.createElement("div");
    this.root.className = "cell";
    this.root.setAttribute("role", "listitem");
    this.button = element("button", "picture", this.root);
    this.button.type = "button";
    this.images = {
      photo: this.layer("photo"),
      overlay: this.layer("layer overlay"),
      outline: this.layer("layer outline"),
    };
    this.notice = element("span", "notice", this.button);
    this.badge = element("span", "badge", this.button);
    const text = element("div", "text", this.root);
    text.id = `picture-text-${++cellCount}`;
    this.verdict = element("span", "verdict", text);
    this.caption = element("span", "caption", text);
    this.button.setAttribute("aria-describedby", text.id);
    this.listen(view);
    this.shown = null; // the picture on screen
    this.wanted = null; // the picture to be on screen; another object while it loads
  }

  layer(className) {
    const image = element("img", className, this.button);
    image.alt = "";
    image.loading = "eager";
    // Only pictures that are decoded already are put here, so this never blocks, and never flashes.
    image.decoding = "sync";
    image.draggable = false;
    image.hidden = true;
    return image;
  }

  listen(view) {
    let pressed = 0;
    let held = false;
    this.button.addEventListener("pointerdown", (event) => {
      pressed = event.timeStamp;
      held = false;
    });
    this.button.addEventListener("pointerup", (event) => {
      held = event.timeStamp - pressed > HOLD_MS;
    });
    this.button.addEventListener("click", (event) => {
      if (held && event.detail > 0) return; // event.detail is 0 for a click by keyboard
      if (this.shown && this.shown === this.wanted) view.pick(this.shown.image_id);
    });
  }

  // `turn` is what to wait for before asking for the picture; none for the first row.
  async show(picture, turn) {
    this.wanted = picture;
    this.root.toggleAttribute("data-pending", true);
    await turn;
    if (this.wanted !== picture) return;
    const names = Object.keys(this.images);
    const results = await Promise.allSettled(names.map((name) => this.ready(name, !turn)));
    if (this.wanted !== picture) return;
    const failed = new Set(names.filter((_, i) => results[i].status === "rejected"));
    for (const name of names) this.put(name, failed.has("photo") || failed.has(name));
    this.describe(picture, failed);
    this.shown = picture;
    this.root.toggleAttribute("data-pending", false);
  }

  async ready(name, urgent) {
    const url = this.wanted[name];
    const image = this.images[name];
    if (url && (image.hidden || image.getAttribute("src") !== url)) await decoded(url, urgent);
  }

  put(name, failed) {
    const url = this.wanted[name];
    const image = this.images[name];
    image.hidden = failed || !url;
    if (image.hidden) image.removeAttribute("src");
    else if (image.getAttribute("src") !== url) image.src = url;
  }

  describe(picture, failed) {
    this.images.photo.alt = picture.alt;
    const missing = failed.has("photo");
    this.root.toggleAttribute("data-missing", missing);
    this.notice.textContent = missing
      ? `${picture.alt} (photo not available)`
      : failed.size
        ? "heatmap not available"
        : "";
    this.badge.textContent = picture.badge;
    this.verdict.textContent = { true: "✓ correct", false: "✗ wrong" }[picture.good] ?? "";
    this.verdict.dataset.good = String(picture.good);
    this.caption.textContent = picture.caption;
    this.caption.title = picture.caption;
  }
}

class View {
  constructor(parent) {
    this.generation = 0;
    this.cells = [];
    this.pick = () => {};
    this.root = element("section", "gallery", parent);
    this.buildHeader();
    this.list = element("div", "grid", this.root);
    this.list.setAttribute("role", "list");
    this.listen();
  }

  buildHeader() {
    const header = element("div", "header", this.root);
    this.controls = element("label", "controls", header);
    element("span", "", this.controls).textContent = "Heatmap strength";
    this.slider = element("input", "slider", this.controls);
    Object.assign(this.slider, { type: "range", min: "0", max: "1", step: "0.05" });
    this.readout = element("span", "", this.controls);
    this.readout.setAttribute("aria-hidden", "true"); // the slider itself says it
    this.slider.addEventListener("input", () => storeOpacity(this.slider.valueAsNumber));
    this.status = element("span", "status", header);
    this.status.setAttribute("role", "status");
  }

  listen() {
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    window.addEventListener(OPACITY, (event) => this.fade(event.detail), { signal });
    window.addEventListener(
      "storage",
      (event) => event.key === OPACITY && this.fade(storedOpacity() ?? this.opacity),
      { signal },
    );
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "o" || event.ctrlKey || event.metaKey || event.altKey) return;
      event.stopPropagation();
      const bare = this.root.toggleAttribute("data-bare");
      this.status.textContent = bare ? "Heatmaps are hidden; press o to show them." : "";
    });
  }

  fade(opacity) {
    this.root.style.setProperty("--overlay-opacity", String(opacity));
    this.slider.value = String(opacity);
    this.readout.textContent = `${Math.round(opacity * 100)} %`;
    this.slider.setAttribute("aria-valuetext", this.readout.textContent);
  }

  update(data) {
    const generation = ++this.generation;
    delete this.root.dataset.painted;
    this.opacity = data.opacity;
    this.fade(storedOpacity() ?? data.opacity);
    this.controls.hidden = !data.controls;
    this.list.setAttribute("aria-label", data.label || "Pictures");
    this.list.setAttribute("aria-busy", "true");
    this.root.style.setProperty("--size", `${data.size}px`);
    this.root.style.setProperty("--columns", String(data.columns ?? 0));
    this.list.toggleAttribute("data-columns", data.columns !== null);
    this.resize(data.pictures.length);
    this.load(data, generation);
    return generation;
  }

  resize(count) {
    while (this.cells.length > count) this.cells.pop().root.remove();
    while (this.cells.length < count) {
      const cell = new Cell(this);
      this.cells.push(cell);
      this.list.append(cell.root);
    }
  }

  firstRow() {
    const top = this.cells[0]?.root.offsetTop;
    const end = this.cells.findIndex((cell) => cell.root.offsetTop !== top);
    return end < 0 ? this.cells.length : end;
  }

  async load(data, generation) {
    const row = this.firstRow();
    let settled = 0;
    const mark = () => {
      if (generation !== this.generation) return;
      this.root.dataset.key = data.token;
      this.root.dataset.painted = String(settled);
    };
    const show = async (picture, i, turn) => {
      await this.cells[i].show(picture, turn);
      settled += 1;
    };
    const { pictures } = data;
    const first = Promise.all(pictures.slice(0, row).map((picture, i) => show(picture, i)));
    const turn = Promise.race([first, new Promise((done) => setTimeout(done, HEAD_START_MS))]);
    const rest = pictures.slice(row).map((picture, i) => show(picture, row + i, turn));
    await first;
    await afterPaint();
    mark();
    await Promise.all(rest);
    await afterPaint();
    mark();
    if (generation === this.generation) this.list.setAttribute("aria-busy", "false");
  }

  destroy() {
    this.generation += 1;
    this.listeners.abort();
    this.root.remove();
  }
}
