// The live list and the request beside it. The WebSocket says what changed; the server renders it.

import { announce } from "./announce.js";
import { serverSays, tellLocalTimes } from "./clock.js";
import { UNASKED, fragment, leftForLogin, mergeParts, together } from "./fragments.js";
import { keepConnected } from "./socket.js";

const MOST_IDS = 50, SNAPSHOT = 200, RETRY = 5000, SEEN = 3000, { root } = document.body.dataset;
export const list = document.querySelector(".list");
export const rows = document.querySelector("#rows");
const detail = document.querySelector("#detail");
const scroller = rows.closest(".scroll");
export const filters = document.querySelector(".filters");
export const { limit } = filters.elements;
const wide = matchMedia("(min-width: 56.01rem)");

document.addEventListener("visibilitychange", stand);
detail.addEventListener("input", ({ target }) => target.matches("textarea") && notes().then(({ keep }) => keep(target)));
document.addEventListener("htmx:afterSwap", async ({ detail: { target, xhr, requestConfig } }) => {
  if (target !== detail) return;
  if (requestConfig.verb === "post" && xhr.status === 200 && kept()) (await notes()).sent(detail, requestConfig);
  showSelected();
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (leftForLogin(event.detail.xhr.responseURL)) event.detail.shouldSwap = false;
});
// Rows are ticked to be decided together.
rows.addEventListener("change", () => import("./select.js"));
document.addEventListener("sayso:move", (event) => move(event.detail));
filters.querySelector("button").hidden = true;

// Loaded right after the page: later the server may be unreachable.
let noteKeeper;
const notes = () => (noteKeeper ??= import("./notes.js"));
addEventListener("load", () => Promise.all([import("./search.js"), notes()]), { once: true });

function move(by) {
  const links = [...rows.querySelectorAll("a")];
  const current = document.activeElement.closest("#rows a") ?? rows.querySelector("[aria-current]");
  const next = links[Math.min(links.length - 1, Math.max(0, links.indexOf(current) + by))];
  next?.focus();
}

// On wide screens the first pending request opens by itself. The focus stays where it is, and the request counts
// as seen only after a while.
let unasked = null, standing;

function openFirst() {
  const first = rows.querySelector("li:not(.closed) a");
  if (wide.matches && first && !detail.querySelector("article, .done")) {
    unasked = idOf(first.parentElement);
    // Errors are shown elsewhere.
    window.htmx.ajax("GET", first.getAttribute("href"), { target: detail, headers: UNASKED }).catch(() => {});
  }
}

function stand() {
  clearTimeout(standing);
  if (unasked && unasked === selected() && !document.hidden) standing = setTimeout(seen, SEEN);
}

function seen() {
  const token = detail.querySelector("[name=csrfmiddlewaretoken]") ?? document.querySelector("[name=csrfmiddlewaretoken]");
  refreshDetail(`${root}requests/${unasked}/viewed/`, { method: "POST", headers: { "X-CSRFToken": token.value } });
  unasked = null;
}

// The ids of a snapshot so far, which may come in parts.
let pending = [];

function heard({ type, data }) {
  if (type === "hello") {
    serverSays(data.server_time);
    pending = [];
  }
  if (type === "snapshot") {
    pending.push(...data.requests.map((request) => request.id));
    if (data.more) return;
    compare(pending);
    pending = [];
  }
  if (data?.request) look(data.request.id, ...(isBeside(data.request) ? [selected()] : []));
}

// Whether it has the origin of the open request, whose page lists it.
const isBeside = ({ origin }) => origin?.id && origin.id === detail.querySelector("[data-origin]")?.dataset.origin;

const look = together(async (ids) => {
  if (ids.length > MOST_IDS) return refresh();
  await lookAt(ids);
  settle();
  if (ids.includes(selected())) refreshDetail();
});

async function lookAt(ids) {
  const shown = await ask(ids);
  if (!shown) return setTimeout(() => look(...ids), RETRY);
  shown.forEach(place);
  // Rows that did not come back may no longer be seen.
  for (const id of ids) if (!shown.some((row) => idOf(row) === id)) rowOf(id)?.remove();
}

async function refresh() {
  const shown = await ask();
  if (!shown) return setTimeout(refresh, RETRY);
  shown.forEach(place);
  const there = new Set(shown.map(idOf));
  const gone = waiting().filter((id) => !there.has(id));
  while (gone.length) await lookAt(gone.splice(0, MOST_IDS));
  settle();
  if (selected()) refreshDetail();
}

let asked = 0, told = 0; // an earlier question may be answered later

// Fetches the counts and the rows: all, or those of these ids.
export async function ask(ids = []) {
  const number = ++asked;
  const query = search();
  query.set("shown", rows.children.length);
  if (selected()) query.set("open", selected());
  for (const id of ids) query.append("id", id);
  const fresh = await fragment(`${root}rows/?${query}`);
  if (!fresh) return null;
  if (number > told) {
    told = number;
    mergeParts(fresh, list);
  }
  return [...fresh.querySelector("#rows").children];
}

