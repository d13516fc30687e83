// What somebody types about a request, kept in this tab for this account and request until it is sent or thrown
// away: whoever decides meanwhile, and wherever the session ends.

const NAMES = ["comment", "reason", "answer"];
const WORDS = { comment: "Your note", reason: "Your reason", answer: "Your answer" };

const keyOf = (id, name) => `sayso.note ${document.body.dataset.account} ${id} ${name}`;
const idIn = (detail) => detail.querySelector("article").dataset.id;
const read = (id, name) => JSON.parse(sessionStorage.getItem(keyOf(id, name)));
const drop = (id, name) => sessionStorage.removeItem(keyOf(id, name));

export function keep(field) {
  const id = field.closest("article")?.dataset.id;
  if (!id || !NAMES.includes(field.name)) return;
  if (!field.value) return drop(id, field.name);
  sessionStorage.setItem(keyOf(id, field.name), JSON.stringify({ text: field.value, field: field.id }));
}

// Puts what was kept where it was typed; where it can't be sent any more, shows it and says so.
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

// The server took what was sent. Where there still is a field for it, that is to be sent once more.
export function sent(detail, data) {
  for (const name of NAMES) {
    if (data.has(name) && !detail.querySelector(`.act textarea[name=${name}]`)) drop(idIn(detail), name);
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
  button.textContent = "Throw it away";
  button.addEventListener("click", () => {
    drop(id, name);
    box.remove();
    detail.querySelector("h1").focus({ preventScroll: true });
  });
  detail.querySelector(".act").before(box);
}

// Who begins a note and then rejects, or the other way round, finds it where it goes on.
document.addEventListener("toggle", ({ target }) => {
  const field = target.open && target.matches(".act details") && target.querySelector("textarea[name=comment]");
  const kept = field && read(target.closest("article").dataset.id, "comment");
  if (kept && !field.value) field.value = kept.text;
}, true);
