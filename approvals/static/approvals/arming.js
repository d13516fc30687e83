// What the keys `a` and `r` do: they focus a button so that Enter presses it, and say so. Any other key moves the
// focus away.

const HARMLESS = ["Enter", "Shift", "Control", "Alt", "Meta", "Tab"];

// First what has to be ticked before one may approve, if anything.
export function approve() {
  const button = document.querySelector("[data-key=a]");
  const tick = button?.form.querySelector("[name=read]:required:not(:checked)");
  if (tick) tick.focus();
  else if (button) arm(button);
}

// First the note, for the reason: there Tab leads to Reject, and not to Approve.
export function reject() {
  const button = document.querySelector("[data-key=r]");
  const note = button?.form.elements.comment;
  if (!note) return;
  const leaving = new AbortController();
  note.focus();
  note.addEventListener("blur", () => leaving.abort(), { signal: leaving.signal });
  note.addEventListener("keydown", (event) => {
    if (event.key !== "Tab" || event.shiftKey) return;
    event.preventDefault();
    arm(button);
  }, { signal: leaving.signal });
}

function arm(button) {
  const hint = button.form.querySelector(".armed-hint");
  const going = new AbortController();
  const { signal } = going;
  button.classList.add("armed");
  const words = button.textContent.trim().replace(/\s+/g, " ");
  hint.textContent = `Press Enter to ${words[0].toLowerCase()}${words.slice(1)}, or move on.`;
  hint.hidden = false;
  button.focus();
  button.addEventListener("blur", () => {
    button.classList.remove("armed");
    hint.hidden = true;
    going.abort();
  }, { signal });
  button.addEventListener("keydown", (event) => {
    // Space presses a button when the key is released.
    if (event.key === " ") event.preventDefault();
    else if (!event.repeat && !HARMLESS.includes(event.key)) document.querySelector("#title").focus({ preventScroll: true });
  }, { signal });
  button.addEventListener("keyup", (event) => event.key === " " && event.preventDefault(), { signal });
}
