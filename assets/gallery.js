// Photos with transparent pictures on top, alone or in cards with a title, a figure and a tag. Other
// data patch what is there.

// Keys in localStorage and names of the window events: what dims has a strength of its own.
const STRENGTHS = { false: "spurioscope-opacity", true: "spurioscope-dimming" };
const TITLES = { false: "Heatmap strength", true: "Dimming" };
const SIGNS = { core: "✓", spurious: "!", unsure: "?" };
const BARE = "o"; // the key that takes what lies over the photos off
const HOLD_MS = 400; // a press longer than this looks at the photo and is not a click
const HEAD_START_MS = 300; // at most so long the first row has the server to itself
let cellCount = 0;
const chosen = {}; // strengths by the user, on this page; none until a slider is moved

function storedStrength(name) {
  try {
    const text = window.localStorage.getItem(name);
    const value = text === null ? NaN : Number(text);
    return value >= 0 && value <= 1 ? value : chosen[name];
  } catch {
    return chosen[name]; // storage is blocked: the choice lasts as long as the page
  }
}

function storeStrength(name, value) {
  chosen[name] = value;
  try {
    window.localStorage.setItem(name, String(value));
  } catch {
    // See storedStrength.
  }
  window.dispatchEvent(new CustomEvent(name));
}

// Letters that go into a text are no keys.
function isTyped(event) {
  const [target] = event.composedPath();
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName ?? "");
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
  constructor(card) {
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
    this.listen(card);
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

  listen(card) {
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
      if (this.shown && this.shown === this.wanted) card.pick(this.shown.image_id);
    });
  }

  // `turn` is what to wait for before asking for the picture; none for the first row.
  async show(picture, turn) {
    this.wanted = picture;
    this.root.toggleAttribute("data-pending", true);
    // Until the photo is there, whose alternative text names the button.
    if (!this.shown) this.button.setAttribute("aria-label", picture.alt);
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
    this.button.removeAttribute("aria-label");
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

class Card {
  constructor(view) {
    this.view = view;
    this.cells = [];
    this.root = element("div", "card", view.root);
    this.head = element("div", "head", this.root);
    this.title = element("strong", "title", this.head);
    this.facts = element("span", "facts", this.head);
    this.tags = element("div", "tags", this.head);
    this.tags.setAttribute("role", "group");
    this.called = element("input", "called", this.head);
    Object.assign(this.called, { type: "text", maxLength: 80, placeholder: "call it" });
    this.called.setAttribute("list", "names-used");
    this.called.addEventListener("change", () => this.view.rename(this.name, this.called.value));
    // Letters and arrows belong to the text, not to the page's keys.
    this.called.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") this.called.blur();
      if (event.key !== "Escape") return;
      this.called.value = this.saved;
      this.called.blur();
    });
    this.body = element("div", "body", this.root);
    this.list = element("div", "grid", this.body);
    this.list.setAttribute("role", "list");
    this.side = element("div", "side", this.body);
    this.figure = element("img", "figure", this.side);
    this.note = element("div", "note", this.side);
  }

  pick(imageId) {
    const at = this.cells.findIndex((cell) => cell.shown?.image_id === imageId);
    if (this.view.enlarges) this.view.enlarge(this, at);
    else this.view.pick(this.name, imageId);
  }

  // `card` is what a gallery alone lacks: its texts, its figure, its tag.
  update(data, card) {
    this.name = card.name ?? "";
    this.root.toggleAttribute("data-framed", Boolean(card.title));
    this.head.hidden = !card.title;
    this.title.textContent = card.title ?? "";
    this.facts.textContent = card.facts ?? "";
    this.list.setAttribute("aria-label", (card.title ?? data.label) || "Pictures");
    this.list.setAttribute("aria-busy", "true");
    const columns = card.title ? card.pictures.length : data.columns;
    this.root.style.setProperty("--columns", String(columns ?? 0));
    this.list.toggleAttribute("data-columns", columns !== null);
    this.side.hidden = !card.figure;
    if (card.figure && this.figure.getAttribute("src") !== card.figure) {
      this.figure.src = card.figure;
    }
    this.figure.alt = card.figure_alt ?? "";
    this.note.textContent = card.note ?? "";
    this.offer(data.tags ?? [], card, data.locked);
    this.ask(card, data.named && !data.locked);
    this.resize(card.pictures.length);
  }

  offer(tags, card, locked) {
    this.tags.hidden = !tags.length || (locked && !card.tag);
    this.tags.setAttribute("aria-label", `Tag of ${card.title}`);
    while (this.tags.children.length > tags.length) this.tags.lastChild.remove();
    while (this.tags.children.length < tags.length) {
      const button = element("button", "tag", this.tags);
      button.type = "button";
      button.addEventListener("click", () => this.choose(button));
    }
    tags.forEach((tag, i) => {
      const button = this.tags.children[i];
      button.value = tag;
      button.dataset.tag = tag;
      button.replaceChildren();
      const sign = element("span", "sign", button);
      sign.textContent = SIGNS[tag] ?? "";
      sign.setAttribute("aria-hidden", "true"); // the word says it
      button.append(tag);
      button.disabled = Boolean(locked);
      button.hidden = Boolean(locked) && card.tag !== tag; // what may not change is only said
      button.setAttribute("aria-pressed", String(card.tag === tag));
    });
  }

  // A name belongs to a tag: without one there is nothing to name yet.
  ask(card, named) {
    this.called.hidden = !card.tag || !named;
    this.called.setAttribute("aria-label", `Name of ${card.title}`);
    const same = this.asked === card.name && this.saved === (card.called ?? "");
    this.asked = card.name;
    this.saved = card.called ?? "";
    if (!same) this.called.value = this.saved; // what is being typed stays
  }

  // Shown at once; the answer of the server draws what was really saved.
  choose(button) {
    const chosen = button.getAttribute("aria-pressed") !== "true";
    for (const other of this.tags.children) {
      other.setAttribute("aria-pressed", String(chosen && other === button));
    }
    this.view.tag(this.name, chosen ? button.value : "");
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
}

