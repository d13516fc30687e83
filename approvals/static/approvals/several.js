// Lets a person leave out some of the requests that are decided together.

const boxes = [...document.querySelectorAll("[name=id]")];
const buttons = document.querySelectorAll("#decide .buttons button");
const read = document.querySelector("#decide [name=read]");

function count() {
  const chosen = boxes.filter((box) => box.checked);
  const many = `${chosen.length === boxes.length ? "all" : `${chosen.length} of`} ${boxes.length}`;
  for (const button of buttons) {
    button.querySelector(".many").textContent = many;
    button.disabled = !chosen.length;
  }
  // Only what matters much wants to have been read.
  if (read) read.required = chosen.some((box) => "high" in box.dataset);
}

for (const box of boxes.length > 1 ? boxes : []) {
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", count);
}
