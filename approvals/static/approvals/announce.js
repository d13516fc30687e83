// Announces a text to screen readers.

const says = document.querySelector("#announce");

export function announce(text) {
  says.textContent = text;
}
