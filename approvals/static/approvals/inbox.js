// The live list and the request beside it. The WebSocket says what changed; the server renders it.

import { announce } from "./announce.js";
import { serverSays, tellLocalTimes } from "./clock.js";
import { UNASKED, fragment, leftForLogin, mergeParts, together } from "./fragments.js";
import { keepConnected } from "./socket.js";

export const RETRY = 5000;
const MOST_IDS = 50, SNAPSHOT = 200, SEEN = 3000, { root } = document.body.dataset;
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

// On wide screens the first request that this person can decide opens by itself; where the list is of others, too, the
// first pending one if there is none. The focus stays where it is, and the request counts
// as seen only after a while.
let unasked = null, standing;

function openFirst() {
  const others = rows.dataset.shows !== "mine" && rows.querySelector("li[id]:not(.closed) a");
  const first = rows.querySelector("input + a") ?? others;
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
    watch();
  }
  if (type === "snapshot") {
    pending.push(...data.requests.map((request) => request.id));
    if (data.more) return;
    compare(pending);
    pending = [];
  }
  if (data?.request) look(data.request.id, ...(isBeside(data.request) ? [selected()] : []));
}

// Says which request is open: its changes are told also once it is closed, and in no list.
let say = () => {};
const watch = () => say("look", { request_id: selected() ?? null });

// Whether it has the origin of the open request, whose page lists it.
const isBeside = ({ origin }) => origin?.id && origin.id === detail.querySelector("[data-origin]")?.dataset.origin;

const look = together(async (changed) => {
  // What is left of a group is told of a request that may still be seen.
  const ids = [...new Set(changed.flatMap((id) => [id, ...(holderOf(id)?.dataset.ids.split(" ") ?? [])]))];
  if (ids.length > MOST_IDS) return refresh();
  await lookAt(ids);
  settle();
  if (changed.includes(selected())) refreshDetail();
});

// For each id the number of the last question that told of it, and that of the last one which told the whole list:
// what was asked earlier may be answered later, and tells nothing new.
const lookedAt = new Map();
let asked = 0, told = 0, listed = 0;
let groups = null; // loaded where rows have groups
const isNews = (id, number) => number > listed && number > (lookedAt.get(id) ?? 0);

// What opened and closed between two looks is told to nobody: the list of what was decided is read as a whole.
async function lookAt(ids) {
  const answer = await ask(rows.dataset.shows === "decided" ? [] : ids);
  if (!answer) return setTimeout(() => look(...ids), RETRY);
  const { shown, number, current } = answer;
  if (!current) return look(...ids);
  const news = (id) => isNews(id, number);
  const fresh = shown.filter((row) => news(idOf(row)));
  fresh.forEach(place);
  // Rows that did not come back may no longer be seen; what is left of a group came with what was asked for.
  for (const id of ids) {
    if (!news(id)) continue;
    if (!isAmong(shown, id)) rowOf(id)?.remove();
    const holder = holderOf(id);
    if (holder && news(idOf(holder)) && !isAmong(shown, idOf(holder))) holder.remove();
    lookedAt.set(id, number);
  }
  for (const row of fresh) lookedAt.set(idOf(row), number);
  groups?.tidy(rows);
}

async function refresh() {
  const answer = await ask();
  if (!answer) return setTimeout(refresh, RETRY);
  const { shown, number, current } = answer;
  if (!current) return refresh();
  for (const row of shown.filter((each) => isNews(idOf(each), number))) {
    place(row);
    lookedAt.set(idOf(row), number);
  }
  for (const row of rows.querySelectorAll("[data-ids]")) if (isNews(idOf(row), number) && !isAmong(shown, idOf(row))) row.remove();
  const there = new Set(shown.flatMap(idsOf));
  const gone = waiting().filter((id) => !there.has(id));
  while (gone.length) await lookAt(gone.splice(0, MOST_IDS));
  settle();
  if (selected()) refreshDetail();
}

