// Two photos with overlays on top of each other; the second is seen right of the divider. With
// other data the divider stays where it is.

const BLINK_MS = 1000; // one change a second, well below what may harm anyone

class Swipe {
  constructor(parent) {
    this.timer = 0;
    this.root = element("div", "swipe", parent);
    const sides = element("div", "sides", this.root);
    this.names = [element("span", "", sides), element("span", "", sides)];
    this.stage = element("div", "stage", this.root);
    this.layers = [0, 1].map(() => {
      const layer = element("div", "layer", this.stage);
      return { layer, photo: element("img", "", layer), overlay: element("img", "", layer) };
    });
    this.divider = element("div", "divider", this.stage);
    const controls = element("div", "controls", this.root);
    this.slider = element("input", "", controls);
    Object.assign(this.slider, { type: "range", min: 0, max: 100, value: 50 });
    this.slider.setAttribute("aria-label", "Divider between A and B, percent from the left");
    this.slider.addEventListener("input", () => this.place(Number(this.slider.value)));
    this.button = element("button", "", controls);
    this.button.type = "button";
    this.button.textContent = "Blink";
    this.button.setAttribute("aria-pressed", "false");
    this.button.addEventListener("click", () => (this.timer ? this.still() : this.blink()));
    this.stage.addEventListener("pointerdown", (event) => this.drag(event));
    this.stage.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
    this.place(50);
  }

  update(data) {
    this.root.toggleAttribute("data-dims", data.dims);
    data.layers.forEach((side, i) => {
      const { photo, overlay } = this.layers[i];
      photo.src = side.photo;
      photo.alt = i ? "" : data.alt;
      photo.draggable = false;
      overlay.src = side.overlay;
      overlay.alt = "";
      overlay.draggable = false;
      this.names[i].textContent = side.name;
    });
  }

  // The percentage from the left at which the second side begins.
  place(percent) {
    this.slider.value = percent;
    this.layers[1].layer.style.clipPath = `inset(0 0 0 ${percent}%)`;
    this.divider.style.left = `${percent}%`;
    this.divider.style.visibility = percent > 0 && percent < 100 ? "visible" : "hidden";
    this.names[0].className = percent >= 100 ? "current" : "";
    this.names[1].className = percent <= 0 ? "current" : "";
  }

  drag(event) {
    this.still();
    const box = this.stage.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    this.place(Math.round(100 * Math.min(Math.max(share, 0), 1)));
  }

  blink() {
    this.before = Number(this.slider.value);
    this.place(100);
    this.timer = setInterval(() => {
      this.place(Number(this.slider.value) > 50 ? 0 : 100);
    }, BLINK_MS);
    this.button.setAttribute("aria-pressed", "true");
    this.button.textContent = "Stop blinking";
  }

  still() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = 0;
    this.place(this.before);
    this.button.setAttribute("aria-pressed", "false");
    this.button.textContent = "Blink";
  }

  destroy() {
    this.still();
    this.root.remove();
  }
}

export default mounting(Swipe);
