// One run, live: its messages as they come, everything else as the server renders it.

import { announce } from "./announce.js";
import { now, serverSays, tellLocalTimes } from "./clock.js";
import { UNASKED, fragment, leftForLogin, mergeParts, together } from "./fragments.js";
import { marked } from "./marks.js";
import { keepConnected } from "./socket.js";

const LONGEST = 300, SEEN = 3000, { root } = document.body.dataset;
const detail = document.querySelector("#detail");
const page = () => detail.querySelector("article[data-run]");
const asked = () => detail.querySelector("#asked");
const timeline = () => detail.querySelector(".timeline[role=log]");
const { run, heard: before } = page().dataset;

// Messages by id, until the server has rendered all of each: a rendering may be older than what was heard.
let said = new Map();
let ofThisConnection = new Set();
const charactersIn = new WeakMap();

function heard({ type, data }) {
  if (type === "hello") {
    serverSays(data.server_time);
    ofThisConnection = new Set();
  } else if (type === "agent_message" || type === "agent_message_chunk") hear(data, type === "agent_message");
  else if (type === "run_status" || type === "run_finished") refresh();
  else if (type === "run_recorded" || data?.request) refreshSoon();
}

// Chunks come from the beginning on each connection; the summary that ends them repeats only that.
function hear({ id, agent, text, summary }, whole) {
  const earlier = ofThisConnection.has(id) ? said.get(id)?.text ?? "" : "";
  ofThisConnection.add(id);
  said.set(id, { agent, text: summary ? earlier : whole ? text : earlier + text, whole });
  show(id);
}

function show(id) {
  const list = timeline();
  if (!list) return;
  const { agent, text } = said.get(id);
  const place = (list.querySelector(`[data-message="${id}"]`) ?? append(list, id, agent)).querySelector(".text");
  const shown = charactersIn.get(place);
  if (shown === undefined) replace(place, text);
  else if (text.length > shown) {
    place.append(marked(text.slice(shown)));
    charactersIn.set(place, text.length);
  }
}

// What the server has rendered stays until as much was heard.
function replace(place, text) {
  const whole = marked(text);
  if (whole.textContent.length < place.textContent.length) return;
  if (whole.textContent !== place.textContent) place.replaceChildren(whole);
  charactersIn.set(place, text.length);
}

function append(list, id, agent) {
  const item = document.querySelector("#message").content.firstElementChild.cloneNode(true);
  item.dataset.message = id;
  item.querySelector(".who").replaceChildren(marked(agent));
  const time = Object.assign(document.createElement("time"), { className: "since", dateTime: new Date(now()).toISOString(), textContent: "just now" });
  item.querySelector(".muted").append(time);
  if (list.children.length > LONGEST) refreshSoon();
  return list.appendChild(item);
}

// What was asked for before something newer was, or before a decision was sent, is not shown any more.
let loads = 0;

async function load() {
  const standing = asked()?.dataset.id, mine = (loads += 1);
  const fresh = await fragment(address());
  if (!fresh || mine !== loads) return;
  mergeParts(fresh, page());
  tellLocalTimes(detail);
  catchUp();
  bringNotes();
  if (asked() && asked().dataset.id !== standing) stand(asked().dataset.id);
}
const refresh = together(load);
const refreshSoon = together(load, 600);

// Shows again what the rendering does not have yet, and forgets what it has.
function catchUp() {
  if (!timeline()) return;
  const ids = [...timeline().querySelectorAll("[data-message]")].map((item) => Number(item.dataset.message));
  const first = Math.min(...ids);
  for (const [id, { whole }] of said) {
    if (id >= first || !ids.length) show(id);
    if (whole && (id < first || ids.includes(id))) said.delete(id);
  }
}

// The request that somebody writes about stays, also once it is closed, until the text is sent or discarded.
function address() {
  const query = new URLSearchParams(location.search);
  if (isTyping() || isKept(asked()?.dataset.id)) query.set("request", asked().dataset.id);
  return `${location.pathname}?${query}`;
}

const isTyping = () => [...(asked()?.querySelectorAll("textarea, select, input:not([type=hidden])") ?? [])].some(isChanged);
const isKept = (id) => id && Object.keys(sessionStorage).some((key) => key.startsWith("sayso.note") && key.includes(id));
const isChanged = (field) =>
  field.options ? [...field.options].some((each) => each.selected !== each.defaultSelected)
    : field.value !== field.defaultValue || field.checked !== field.defaultChecked;

// A request that appears by itself counts as seen once it has been visible for a while.
let waiting, unasked;

function stand(id) {
  clearTimeout(waiting);
  unasked = id;
  if (!document.hidden) waiting = setTimeout(seen, SEEN);
}

function seen() {
  const token = asked()?.querySelector("[name=csrfmiddlewaretoken]");
  if (token && asked().dataset.id === unasked)
    fragment(`${root}requests/${unasked}/viewed/`, { method: "POST", headers: { ...UNASKED, "X-CSRFToken": token.value } });
  unasked = null;
}
document.addEventListener("visibilitychange", () => unasked && stand(unasked));

// What is typed and not sent is kept in this tab.
let noteKeeper;
const notes = () => (noteKeeper ??= import("./notes.js"));
const kept = () => Object.keys(sessionStorage).some((key) => key.startsWith("sayso.note"));
const bringNotes = () => asked() && kept() && notes().then(({ bring }) => bring(asked().parentElement));
addEventListener("load", notes, { once: true });
detail.addEventListener("input", ({ target }) => target.matches(".asked textarea") && notes().then(({ keep }) => keep(target)));

document.addEventListener("htmx:afterSwap", async ({ detail: { target, xhr, requestConfig } }) => {
  if (target !== detail) return;
  loads += 1;
  const id = requestConfig.path.split("/").at(-2);
  if (requestConfig.verb === "post" && xhr.status === 200 && kept()) (await notes()).sent(detail, requestConfig);
  tellLocalTimes(detail);
  catchUp();
  bringNotes();
  const faulty = detail.querySelector("[autofocus], [aria-invalid=true]");
  (faulty ?? detail.querySelector("h1")).focus({ preventScroll: !faulty });
  if (asked()?.dataset.id !== id) announce("Recorded.");
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (leftForLogin(event.detail.xhr.responseURL)) event.detail.shouldSwap = false;
});

bringNotes();
// Earlier parts of what happened do not change.
if (before !== undefined) keepConnected(`${root}ws/runs/${run}/?after=${before}`, heard);
