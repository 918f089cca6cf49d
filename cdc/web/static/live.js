// Refreshes what is marked data-live, every five seconds. Without this script the page is the same and is loaded again
// by hand. One request at a time; none while nobody looks, or while the reader has stopped it.
"use strict";
(() => {
  const EVERY = 5000;
  const TIMEOUT = 15000;
  const button = document.getElementById("refresh");
  const said = document.getElementById("refreshed");
  if (!button || !said) return;
  const shown = new Map();
  let timer = 0;
  let running = false;
  let stopped = false;

  for (const part of document.querySelectorAll("[data-live]")) shown.set(part.id, part.innerHTML);

  function isInUse(part) {
    const active = document.activeElement;
    return part.contains(active) && active.matches("input, select, textarea");
  }

  function put(old, fresh) {
    if (shown.get(old.id) === fresh.innerHTML || isInUse(old)) return;
    const open = new Set([...old.querySelectorAll("details[open][id]")].map((one) => one.id));
    const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
    shown.set(old.id, fresh.innerHTML);
    for (const one of fresh.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = true;
    const scroll = old.querySelector(".tall")?.scrollTop ?? 0;
    old.className = fresh.className;
    old.replaceChildren(...fresh.childNodes);
    const tall = old.querySelector(".tall");
    if (tall) tall.scrollTop = scroll;
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }

  async function refresh() {
    if (running || stopped || document.hidden) return;
    running = true;
    try {
      const url = "/fragment/status" + location.search;
      const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fresh of page.querySelectorAll("[data-live]")) {
        const old = document.getElementById(fresh.id);
        if (old) put(old, fresh);
      }
      said.textContent = "refreshes every 5 s";
    } catch {
      said.textContent = "doesn't answer; the numbers are old";
    } finally {
      running = false;
      plan();
    }
  }

  function plan() {
    clearTimeout(timer);
    if (!stopped && !document.hidden) timer = setTimeout(refresh, EVERY);
  }

  button.hidden = false;
  said.textContent = "refreshes every 5 s";
  button.addEventListener("click", () => {
    stopped = !stopped;
    button.setAttribute("aria-pressed", String(stopped));
    button.textContent = stopped ? "Go on refreshing" : "Stop refreshing";
    said.textContent = stopped ? "not refreshed" : "refreshes every 5 s";
    if (!stopped) refresh();
    plan();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
    plan();
  });
  plan();
})();
