// The dialog with the keyboard shortcuts and their switch, loaded when it is first opened.

import { fragment } from "./fragments.js";
import { SETTING, enabled } from "./keys.js";

let dialog;

export async function show() {
  dialog ??= (await fragment(new URL("keys.html", import.meta.url)))?.firstElementChild;
  if (!dialog) return;
  await styled();
  const box = dialog.querySelector("input");
  box.checked = enabled();
  box.onchange = () => localStorage.setItem(SETTING, box.checked ? "on" : "off");
  document.body.append(dialog);
  dialog.showModal();
}

async function styled() {
  const href = new URL("help.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  const there = new Promise((done) => (link.onload = link.onerror = done));
  document.head.append(link);
  await there;
}