// Compares the snapshot, the first pending requests in the list's order, with the rows shown: if they are the same,
// nothing was missed without a connection.
function compare(pending) {
  const shown = waiting();
  const common = Math.min(pending.length, shown.length);
  const first = new Set(pending.slice(0, common));
  const same = shown.slice(0, common).every((id) => first.has(id));
  const nothingMissing = pending.length === common || shown.length >= limit.value;
  const nothingGone = shown.length === common || pending.length >= SNAPSHOT;
  if (filtered() || !same || !nothingMissing || !nothingGone) refresh();
  else if (selected()) refreshDetail();
}

export function search() {
  return new URLSearchParams([...new FormData(filters)].filter(([, value]) => value));
}

const filtered = () => [...search().keys()].some((name) => name !== "limit");

function place(row) {
  const old = rowOf(idOf(row));
  if (old) return replace(old, row);
  if (row.classList.contains("closed")) return;
  const after = [...rows.children].find((other) => other.dataset.order > row.dataset.order);
  keepingPlace(() => rows.insertBefore(row, after ?? null));
  row.classList.add("arrived");
  window.htmx.process(row);
  announce(`New: ${row.querySelector(".title").textContent.trim()}`);
}

function replace(old, row) {
  const focused = old.contains(document.activeElement);
  const closing = row.classList.contains("closed") && !old.classList.contains("closed");
  old.replaceWith(row);
  window.htmx.process(row);
  if (focused) row.querySelector("a").focus({ preventScroll: true });
  // What this person has just decided is told already.
  if (closing && !detail.querySelector(`.done [href*="${idOf(row)}"]`)) announce(`${row.querySelector(".status").textContent.trim()}: ${row.querySelector(".title").textContent.trim()}`);
}

// A row that arrives above the one under the pointer or the focus must not push it away.
function keepingPlace(change) {
  const reading = rows.querySelector("li:hover, li:focus-within");
  const top = reading?.getBoundingClientRect().top;
  change();
  if (reading) (wide.matches ? scroller : window).scrollBy({ top: reading.getBoundingClientRect().top - top, behavior: "instant" });
}

async function refreshDetail(address, how) {
  const id = selected();
  const fresh = await fragment(address ?? rowOf(id)?.querySelector("a").href ?? `${root}requests/${id}/`, how);
  if (!fresh || selected() !== id) return;
  mergeParts(fresh, detail);
  tellLocalTimes(detail);
  bringNotes();
}

// What is typed and not sent is kept in this tab. Few type: the script comes when somebody does, or has.
const kept = () => Object.keys(sessionStorage).some((key) => key.startsWith("sayso.note"));
const bringNotes = () => kept() && selected() && notes().then(({ bring }) => bring(detail));

export function settle() {
  document.querySelector("#unfit").hidden = rows.children.length > 0 || !filtered();
  document.querySelector("#empty").hidden = rows.children.length > 0 || filtered();
  tellLocalTimes(rows);
  markSelected();
}

// By the server's counts: the list may show a part.
function nameThePage() {
  const [mine, seen] = ["mine", "seen"].map((name) => list.querySelector(`.${name}`).textContent);
  const [all, own] = filters.elements.show.options;
  all.text = `Everything (${seen})`;
  own.text = `For me (${mine})`;
  const name = (location.pathname !== root && detail.querySelector("[data-name]")?.dataset.name) || "Inbox";
  document.title = `${mine === "0" ? "" : `(${mine}) `}${name} · Sayso`;
}

function showSelected() {
  markSelected();
  tellLocalTimes(detail);
  const heading = detail.querySelector("h1");
  const focusHere = detail.querySelector("[autofocus], [aria-invalid=true]") ?? heading;
  bringNotes();
  if (unasked === selected()) return stand();
  unasked = null;
  focusHere?.focus({ preventScroll: focusHere === heading });
  if (focusHere === heading) scrollTo({ top: 0, behavior: "instant" });
}

function markSelected() {
  rows.querySelector("[aria-current]")?.removeAttribute("aria-current");
  rowOf(selected())?.querySelector("a").setAttribute("aria-current", "true");
  nameThePage();
}

const rowOf = (id) => document.getElementById(`row-${id}`);
const idOf = (row) => row.id.slice(4);
const waiting = () => [...rows.querySelectorAll("li:not(.closed)")].map(idOf);
const selected = () => detail.querySelector("article")?.dataset.id;

markSelected();
bringNotes();
openFirst();

// What is new in the background is told where a person has switched that on in this browser.
const notices = async () => localStorage.getItem("sayso.notices") === "on" && import("./notify.js");
addEventListener("storage", notices);
await notices().catch((error) => console.info(error.message));
keepConnected(`${root}ws/inbox/`, heard);
