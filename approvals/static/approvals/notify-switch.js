// The page of preferences. The switch for notifications of new requests, in this browser: it is asked for its permission on the
// click alone. And the browser's time zone, where the account has none yet: it is shown, and saved with the rest.

const SETTING = "sayso.notices";
const WORDS = {
  granted: "This browser shows notifications of this site.",
  denied: "This browser blocks notifications of this site. Allow them in its settings for this site; until then, only the tab’s title tells.",
  default: "This browser has not been allowed to show notifications: only the tab’s title tells. Switch this off and on to be asked again.",
  none: "This browser shows no notifications of this address: only the tab’s title tells.",
};
const box = document.querySelector("#notices"), state = document.querySelector("#notices-state");
const permission = () => globalThis.Notification?.permission ?? "none";

function show() {
  box.checked = localStorage.getItem(SETTING) === "on";
  state.textContent = box.checked ? WORDS[permission()] : "";
}

box.addEventListener("change", async () => {
  localStorage.setItem(SETTING, box.checked ? "on" : "off");
  show();
  if (!box.checked || permission() !== "default") return;
  await Notification.requestPermission();
  show();
});
navigator.permissions?.query({ name: "notifications" }).then((status) => status.addEventListener("change", show));
addEventListener("storage", show);
box.disabled = false;
show();

const zone = document.querySelector("#id_time_zone");
if (zone?.value === "") zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
