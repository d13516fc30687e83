// Single keys, each only moving the focus to something visible: none decides by itself.

const dialog = document.querySelector("#keys");
const SETTING = "sayso.keys";

// Lists listen for `sayso:move`.
const move = (by) => document.dispatchEvent(new CustomEvent("sayso:move", { detail: by }));

export function startKeys() {
  const enabled = dialog.querySelector("input");
  enabled.checked = localStorage.getItem(SETTING) !== "off";
  enabled.addEventListener("change", () => localStorage.setItem(SETTING, enabled.checked ? "on" : "off"));
  for (const button of document.querySelectorAll(".keys-button")) {
    button.hidden = false;
    button.addEventListener("click", () => dialog.showModal());
  }
  const deeds = {
    j: () => move(1),
    k: () => move(-1),
    a: () => arm("[data-key=a]"),
    r: () => unfold("[data-key=r]"),
    "/": () => document.querySelector("input[type=search]")?.select(),
    "?": () => dialog.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const deed = deeds[event.key];
    const typing = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select, dialog[open]");
    if (!deed || typing || !enabled.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    deed();
  });
}

function arm(selector) {
  const button = document.querySelector(selector);
  if (!button) return;
  button.classList.add("armed");
  button.focus();
  const hint = document.querySelector(".armed-hint");
  hint.hidden = false;
  button.addEventListener("blur", () => (button.classList.remove("armed"), (hint.hidden = true)), { once: true });
}

function unfold(selector) {
  const fold = document.querySelector(selector);
  if (!fold) return;
  fold.open = true;
  fold.querySelector("textarea").focus();
}
