// Filters and Show more: load the list again and change the address; the open request stays.

import { announce } from "./announce.js";
import { together } from "./fragments.js";
import { RETRY, ask, filters, limit, list, relist, rows, rowsShown, search } from "./inbox.js";

const filterSoon = together(() => filter(), 250);

filters.addEventListener("submit", (event) => (event.preventDefault(), filter()));
filters.addEventListener("change", () => filter());
filters.addEventListener("input", ({ target }) => target.type === "search" && filterSoon());
list.addEventListener("click", (event) => {
  const further = event.target.closest("[data-limit]");
  if (!further || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  showMore(further.dataset.limit);
});

let turn = 0;

// Only the last of several that are under way shows its list.
async function filter() {
  const own = ++turn;
  delete rows.dataset.before;
  const query = search().toString();
  history.replaceState(history.state, "", location.pathname + (query && `?${query}`));
  const answer = await ask();
  if (own !== turn) return;
  if (!answer) return setTimeout(() => own === turn && filter(), RETRY);
  if (!answer.current) return; // what changed the filters asks
  relist(answer.children, answer.number);
  announce(`${rowsShown().length} shown.`);
}

async function showMore(most) {
  const before = rowsShown().length;
  limit.value = most;
  limit.disabled = false;
  await filter();
  rowsShown()[before]?.querySelector("a").focus({ preventScroll: true });
}

// Applies what was typed before this script was loaded.
const sorted = (query) => (query.sort(), query.toString());
const address = new URLSearchParams(location.search);
address.delete("before");
if (sorted(search()) !== sorted(address)) filterSoon();
