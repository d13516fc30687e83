// Adds and removes rows of forms, shows optional parts, offers the reader's time zone, all without the server.
// Forms work without it: buttons send the form, everything is shown, times are in UTC.

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[name=more], button[name=less]");
  if (!button) return;
  event.preventDefault();
  if (button.name === "more") add(button.closest(".list-of"));
  else remove(button.closest("li"));
});
document.addEventListener("change", ({ target }) => target.closest("form") && settle(target.closest("form")));
document.addEventListener("htmx:load", ({ detail }) => begin(detail.elt));
begin(document);

function begin(root) {
  settle(root);
  tellZone(root);
}

function add(list) {
  const template = list.querySelector(":scope > template");
  const entries = list.querySelector(":scope > ol");
  if (entries.children.length >= (list.dataset.most ?? Infinity)) return;
  const ids = [...entries.children].map((entry) => Number(entry.querySelector("input").value));
  const id = String(Math.max(-1, ...ids) + 1);
  const row = template.content.cloneNode(true);
  rename(row, template.dataset.name, template.dataset.name.replace(/\+\]$/, `${id}]`));
  rename(row, template.dataset.id, template.dataset.id.replace(/-2b--5d-$/, `${id}-5d-`));
  row.querySelector("input").value = id;
  entries.append(row);
  begin(entries.lastElementChild);
  entries.lastElementChild.querySelector("input:not([type=hidden]), textarea, select")?.focus();
}

function remove(entry) {
  const list = entry.closest(".list-of");
  entry.remove();
  list.querySelector(":scope > p > button").focus();
}

// Renames everything inside a row, templates of further rows included.
function rename(root, from, to) {
  for (const element of root.querySelectorAll("*")) {
    for (const attribute of element.attributes)
      if (attribute.value.startsWith(from)) attribute.value = to + attribute.value.slice(from.length);
    if (element.content) rename(element.content, from, to);
  }
}

// Disables hidden parts: the browser then neither checks nor sends them.
function settle(root) {
  for (const inside of root.querySelectorAll(".branch > fieldset"))
    inside.disabled = !inside.parentElement.querySelector("label > input").checked;
}

// Empty times start with the reader's own time zone.
function tellZone(root) {
  for (const select of root.querySelectorAll("select[data-zone]")) {
    const zone = select.dataset.zone === "name" ? here() : offset();
    delete select.dataset.zone;
    if (!zone || zone.value === "UTC") continue;
    if (![...select.options].some((option) => option.value === zone.value))
      select.prepend(new Option(zone.label, zone.value));
    if (!select.closest(".moment").querySelector("input").value) select.value = zone.value;
  }
}

function here() {
  const value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return value && { value, label: value.replaceAll("_", " ") };
}

function offset() {
  const minutes = -new Date().getTimezoneOffset();
  const two = (number) => String(Math.trunc(Math.abs(number))).padStart(2, "0");
  const value = `${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
  return { value, label: `UTC${value}, as it is here now` };
}
