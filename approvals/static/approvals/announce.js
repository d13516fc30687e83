// Says something to those who listen instead of looking.

const says = document.querySelector("#announce");

export function announce(text) {
  says.textContent = text;
}