// One picture over the page, as large as the window allows: pressing on it shows the bare photo, a
// click puts it back.
class Enlarged {
  constructor(view) {
    this.view = view;
    this.dialog = element("dialog", "enlarged", view.root);
    this.dialog.setAttribute("aria-label", "Enlarged picture");
    this.cell = new Cell({ pick: () => this.dialog.close() });
    this.cell.root.removeAttribute("role");
    this.dialog.append(this.cell.root);
    const row = element("div", "row", this.dialog);
    this.back = this.button(row, "Previous", () => this.step(-1));
    this.on = this.button(row, "Next", () => this.step(1));
    this.picks = this.button(row, "", () => {
      this.dialog.close();
      view.pick(this.card.name, this.card.cells[this.at].shown.image_id);
    });
    this.picks.classList.add("main");
    this.shut = this.button(row, "Close", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside it
    });
    this.dialog.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.stopPropagation(); // it turns no page
      this.step(by);
    });
  }

  button(row, text, act) {
    const button = element("button", "act", row);
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", act);
    return button;
  }

  show(card, at) {
    this.card = card;
    this.at = at;
    const picture = card.cells[at].shown;
    this.cell.show({
      ...picture,
      photo: picture.large || picture.photo,
      overlay: picture.large_overlay || picture.overlay,
    });
    this.back.disabled = at === 0;
    this.on.disabled = at === card.cells.length - 1;
    this.back.hidden = this.on.hidden = card.cells.length === 1;
    this.picks.hidden = !this.view.picks;
    this.picks.textContent = this.view.picks;
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.shut.focus(); // and not the picture, whose layers its focus would take off
  }

  step(by) {
    const next = this.card.cells[this.at + by];
    if (next?.shown) this.show(this.card, this.at + by);
  }
}

class View {
  constructor(parent) {
    this.generation = 0;
    this.pressed = null; // since when the key is held
    this.cards = [];
    this.pick = () => {};
    this.tag = () => {};
    this.rename = () => {};
    this.root = element("section", "gallery", parent);
    this.buildHeader();
    this.listen();
  }

  buildHeader() {
    const header = element("div", "header", this.root);
    this.controls = element("label", "controls", header);
    this.strength = element("span", "", this.controls);
    this.slider = element("input", "slider", this.controls);
    Object.assign(this.slider, { type: "range", min: "0", max: "1", step: "0.05" });
    this.readout = element("span", "", this.controls);
    this.readout.setAttribute("aria-hidden", "true"); // the slider itself says it
    this.slider.addEventListener("input", () =>
      storeStrength(this.kept, this.slider.valueAsNumber),
    );
    this.names = element("datalist", "", header);
    this.names.id = "names-used";
    this.legend = element("span", "legend", header);
    this.status = element("span", "status", header);
    this.status.setAttribute("role", "status");
  }