// Shows this list instead. What was told since it was asked for is looked at again: it may have come too late for it.
export function relist(shown, number) {
  rows.replaceChildren(...shown);
  window.htmx.process(rows);
  tellLocalTimes(rows);
  const later = [...lookedAt].filter(([, other]) => other > number).map(([id]) => id);
  lookedAt.clear();
  listed = number;
  settle();
  if (later.length) look(...later);
}

// Which list is asked for.
function wanted() {
  const query = search();
  if (rows.dataset.before) query.set("before", rows.dataset.before);
  return query;
}

// Fetches the counts and a list of rows: all, or those of these ids. Null without an answer; it is not `current` if
// another list is wanted by now.
export async function ask(ids = []) {
  const number = ++asked;
  const query = wanted();
  const which = query.toString();
  query.set("shown", rowsShown().flatMap(idsOf).length);
  if (selected()) query.set("open", selected());
  for (const id of ids) query.append("id", id);
  if (filters.elements.group.value) groups ??= await import("./groups.js");
  const fresh = await fragment(`${root}rows/?${query}`);
  if (!fresh) return null;
  const current = which === wanted().toString(), found = fresh.querySelector("#rows");
  if (current && number > told) {
    told = number;
    mergeParts(fresh, list);
    mergeTabs(fresh);
  }
  return { number, current, shown: rowsShown(found), children: [...found.children] };
}

// Each tab stays, so that it keeps the focus; only its count and its address change.
function mergeTabs(fresh) {
  for (const tab of fresh.querySelectorAll(".tabs a")) {
    const old = list.querySelector(`.tabs [data-tab=${tab.dataset.tab}]`);
    if (!old) continue;
    old.href = tab.href;
    if (old.innerHTML !== tab.innerHTML) old.innerHTML = tab.innerHTML;
  }
}

// The rows of a list, without the headings of their groups.
export const rowsShown = (of = rows) => [...of.querySelectorAll("li[id]")];

// Compares the snapshot, the first pending requests in the list's order, with the rows shown: if they are the same,
// nothing was missed without a connection.
function compare(pending) {
  const shown = waiting();
  const common = Math.min(pending.length, shown.length);
  const first = new Set(pending.slice(0, common));
  const same = shown.slice(0, common).every((id) => first.has(id));
  const nothingMissing = pending.length === common || shown.length >= limit.value;
  const nothingGone = shown.length === common || pending.length >= SNAPSHOT;
  if (!whole() || !same || !nothingMissing || !nothingGone) refresh();
  else if (selected()) refreshDetail();
}

// Whether the list shows what snapshots have: all that this person may see, the first by deadline.
function whole() {
  const [mine, seen] = counts();
  const all = rows.dataset.shows === "all" || (rows.dataset.shows === "mine" && mine === seen);
  return all && !filtered() && !filters.elements.sort.value;
}

export function search() {
  return new URLSearchParams([...new FormData(filters)].filter(([, value]) => value));
}

const KEEP_ALL = ["tab", "sort", "group", "limit"];
const filtered = () => [...search().keys()].some((name) => !KEEP_ALL.includes(name));

function place(row) {
  // What a group gathers has no row of its own.
  if (row.dataset.ids) idsOf(row).forEach((id) => rowOf(id)?.remove());
  const old = rowOf(idOf(row));
  if (old) return old.dataset.version === row.dataset.version || replace(old, row);
  if (row.classList.contains("closed") && rows.dataset.shows !== "decided") return;
  keepingPlace(() => insert(row));
  row.classList.add("arrived");
  window.htmx.process(row);
  tellLocalTimes(row);
  if (!holderOf(idOf(row))) announce(`New: ${row.querySelector(".title").textContent.trim()}`);
}

function insert(row) {
  const among = groups?.rowsBeside(row, rows) ?? rowsShown();
  const after = among.find((other) => other.dataset.order > row.dataset.order);
  rows.insertBefore(row, after ?? among.at(-1)?.nextElementSibling ?? null);
}

