// Server-sent events, with a new connection whenever the current one is lost or delivers nothing for too long.

const SILENT_MS = 7000; // the server says something every two seconds
const AGAIN_MS = 1500;

/**
 * Calls `onSnapshot` with each message, and `onLost` when there is no connection; never ends.
 *
 * A hidden page has no connection, since a browser allows six per server over all of its tabs.
 */
export function connect(onSnapshot, onLost) {
  let source;
  let timer;

  const wait = (milliseconds, then) => {
    clearTimeout(timer);
    timer = setTimeout(then, milliseconds);
  };
  const lost = () => {
    source.close();
    onLost();
    wait(AGAIN_MS, open);
  };
  const open = () => {
    source?.close();
    source = new EventSource("events");
    source.onmessage = (message) => {
      wait(SILENT_MS, lost);
      onSnapshot(JSON.parse(message.data));
    };
    source.onerror = lost;
    wait(SILENT_MS, lost);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return open();
    clearTimeout(timer);
    source?.close();
  });
  if (!document.hidden) open();
}
