// Rows under headings, one for each orchestration or requester. A group without rows has no heading.

// Returns the rows among which this one is placed by its order; for the first of its group, gives it a heading.
export function rowsBeside(row, rows) {
  if (!row.dataset.group) return null;
  const headings = [...rows.querySelectorAll(".group")];
  const own = headings.find((heading) => rowsUnder(heading)[0]?.dataset.group === row.dataset.group);
  if (own) return rowsUnder(own);
  const after = headings.find((heading) => rowsUnder(heading)[0]?.dataset.order > row.dataset.order);
  const heading = document.createElement("li");
  heading.className = "group";
  heading.appendChild(document.createElement("h2")).textContent = row.dataset.group;
  rows.insertBefore(heading, after ?? null);
  return [heading];
}

// Removes headings whose rows are gone.
export function tidy(rows) {
  for (const heading of rows.querySelectorAll(".group")) if (!rowsUnder(heading).length) heading.remove();
}

function rowsUnder(heading) {
  const found = [];
  for (let next = heading.nextElementSibling; next?.id; next = next.nextElementSibling) found.push(next);
  return found;
}
