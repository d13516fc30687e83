// Keeps what a person types about a request, in this tab and for this account, until it is sent or discarded: also
// if somebody else decides meanwhile, or the session ends.

const NAMES = ["comment", "reason", "answer"];
const WORDS = { comment: "Your note", reason: "Your reason", answer: "Your answer" };

const keyOf = (id, name) => `sayso.note ${document.body.dataset.account} ${id} ${name}`;
const idInAddress = (address) => /requests\/([^/]+)/.exec(address)?.[1];
const idIn = (detail) => detail.querySelector("article").dataset.id;
const read = (id, name) => JSON.parse(sessionStorage.getItem(keyOf(id, name)));
const drop = (id, name) => sessionStorage.removeItem(keyOf(id, name));

export function keep(field) {
  const id = field.closest("article")?.dataset.id;
  if (!id || !NAMES.includes(field.name)) return;
  if (!field.value) return drop(id, field.name);
  sessionStorage.setItem(keyOf(id, field.name), JSON.stringify({ text: field.value, field: field.id }));
}

// Restores what was kept in its field; if it can no longer be sent, shows it and says so.
export function bring(detail) {
  const id = idIn(detail);
  for (const name of NAMES) {
    const kept = read(id, name);
    if (!kept) continue;
    const field = detail.querySelector(`#${kept.field}`) ?? detail.querySelector(`.act textarea[name=${name}]`);
    if (field) put(kept.text, field);
    else tell(detail, id, name, kept.text);
  }
}

// Forgets what the server accepted, unless the page still has a field for it: that will be sent again.
export function sent(detail, { path, formData }) {
  const id = idInAddress(path);
  for (const name of NAMES) {
    if (formData.has(name) && !detail.querySelector(`[data-id="${id}"] .act textarea[name=${name}]`)) drop(id, name);
  }
}

function put(text, field) {
  if (!field.value) field.value = text;
  field.closest("details")?.setAttribute("open", "");
}

function tell(detail, id, name, text) {
  if (detail.querySelector(`[data-note=${name}]`)) return;
  const box = document.createElement("div");
  box.className = "notice warn unsent";
  box.dataset.note = name;
  const said = box.appendChild(document.createElement("div"));
  said.append(`${WORDS[name]} was not sent:`);
  const quote = said.appendChild(document.createElement("p"));
  quote.className = "quote";
  quote.dir = "auto";
  quote.textContent = text;
  const button = said.appendChild(document.createElement("button"));
  button.textContent = "Discard it";
  button.addEventListener("click", () => {
    drop(id, name);
    box.remove();
    document.querySelector("#title").focus({ preventScroll: true });
  });
  detail.querySelector(".act").before(box);
}
