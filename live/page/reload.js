// Loads the page again if one of its files could not be fetched, as when the network changes meanwhile. A browser does not fetch a
// module a second time, and without it the page would wait for its first data for ever.

const RELOAD_MS = 1500;

addEventListener(
  "error",
  ({ target }) => {
    if (target instanceof HTMLScriptElement || target instanceof HTMLLinkElement) setTimeout(() => location.reload(), RELOAD_MS);
  },
  true, // such events do not bubble
);
