// The reader's own zone, in the admin as on the pages. Without this, times are in UTC, and say so.

import { tellLocalTimes } from "./clock.js";

tellLocalTimes();
for (const time of document.querySelectorAll("time.moment")) {
  time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
