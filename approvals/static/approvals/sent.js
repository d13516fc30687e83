// Once a form was sent: tells what was done, and holds for a moment what then appears under the pointer, so that the
// second click of a double click decides nothing.

import { announce } from "./announce.js";

const HELD = 700;

document.addEventListener("htmx:afterSwap", ({ detail: { target, requestConfig } }) => {
  if (requestConfig.verb !== "post") return;
  target.querySelectorAll(".act").forEach(hold);
  tell(target.querySelector(".done"));
});

function hold(act) {
  act.classList.add("held");
  setTimeout(() => act.classList.remove("held"), HELD);
}

function tell(done) {
  if (done) announce(done.textContent.trim());
}

// A page that was loaded whole has it in its address, where a reload would repeat it.
tell(document.querySelector(".done"));
const address = new URL(location.href);
if (address.searchParams.has("done")) {
  address.searchParams.delete("done");
  history.replaceState(history.state, "", address);
}
