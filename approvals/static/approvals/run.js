// One run, live: its messages as they come, everything else as the server renders it.

import { serverSays, tellLocalTimes } from "./clock.js";
import { fragment, mergeParts, together } from "./fragments.js";
import { marked } from "./marks.js";
import { keepConnected } from "./socket.js";

const page = document.querySelector("article[data-run]");
const messages = page.querySelector(".messages");

// Each connection gets all messages from the first one on: how many came, and which are still growing.
let told = 0;
let growing = new Map();

function heard({ type, data }) {
  if (type === "hello") {
    serverSays(data.server_time);
    told = 0;
    growing = new Map();
  } else if (type === "agent_message") write(data, data.text);
  else if (type === "agent_message_chunk") grow(data);
  else if (data?.run) refresh();
}

const refresh = together(async () => {
  const fresh = await fragment(location.pathname);
  if (!fresh) return;
  mergeParts(fresh, page);
  tellLocalTimes(page);
});

function write({ agent, summary }, text) {
  const message = growing.get(agent) ?? next(agent);
  growing.delete(agent);
  // The chunks of a long message were complete.
  if (summary) return;
  const place = message.querySelector(".text");
  const whole = marked(text);
  if (place.textContent !== whole.textContent) place.replaceChildren(whole);
}

function grow({ agent, text }) {
  const place = growing.get(agent)?.querySelector(".text");
  if (place) return place.append(marked(text));
  const message = next(agent);
  growing.set(agent, message);
  message.querySelector(".text").replaceChildren(marked(text));
}

function next(agent) {
  const message = messages.children[told] ?? messages.appendChild(blank());
  told += 1;
  message.querySelector(".who").replaceChildren(marked(agent));
  document.querySelector("#messages").hidden = false;
  return message;
}

const blank = () => document.querySelector("#message").content.firstElementChild.cloneNode(true);

keepConnected(`${document.body.dataset.root}ws/runs/${page.dataset.run}/`, heard);
