// Tells what is new for this person while the page is in the background: in its title, and by notifications.
// Loaded only where a person has switched that on in this browser.

import { now } from "./clock.js";
import { fragment, together } from "./fragments.js";

const SETTING = "sayso.notices";
const MOST_IDS = 50, RETRY = 5000, NAMED = 3, ALL = "sayso.new", { root } = document.body.dataset;

// What is new for this person since they looked away: the ids, each with the notification that tells of it, or null.
const fresh = new Map();
let awaySince = now(), heard = new Set();

document.addEventListener("visibilitychange", () => {
  [...fresh.keys()].forEach(forget);
  awaySince = now();
  heard = new Set();
});

document.addEventListener("sayso:heard", ({ detail: { type, data } }) => {
  if (type === "request_opened") look([data.request]);
  if (type === "request_closed") forget(data.request.id);
  // After a time without a connection, the list says what was opened meanwhile.
  if (type === "snapshot") look(data.requests.filter(({ opened_at }) => Date.parse(opened_at) > awaySince));
});

const enabled = () => document.hidden && localStorage.getItem(SETTING) === "on";

function look(requests) {
  const ids = requests.map(({ id }) => id).filter((id) => !heard.has(id));
  if (!enabled() || !ids.length) return;
  ids.forEach((id) => heard.add(id));
  ask(...ids);
}

// Asks the server which of these are for this person.
const ask = together(async (ids) => {
  const found = [];
  while (ids.length) {
    const some = ids.splice(0, MOST_IDS);
    const answer = await fragment(`${root}requests/new/?${new URLSearchParams(some.map((id) => ["id", id]))}`);
    if (answer) found.push(...answer.querySelectorAll("li"));
    else if (enabled()) setTimeout(() => ask(...some), RETRY);
  }
  tell(found.filter(({ dataset }) => enabled() && !fresh.has(dataset.id)));
}, 500);

function tell(news) {
  if (!news.length) return;
  const notice = notify(news);
  for (const { dataset } of news) fresh.set(dataset.id, notice);
  mark();
}

// One notification for all that came together. Tabs share it by its tag.
function notify(news) {
  if (globalThis.Notification?.permission !== "granted") return null;
  const links = news.map((one) => one.querySelector("a")), [{ dataset }] = news, alone = news.length === 1;
  const title = alone ? links[0].title : `${news.length} new requests`;
  // Of what is confidential, it is not said who asks.
  const by = links[0].textContent;
  const body = alone ? by && `Asked by ${by.replace(/^A /, "a ")}` : links.slice(0, NAMED).map((link) => link.title).join("\n");
  try {
    const notice = new Notification(title, { body, tag: alone ? dataset.id : ALL, dir: "auto" });
    notice.addEventListener("click", () => {
      window.focus();
      notice.close();
      if (alone) open(dataset.id, links[0].getAttribute("href"));
    });
    return notice;
  } catch (error) {
    // Some browsers show notifications of service workers only.
    console.info(error.message);
    return null;
  }
}

function open(id, address) {
  const link = document.querySelector(`#row-${id} a`);
  if (link) link.click();
  else location.assign(address);
}

function forget(id) {
  const notice = fresh.get(id);
  if (!fresh.delete(id)) return;
  if (![...fresh.values()].includes(notice)) notice?.close();
  mark();
}

// The title begins with how many wait, and how many of them are new: "(5, 2 new) Inbox".
let named = document.title, marked = named;

function mark() {
  const count = (_, waiting) => `(${waiting ? `${waiting}, ` : ""}${fresh.size} new) `;
  const title = fresh.size ? named.replace(/^(?:\((\d+\+?)\) )?/, count) : named;
  if (document.title !== title) document.title = title;
  marked = title;
}

new MutationObserver(() => {
  if (document.title === marked) return;
  named = document.title;
  mark();
}).observe(document.querySelector("title"), { childList: true });
