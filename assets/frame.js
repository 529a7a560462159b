// What stands on every page beside its title: a button that copies the address of the view. It also
// tells screen readers that the navigation is groups of links, which its own markup does not.

export default function ({ data, parentElement }) {
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
