// A WebSocket that reconnects by itself, and the pill that shows its state.

const FIRST_DELAY = 500, LONGEST_DELAY = 30000, HEARTBEAT = 25000, GONE = [4401, 4404];
const WORDS = { live: "Live", reconnecting: "Reconnecting", offline: "Offline" };
const pill = document.querySelector(".pill");

// Calls `heard(message)` for each message; a `hello` comes first on every connection. Returns what says something, which
// is lost while there is none.
export function keepConnected(path, heard) {
  const address = new URL(path, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  let socket, retry, failures = 0, silentSince = 0;

  function open() {
    clearTimeout(retry);
    socket = new WebSocket(address);
    socket.onmessage = ({ data }) => {
      silentSince = 0;
      const message = JSON.parse(data);
      if (message.type === "snapshot" && !message.data.more) failures = 0;
      show("live");
      document.dispatchEvent(new Event("sayso:live"));
      document.dispatchEvent(new CustomEvent("sayso:heard", { detail: message }));
      heard(message);
    };
    socket.onclose = ({ code }) => {
      // The session has ended, or this person may no longer see this page: the server decides what to show.
      if (GONE.includes(code)) return location.reload();
      failures += 1;
      show(navigator.onLine && failures < 6 ? "reconnecting" : "offline");
      const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures);
      retry = setTimeout(open, ceiling * (0.5 + Math.random() / 2));
    };
  }

  function openNow() {
    if (socket.readyState === WebSocket.CLOSED) open();
  }

  function ask() {
    if (socket.readyState !== WebSocket.OPEN) return;
    // A dead connection can look open for minutes; one unanswered ping is enough to close it.
    if (silentSince) return socket.close();
    silentSince = Date.now();
    say("ping", {}, "heartbeat");
  }

  function say(type, data, ref = null) {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ref, data }));
  }

  setInterval(ask, HEARTBEAT);
  // After a short interruption the connection may still be alive: a ping tells.
  addEventListener("online", () => (openNow(), ask()));
  addEventListener("offline", () => show("offline"));
  addEventListener("pageshow", openNow);
  document.addEventListener("visibilitychange", () => document.hidden || openNow());
  open();
  return say;
}

function show(state) {
  if (pill.dataset.state === state && !pill.hidden) return;
  pill.hidden = false;
  pill.dataset.state = state;
  pill.firstElementChild.textContent = WORDS[state];
  pill.title = state === "live" ? "" : "Decisions still work; this page may be out of date.";
}
