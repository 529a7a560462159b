// What stands on every page beside its title: a button that copies the address of the view. It also
// tells screen readers that the navigation is groups of links, which its own markup does not, and
// keeps the browser's way back open.

export default function ({ data, parentElement }) {
  keepTheWayBack();
  leaveTheNameByEnter();
  const button = parentElement.querySelector("button") ?? build(parentElement);
  button.title = data.hint;
  let due = 0;
  const later = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(name);
  };
  const watch = new MutationObserver(later); // the navigation may be folded away and come back
  watch.observe(document.body, { childList: true, subtree: true });
  name();
  return () => watch.disconnect();
}

function build(parent) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy link";
  const status = document.createElement("span");
  status.className = "status";
  status.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    const done = await copy(window.location.href);
    status.textContent = done ? "Copied" : "Copy the address bar instead";
    setTimeout(() => (status.textContent = ""), 4000);
  });
  parent.append(status, button);
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text); // without https the clipboard is closed to scripts
  }
}

function copyOldWay(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}

function name() {
  for (const list of document.querySelectorAll('ul[data-testid="stSidebarNavItems"]:not([role])')) {
    list.setAttribute("role", "none");
  }
  for (const item of document.querySelectorAll(
    'ul[data-testid="stSidebarNavItems"] li:not([role])',
  )) {
    item.setAttribute("role", "none");
  }
}

// A page that is opened writes its view into its address at once. That is no step of the user's: as
// an entry of its own, it would be written again whenever somebody goes back to the address without
// it, and nobody would get past it. So it takes the place of that address; later choices are entries.
function keepTheWayBack() {
  if (history.pushState.keepsTheWayBack) return;
  const push = history.pushState.bind(history);
  history.pushState = (state, unused, url) => {
    const next = new URL(url ?? location.href, location.href);
    const same = next.pathname === location.pathname;
    const entry = same ? { ...state, isView: true } : state;
    if (same && !history.state?.isView) history.replaceState(entry, unused, url);
    else push(entry, unused, url);
  };
  history.pushState.keepsTheWayBack = true;
}

// Who has given a name goes on with the keys of the page: they would be written behind the name.
function leaveTheNameByEnter() {
  if (document.leavesTheNameByEnter) return;
  document.leavesTheNameByEnter = true;
  document.addEventListener("keyup", (event) => {
    if (event.key !== "Enter" || !event.target.matches('[data-testid="stSidebar"] input')) return;
    if (!event.target.matches('[role="combobox"]')) event.target.blur();
  });
}
