// A tour on the first visit: a card above the page, never in its way. The browser remembers where
// the visitor is in it, and for good that it was ended.

const KEY = "spurioscope-tour"; // "ended", or the number of the step that is shown

let restarted = 0; // how often this page has gone back to the first step when asked to

export default function ({ data, parentElement }) {
  if (data.restart > restarted) keep("0");
  restarted = data.restart;
  const place = parentElement.querySelector(".tour") ?? add(parentElement, "div", "tour");
  show(place, data.steps);
}

function kept() {
  try {
    return window.localStorage.getItem(KEY) ?? "0";
  } catch {
    return window.spurioscopeTour ?? "0"; // storage is blocked: it lasts as long as the page
  }
}

function keep(text) {
  window.spurioscopeTour = text;
  try {
    window.localStorage.setItem(KEY, text);
  } catch {
    // see kept()
  }
}

function show(place, steps) {
  place.replaceChildren();
  const at = Number(kept());
  const step = steps[at];
  if (!step) return;
  const card = add(place, "section", "card");
  card.setAttribute("aria-label", "Tour");
  const title = add(card, "strong", "title", step.title);
  title.tabIndex = -1;
  add(card, "p", "text", step.text);
  const row = add(card, "div", "row");
  add(row, "span", "count", `${at + 1} of ${steps.length}`);
  if (at > 0) press(row, "Back", "", () => move(place, steps, at - 1));
  if (at + 1 < steps.length) {
    press(row, `Next: ${steps[at + 1].page}`, "main", () => move(place, steps, at + 1));
  }
  press(row, at + 1 < steps.length ? "End the tour" : "Done", "", () => {
    keep("ended");
    place.replaceChildren();
  });
}

function move(place, steps, at) {
  keep(String(at));
  const link = [...document.querySelectorAll('[data-testid="stSidebarNavLink"]')].find(
    (a) => a.innerText.trim().endsWith(steps[at].page),
  );
  if (link && link.getAttribute("aria-current") !== "page") link.click();
  show(place, steps);
  place.querySelector(".title")?.focus();
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