  listen() {
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    for (const name of Object.values(STRENGTHS)) {
      window.addEventListener(name, () => name === this.kept && this.fade(), { signal });
    }
    window.addEventListener("storage", (event) => event.key === this.kept && this.fade(), {
      signal,
    });
    window.addEventListener("keydown", (event) => this.press(event), { signal });
    window.addEventListener("keyup", (event) => this.release(event), { signal });
    window.addEventListener("blur", (event) => this.release(event), { signal });
  }

  enlarge(card, at) {
    this.enlarged ??= new Enlarged(this);
    this.enlarged.show(card, at);
  }

  // A short press takes the layers off, or brings them back; a long one does so while it lasts.
  press(event) {
    if (event.key !== BARE || event.repeat || isTyped(event)) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    this.pressed = event.timeStamp;
    this.bare(!this.root.hasAttribute("data-bare"));
  }

  release(event) {
    if (this.pressed === null || (event.type === "keyup" && event.key !== BARE)) return;
    if (event.timeStamp - this.pressed > HOLD_MS) this.bare(!this.root.hasAttribute("data-bare"));
    this.pressed = null;
  }

  bare(on) {
    this.root.toggleAttribute("data-bare", on);
    this.status.textContent = on ? "Heatmaps are hidden; press o to show them." : "";
  }

  fade() {
    const opacity = storedStrength(this.kept) ?? this.opacity;
    this.root.style.setProperty("--overlay-opacity", String(opacity));
    this.slider.value = String(opacity);
    this.readout.textContent = `${Math.round(opacity * 100)} %`;
    this.slider.setAttribute("aria-valuetext", this.readout.textContent);
  }

  update(data) {
    const generation = ++this.generation;
    delete this.root.dataset.painted;
    if (this.token !== data.token) this.enlarged?.dialog.close();
    this.token = data.token;
    this.enlarges = typeof data.enlarge === "string";
    this.picks = data.enlarge ?? "";
    this.opacity = data.opacity;
    this.kept = STRENGTHS[Boolean(data.dims)];
    this.strength.textContent = TITLES[Boolean(data.dims)];
    this.fade();
    this.controls.hidden = !data.controls;
    this.explain(data.legend);
    this.root.style.setProperty("--size", `${data.size}px`);
    this.names.replaceChildren(
      ...(data.names ?? []).map((name) => new Option("", name)),
    );
    const cards = data.cards ?? [{ pictures: data.pictures }];
    while (this.cards.length > cards.length) this.cards.pop().root.remove();
    while (this.cards.length < cards.length) this.cards.push(new Card(this));
    cards.forEach((card, i) => this.cards[i].update(data, card));
    this.load(data.token, cards, generation);
  }

  // Text, colour bar, text, and a remark; the remark alone where there are no colours.
  explain(legend) {
    this.legend.hidden = !legend;
    this.legend.replaceChildren();
    if (!legend) return;
    const [low, high, remark] = legend;
    if (low || high) {
      element("span", "", this.legend).textContent = low;
      element("span", "ramp", this.legend).setAttribute("role", "presentation");
      element("span", "", this.legend).textContent = high;
    }
    element("span", "remark", this.legend).textContent = remark;
  }

  // The first row of the first card goes before everything else.
  async load(token, cards, generation) {
    const row = this.cards[0]?.firstRow() ?? 0;
    let settled = 0;
    const mark = () => {
      if (generation !== this.generation) return;
      this.root.dataset.key = token;
      this.root.dataset.painted = String(settled);
    };
    const show = async (cell, picture, turn) => {
      await cell.show(picture, turn);
      settled += 1;
    };
    const places = cards.flatMap((card, i) =>
      card.pictures.map((picture, n) => [this.cards[i].cells[n], picture]),
    );
    const first = Promise.all(places.slice(0, row).map((place) => show(...place)));
    const turn = Promise.race([first, new Promise((done) => setTimeout(done, HEAD_START_MS))]);
    const rest = places.slice(row).map((place) => show(...place, turn));
    await first;
    await afterPaint();
    mark();
    await Promise.all(rest);
    await afterPaint();
    mark();
    if (generation !== this.generation) return;
    for (const card of this.cards) card.list.setAttribute("aria-busy", "false");
  }

  destroy() {
    this.generation += 1;
    this.listeners.abort();
    this.root.remove();
  }
}

export default mounting(View, (view, setTriggerValue) => {
  view.pick = (card, imageId) => setTriggerValue("picked", card ? `${card}/${imageId}` : imageId);
  view.tag = (card, tag) => setTriggerValue("tagged", `${card}/${tag}`);
  view.rename = (card, name) => setTriggerValue("called", `${card}/${name}`);
});
