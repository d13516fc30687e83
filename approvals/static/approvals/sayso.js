// What every page runs. Pages work without it: links and forms do everything.

import { startClock } from "./clock.js";
import { startKeys } from "./keys.js";

startClock();
startKeys();

// The script for forms with several parts is loaded with the first of them, the one for what follows a form soon.
const addParts = (root) => root.querySelector(".list-of, .branch, .moment") && import("./forms.js");
addParts(document);
document.addEventListener("htmx:load", ({ detail }) => addParts(detail.elt));
if (document.querySelector("#detail")) addEventListener("load", () => import("./sent.js"), { once: true });

// If sending fails, the text stays in its field and a message says so.
const trouble = document.querySelector("#trouble");
const tell = (text) => ((trouble.textContent = text), (trouble.hidden = !text));
const AWAY = "The server cannot be reached. Nothing was sent; what you typed is still here.";
document.addEventListener("htmx:sendError", () => tell(AWAY));
document.addEventListener("sayso:live", () => trouble.textContent === AWAY && tell(""));
document.addEventListener("htmx:responseError", ({ detail }) =>
  tell(detail.xhr.status === 404 ? "That request no longer exists, or you may not see it." : "The server could not do that. Please try again."));
document.addEventListener("htmx:beforeRequest", () => tell(""));

// What Enter in a field or a box presses.
document.addEventListener("click", (event) => event.target.name === "nothing" && event.preventDefault());
document.addEventListener("click", ({ target }) => {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(target)) menu.open = false;
});
document.addEventListener("keydown", ({ key }) => {
  const menu = key === "Escape" && document.querySelector(".menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
