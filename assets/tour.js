// A tour on the first visit: a card above the page that a step is about, never in its way and never
// before somebody who came by a link. The browser remembers where the visitor is in it, and for
// good that it was ended.

const KEY = "spurioscope-tour"; // "ended", or the number of the step that is shown
const LINKED = "spurioscope-linked"; // of this tab: whether its visitor came by a link

let restarted = 0; // how often this page has gone back to the first step when asked to
let moved = false; // whether the next card is shown because its visitor asked for it
let decided = false; // whether it is known how this page was opened

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".tour") ?? add(parentElement, "div", "tour");
  if (!decided) arrive(data.linked);
  decided = true;
  if (data.restart > restarted) {
    keep(LINKED, "false");
    move(place, data, 0);
  }
  restarted = data.restart;
  show(place, data);
}

// A page that is loaded again was not opened by another link.
function arrive(linked) {
  const again = performance.getEntriesByType("navigation")[0]?.type !== "navigate";
  if (!again || kept(LINKED) === null) keep(LINKED, String(linked));
}

function storage(name) {
  return name === LINKED ? window.sessionStorage : window.localStorage;
}

function kept(name) {
  try {
    return storage(name).getItem(name);
  } catch {
    return window[name] ?? null; // storage is blocked: it lasts as long as the page
  }
}

function keep(name, text) {
  window[name] = text;
  try {
    storage(name).setItem(name, text);
  } catch {
    // see kept()
  }
}

function show(place, data) {
  place.replaceChildren();
  const { steps } = data;
  const at = Number(kept(KEY) ?? "0");
  const step = steps[at];
  if (!step || step.page !== data.page || kept(LINKED) === "true") return;
  const card = add(place, "section", "card");
  card.setAttribute("aria-label", "Tour");
  const title = add(card, "strong", "title", step.title);
  title.tabIndex = -1;
  add(card, "p", "text", step.text);
  const row = add(card, "div", "row");
  add(row, "span", "count", `${at + 1} of ${steps.length}`);
  if (at > 0) press(row, "Back", "", () => move(place, data, at - 1));
  if (at + 1 < steps.length) {
    press(row, `Next: ${steps[at + 1].page}`, "main", () => move(place, data, at + 1));
  }
  press(row, at + 1 < steps.length ? "End the tour" : "Done", "", () => {
    keep(KEY, "ended");
    place.replaceChildren();
  });
  if (moved) title.focus();
  moved = false;
}

// To the page of a step, which shows its card.
function move(place, data, at) {
  keep(KEY, String(at));
  moved = true;
  const link = [...document.querySelectorAll('[data-testid="stSidebarNavLink"]')].find(
    (a) => a.innerText.trim().endsWith(data.steps[at].page),
  );
  if (link && link.getAttribute("aria-current") !== "page") link.click();
  show(place, data);
}

function add(parent, tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  parent.append(node);
  return node;
}

function press(row, text, className, act) {
  const button = add(row, "button", className, text);
  button.type = "button";
  button.addEventListener("click", act);
}
