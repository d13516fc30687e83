// Lets a person leave out some of the requests that are decided together.

const boxes = [...document.querySelectorAll("[name=id]")];
const buttons = document.querySelectorAll("#decide .buttons button");

function count() {
  const chosen = boxes.filter((box) => box.checked).length;
  const many = chosen === boxes.length ? `all ${chosen}` : `${chosen} of ${boxes.length}`;
  for (const button of buttons) {
    button.querySelector(".many").textContent = many;
    button.disabled = !chosen;
  }
}

for (const box of boxes.length > 1 ? boxes : []) {
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", count);
}
