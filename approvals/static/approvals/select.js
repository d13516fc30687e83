// The ticked rows of the list: how many there are, all that are shown, none that can't be decided any more.

const MOST = 100;
const rows = document.querySelector("#rows"), bar = document.querySelector("#several");
const says = bar.querySelector("[role=status]"), all = bar.querySelector("[data-all]"), go = bar.querySelector(".primary");
let ticked = new Set(), last = rows.querySelector("[name=id]:checked")?.value;

const boxes = () => [...rows.querySelectorAll("[name=id]")];
const checked = () => boxes().filter((box) => box.checked);

// Ticks what is ticked already again in rows that the server rendered anew. What is not shown any more, or has closed,
// is not selected any more.
function keep() {
  for (const box of boxes()) box.checked ||= ticked.has(box.value);
  count();
}

function count() {
  const chosen = checked(), shown = boxes();
  ticked = new Set(chosen.map((box) => box.value));
  says.textContent = `${chosen.length} selected${chosen.length > MOST ? `: at most ${MOST} can be decided at once` : ""}`;
  go.textContent = "Decide them…";
  go.disabled = chosen.length > MOST;
  const offer = shown.length > MOST ? `Select the first ${MOST}` : "Select all shown";
  all.textContent = chosen.length < Math.min(shown.length, MOST) ? offer : "Select none";
  all.hidden = false;
}

// With Shift held, all rows from the last one that was clicked become like this one.
function tickRange(from, to) {
  const each = boxes();
  const [first, end] = [each.findIndex(({ value }) => value === from), each.indexOf(to)].sort((one, other) => one - other);
  if (first >= 0) for (const box of each.slice(first, end + 1)) box.checked = to.checked;
}

rows.addEventListener("click", ({ target, shiftKey }) => {
  if (target.name !== "id") return;
  if (shiftKey) tickRange(last, target);
  last = target.value;
});
rows.addEventListener("change", count);
all.addEventListener("click", () => {
  const tick = checked().length < Math.min(boxes().length, MOST);
  for (const [index, box] of boxes().entries()) box.checked = tick && index < MOST;
  count();
  if (!tick) boxes()[0].focus();
});
bar.addEventListener("submit", () => (bar.elements.back.value = location.search));
new MutationObserver((changes) => changes.some(({ target }) => target.matches("ol, ul")) && keep())
  .observe(rows, { childList: true, subtree: true });
count();
