// What the components of the app have in common; core/ui/kit/component.py puts it before each of them.

// The default export of a component: a view for every place on a page. The page calls it again
// whenever the data change; the same view is then updated, never rebuilt. `listen` connects its
// answers to the page.
function mounting(View, listen = () => {}) {
  const views = new WeakMap();
  return ({ data, parentElement, setTriggerValue }) => {
    let view = views.get(parentElement);
    if (!view) {
      view = new View(parentElement);
      views.set(parentElement, view);
    }
    listen(view, setTriggerValue);
    const call = (view.call = (view.call ?? 0) + 1);
    view.update(data);
    return () => {
      // A call that was overtaken by a newer one must not take the newer one's view away.
      if (view.call !== call) return;
      view.destroy();
      views.delete(parentElement);
    };
  };
}

function element(tag, className, parent) {
  const node = document.createElement(tag);
  node.className = className;
  parent.append(node);
  return node;
}
