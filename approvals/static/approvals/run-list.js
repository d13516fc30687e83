// The list of runs, live. The WebSocket says that runs have changed; the server renders the list.

import { serverSays, tellLocalTimes } from "./clock.js";
import { fragment, mergeParts, together } from "./fragments.js";
import { keepConnected } from "./socket.js";

const QUIET = 1000;
const list = document.querySelector("#runs");

const refresh = together(async () => {
  const fresh = await fragment(location.href);
  if (!fresh) return;
  const link = document.activeElement.closest("#runs a[href]")?.getAttribute("href");
  mergeParts(fresh, list);
  tellLocalTimes(list);
  // Who reads a row with the keyboard stays there.
  if (link) [...list.querySelectorAll("a[href]")].find((each) => each.getAttribute("href") === link)?.focus({ preventScroll: true });
}, QUIET);

document.addEventListener("sayso:move", ({ detail: by }) => {
  const links = [...list.querySelectorAll("tbody a")];
  const next = links.indexOf(document.activeElement) + by;
  links[Math.min(links.length - 1, Math.max(0, next))]?.focus();
});

keepConnected(`${document.body.dataset.root}ws/runs/`, ({ type, data }) => {
  if (type === "hello") serverSays(data.server_time);
  if (type === "runs_changed") refresh();
});
