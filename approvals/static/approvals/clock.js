// Times on the page: countdowns to a deadline, "3 min ago", exact local times as titles.
// By the server's clock, not this machine's. approvals/web/pages/relative_times.py writes the same words.

import { announce } from "./announce.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
let ahead = Date.parse(document.body.dataset.now) - Date.now() || 0;

export const now = () => Date.now() + ahead;

export function serverSays(moment) {
  ahead = Date.parse(moment) - Date.now();
}

export function timeLeft(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  if (seconds <= 0) return "Time is up";
  if (seconds < MINUTE) return `${seconds} s left`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ${two(seconds % MINUTE)} s left`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ${two(Math.floor((seconds % HOUR) / MINUTE))} min left`;
  return `${Math.floor(seconds / DAY)} d ${Math.floor((seconds % DAY) / HOUR)} h left`;
}

export function timeSince(seconds) {
  if (seconds < 45) return "just now";
  if (seconds < HOUR) return `${Math.max(1, Math.round(seconds / MINUTE))} min ago`;
  if (seconds < DAY) return `${Math.round(seconds / HOUR)} h ago`;
  const days = Math.round(seconds / DAY);
  return days === 1 ? "yesterday" : `${days} days ago`;
}

export function startClock() {
  const tick = () => {
    countDown();
    setTimeout(tick, 1000 - (now() % 1000));
  };
  tick();
  setInterval(tellAges, 15000);
  tellLocalTimes();
}

const local = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "long" });

export function tellLocalTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = local.format(new Date(time.dateTime));
    time.title = text;
    if (time.classList.contains("exact")) write(time, text);
  }
}

function countDown() {
  for (const time of document.querySelectorAll("time.left")) {
    const seconds = Math.ceil((Date.parse(time.dateTime) - now()) / 1000);
    write(time, timeLeft(seconds));
    const urgent = now() >= Date.parse(time.dataset.urgent);
    if (urgent && seconds > 0 && !time.classList.contains("urgent") && time.closest("article")) {
      announce(`${time.textContent} to decide.`);
    }
    time.classList.toggle("urgent", urgent);
  }
}

function tellAges() {
  for (const time of document.querySelectorAll("time.since")) {
    write(time, timeSince((now() - Date.parse(time.dateTime)) / 1000));
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