function replace(old, row) {
  const focused = old.contains(document.activeElement);
  const ticked = old.querySelector("input:checked") && row.querySelector("input");
  const closing = row.classList.contains("closed") && !old.classList.contains("closed");
  // What is due first in a group may be another request by now.
  if (row.dataset.ids && old.dataset.order !== row.dataset.order) keepingPlace(() => (old.remove(), insert(row)));
  else old.replaceWith(row);
  window.htmx.process(row);
  tellLocalTimes(row);
  if (ticked) ticked.checked = true;
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
  const own = rowOf(id)?.querySelector("a").href ?? `${root}requests/${id}/${location.search}`;
  const fresh = await fragment(address ?? own, how);
  const gone = !fresh && (await isGone(own));
  if (selected() !== id) return;
  const state = actState(), before = remarks().length;
  if (gone) close();
  if (fresh) mergeParts(fresh, detail);
  if (state !== actState() && ["gone", "watching"].includes(actState())) announce(act().textContent.trim());
  else if (remarks().length > before) announce(remarks().at(-1).parentElement.firstElementChild.textContent);
  tellLocalTimes(detail);
  bringNotes();
}

const remarks = () => [...detail.querySelectorAll(".trail div.after")];
const act = () => detail.querySelector(".act");
const actState = () => act()?.dataset.state;
const isGone = (address) => fetch(address, { method: "HEAD", headers: UNASKED }).then(({ status }) => status === 404, () => false);

// Leaves what is shown of a request that this person may not see any more, without what could be sent.
function close() {
  const focused = act().contains(document.activeElement);
  const said = document.createElement("p");
  said.textContent = "This is no longer yours to decide: it was handed on, or you may not see it any more. What is shown here is as it was.";
  act().replaceChildren(said);
  act().dataset.state = "gone";
  said.className = "notice warn";
  if (focused) detail.querySelector("h1").focus({ preventScroll: true });
}

// What is typed and not sent is kept in this tab. Few type: the script comes when somebody does, or has.
const kept = () => Object.keys(sessionStorage).some((key) => key.startsWith("sayso.note"));
const bringNotes = () => kept() && selected() && notes().then(({ bring }) => bring(detail));

function settle() {
  document.querySelector("#unfit").hidden = rows.children.length > 0 || !filtered();
  document.querySelector("#empty").hidden = rows.children.length > 0 || filtered() || Boolean(rows.dataset.before);
  markSelected();
}

// How many this person may decide, and see, as the server counts: the list may show a part.
const counts = () => ["mine", "seen"].map((name) => list.querySelector(`data.${name}`).textContent);

function nameThePage() {
  const [mine] = counts();
  const name = (location.pathname !== root && detail.querySelector("[data-name]")?.dataset.name) || "Inbox";
  document.title = `${mine === "0" ? "" : `(${mine}) `}${name} · Sayso`;
}

function showSelected() {
  markSelected();
  watch();
  tellLocalTimes(detail);
  const heading = detail.querySelector("h1");
  const focusHere = detail.querySelector("[autofocus], [aria-invalid=true]") ?? heading;
  bringNotes();
  if (unasked === selected()) return stand();
  unasked = null;
  clearTimeout(standing);
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
// A row of a group stands for several requests.
const idsOf = (row) => row.dataset.ids?.split(" ") ?? [idOf(row)];
const holderOf = (id) => rows.querySelector(`[data-ids~="${id}"]`);
const isAmong = (shown, id) => shown.some((row) => idOf(row) === id);
const waiting = () => rowsShown().filter((row) => !row.classList.contains("closed")).flatMap(idsOf);
const selected = () => detail.querySelector("article")?.dataset.id;

markSelected();
bringNotes();
openFirst();

// What is new in the background is told where a person has switched that on in this browser.
const notices = async () => localStorage.getItem("sayso.notices") === "on" && import("./notify.js");
addEventListener("storage", notices);
await notices().catch((error) => console.info(error.message));
say = keepConnected(`${root}ws/inbox/`, heard);
