// One run, live: its messages as they come, everything else as the server renders it.

import { serverSays, tellLocalTimes } from "./clock.js";
import { fragment, mergeParts, together } from "./fragments.js";
import { keepConnected } from "./socket.js";

const page = document.querySelector("article[data-run]");
let connections = 0;

export function startRun() {
  keepConnected(`/ws/runs/${page.dataset.run}/`, heard);
}

function heard({ type, data }) {
  if (type === "agent_message") addMessage(data);
  else if (type === "agent_message_chunk") addChunk(data);
  else if (type === "hello") {
    serverSays(data.server_time);
    // The first connection follows the page by a moment, the later ones by a gap: read it again.
    connections += 1;
    refresh("all");
  } else if (data?.run || data?.request) refresh("state");
}

const refresh = together(async (reasons) => {
  const fresh = await fragment(location.pathname);
  if (!fresh) return;
  if (!reasons.includes("all")) fresh.querySelector("[data-part=messages]")?.remove();
  mergeParts(fresh, page);
  tellLocalTimes(page);
});

function addMessage({ agent, text }) {
  const open = page.querySelector(".messages .streaming");
  if (open?.dataset.agent === agent) {
    open.classList.remove("streaming");
    open.querySelector(".text").textContent = text;
  } else newMessage(agent, text);
}

function addChunk({ agent, text }) {
  const open = page.querySelector(".messages .streaming");
  const message = open?.dataset.agent === agent ? open : newMessage(agent, "");
  message.classList.add("streaming");
  message.querySelector(".text").append(text);
}

function newMessage(agent, text) {
  const message = document.querySelector("#message").content.firstElementChild.cloneNode(true);
  message.dataset.agent = agent;
  message.querySelector(".who").textContent = agent;
  message.querySelector(".text").textContent = text;
  const list = page.querySelector(".messages");
  list.append(message);
  list.parentElement.hidden = false;
  return message;
}
