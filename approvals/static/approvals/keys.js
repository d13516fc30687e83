// Single keys, each only moving the focus to something visible: none decides by itself.

const BURST = 600;

// Lists listen for `sayso:move`.
const move = (by) => document.dispatchEvent(new CustomEvent("sayso:move", { detail: by }));
export const SETTING = "sayso.keys";
export const enabled = () => localStorage.getItem(SETTING) !== "off";

// When a character was typed last: who types a word means no shortcut.
let typed = -BURST;

export function startKeys() {
  for (const button of document.querySelectorAll(".keys-button")) {
    button.hidden = false;
    button.addEventListener("click", help);
  }
  const moves = { j: () => move(1), k: () => move(-1), "/": () => document.querySelector("input[type=search]")?.select(), "?": help, x: tick, d: together };
  const acts = { a: () => begin("approve"), r: () => begin("reject") };
  document.addEventListener("keydown", (event) => {
    const alone = performance.now() - typed > BURST;
    typed = event.key.length === 1 ? performance.now() : -BURST;
    const action = moves[event.key] ?? (alone ? acts[event.key] : null);
    const typing = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select, dialog[open]");
    if (!action || typing || event.repeat || !enabled() || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
}

// The row that has the focus, else the one that is open beside the list.
const tick = () =>
  (document.activeElement.closest("#rows li") ?? document.querySelector("#rows li:has([aria-current])"))?.querySelector("[name=id]")?.click();
const together = () => document.querySelector("#several .primary")?.focus();
const help = async () => (await import("./help.js")).show();

// Not before the rest of what was typed, if there is any.
async function begin(act) {
  const when = typed;
  const arming = await import("./arming.js");
  if (typed === when) arming[act]();
}
