// Server-sent events, and a new connection whenever the old one is lost or has fallen silent.

const SILENT_MS = 7000; // the server says something every two seconds
const AGAIN_MS = 1500;

/**
 * Calls `onSnapshot` with each message, and `onLost` when there is no connection; goes on for ever.
 *
 * A page that nobody sees has no connection: a browser grants six to one server, in all its tabs.
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
    source.close();
  });
  open();
}
