// The keys and their switch, in a dialog that comes when it is asked for.

import { fragment } from "./fragments.js";
import { SETTING, enabled } from "./keys.js";

let dialog;

export async function show() {
  dialog ??= (await fragment(new URL("keys.html", import.meta.url)))?.firstElementChild;
  if (!dialog) return;
  const box = dialog.querySelector("input");
  box.checked = enabled();
  box.onchange = () => localStorage.setItem(SETTING, box.checked ? "on" : "off");
  document.body.append(dialog);
  dialog.showModal();
}
