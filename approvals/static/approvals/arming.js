// Focuses a button so that Enter presses it, and says so. Any other key moves the focus away.

const HARMLESS = ["Enter", "Shift", "Control", "Alt", "Meta", "Tab"];

export function arm(button) {
  const hint = document.querySelector(".armed-hint");
  const going = new AbortController();
  const { signal } = going;
  button.classList.add("armed");
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
