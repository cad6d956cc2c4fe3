// Keeps a page up to date: the worker says when there may be something new; the page is then fetched again, and what is shown replaced.
"use strict";
(() => {
  const PAUSE = 1000; // ms between two looks at most
  const state = document.getElementById("state");
  let waiting = false, again = false, last = 0;

  function show(text) { if (state) state.textContent = text; }

  function busy() { // who is choosing or typing is not disturbed
    const active = document.activeElement;
    return active && active.matches("main input, main select") || !document.getSelection().isCollapsed;
  }

  async function look() {
    if (waiting) { again = true; return; }
    waiting = true;
    await new Promise((done) => setTimeout(done, Math.max(0, last + PAUSE - Date.now())));
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected) { location.reload(); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      const shown = document.getElementById("live");
      if (fresh && answer.ok && !busy() && fresh.innerHTML !== shown.innerHTML) shown.replaceWith(fresh);
      show("live");
    } catch { show("offline"); }
    waiting = false;
    if (again) { again = false; look(); }
  }

  const source = new EventSource("/news");
  source.addEventListener("open", () => show("live"));
  source.addEventListener("news", look);
  source.addEventListener("error", () => {
    show("offline");
    if (source.readyState === EventSource.CLOSED) setInterval(look, 10000);
  });
})();
