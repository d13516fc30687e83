// Fetches HTML that the server rendered, and replaces the parts of the page that changed.

// Tells the server that the page fetches this by itself, so it does not count as seen.
export const UNASKED = { "Sayso-Unasked": "true" };

// Null if the server does not answer with a page.
export async function fragment(address, { headers, ...how } = {}) {
  const template = document.createElement("template");
  try {
    const response = await fetch(address, { headers: { "HX-Request": "true", "HX-Target": "detail", ...UNASKED, ...headers }, ...how });
    if (leftForLogin(response.url) || !response.ok) return null;
    template.innerHTML = await response.text();
  } catch (error) {
    console.info(error.message);
    return null;
  }
  return template.content;
}

export function leftForLogin(address) {
  if (new URL(address, location.href).pathname !== document.body.dataset.login) return false;
  location.reload();
  return true;
}

// Replaces the parts that differ. A part with a `data-state` holds what a person may be typing,
// and stays as it is for as long as that state does.
export function mergeParts(fresh, root) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const old = root.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!old) continue;
    if (part.dataset.state ? old.dataset.state === part.dataset.state : folded(old) === folded(part)) continue;
    const focused = old.contains(document.activeElement) && document.activeElement;
    old.replaceWith(part);
    window.htmx?.process(part);
    if (!focused) continue;
    const link = [...part.querySelectorAll("a")].find(({ href }) => href === focused.href);
    (link ?? root.querySelector("h1")).focus({ preventScroll: true });
  }
}

// What a person has unfolded to read is no difference.
function folded(part) {
  const copy = part.cloneNode(true);
  for (const fold of copy.querySelectorAll("details")) fold.open = false;
  return copy.innerHTML;
}

export function together(action, delay = 120) {
  let waiting = null;
  return (...items) => {
    if (waiting) return items.forEach((item) => waiting.add(item));
    waiting = new Set(items);
    setTimeout(() => {
      const all = [...waiting];
      waiting = null;
      action(all);
    }, delay);
  };
}
