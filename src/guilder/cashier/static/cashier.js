// The live part of the cashier: what the page does without it by forms and refreshes, it does in place.
"use strict";

(() => {
  const say = document.getElementById("say");
  let panel = document.getElementById("panel");
  let stream = null;
  let fetching = null;
  let deadline = null;
  let returning = null;

  const at = (path) => panel.dataset.path + path;

  // ------------------------------------------------------------------ the panel

  const ask = async (options = {}) => {
    const back = new URLSearchParams(location.search).has("back") && !options.method ? "&back" : "";
    const answer = await fetch(panel.dataset.path + panel.dataset.query + back, {
      ...options,
      headers: { "Guilder-Part": "panel", ...options.headers },
      cache: "no-store",
    });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("panel");
    if (fresh) show(fresh);
  };

  const show = (fresh) => {
    const moved = fresh.dataset.stage !== panel.dataset.stage || fresh.dataset.mark !== panel.dataset.mark;
    const inside = panel.contains(document.activeElement);
    panel.replaceWith(fresh);
    panel = fresh;
    panel.classList.toggle("changed", moved);
    if (inside) panel.focus({ preventScroll: true });
    if (moved) {
      say.textContent = panel.dataset.says;
      scrollTo({ top: 0, behavior: "smooth" });
    }
    begin();
  };

  // One look at a time; whoever asks meanwhile waits for the same answer.
  const refresh = () => {
    fetching ??= ask().catch(() => {}).finally(() => { fetching = null; });
    return fetching;
  };

  const begin = () => {
    const { left, final, go } = { left: panel.querySelector("[data-left]"), ...panel.dataset, final: "final" in panel.dataset };
    deadline = left ? performance.now() + Number(left.dataset.left) * 1000 : null;
    tick();
    if (final) { stream?.close(); stream = null; } else if (!stream) listen();
    if (go) location.assign(go);
    clearTimeout(returning);
    if (panel.dataset.return) returning = setTimeout(() => location.replace(panel.dataset.return), 3000);
  };

  // ------------------------------------------------------------------ news

  const listen = () => {
    stream = new EventSource(at("/events"));
    stream.addEventListener("mark", (event) => { if (event.data !== panel.dataset.mark) refresh(); });
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return; // the browser connects again by itself
      stream = null;
      setTimeout(() => { refresh().then(() => { if (!stream && !("final" in panel.dataset)) listen(); }); }, 3000);
    });
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden && !("final" in panel.dataset)) refresh(); });

  // ------------------------------------------------------------------ time

  const two = (n) => String(n).padStart(2, "0");

  const tick = () => {
    const clock = panel.querySelector("[data-clock]");
    if (!clock || deadline === null) return;
    const left = Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
    const hours = Math.floor(left / 3600);
    clock.textContent = (hours ? `${hours}:${two(Math.floor(left / 60) % 60)}` : Math.floor(left / 60)) + `:${two(left % 60)}`;
    clock.parentElement.classList.toggle("near", left <= 600);
    clock.parentElement.classList.toggle("soon", left <= 60);
    if (left === 0) { deadline = null; setTimeout(refresh, 1200); }
  };

  setInterval(tick, 1000);

  // ------------------------------------------------------------------ the button

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form.ways");
    if (!form || !event.submitter) return;
    event.preventDefault();
    if (panel.classList.contains("busy")) return;
    panel.classList.add("busy");
    panel.setAttribute("aria-busy", "true");
    event.submitter.classList.add("chosen");
    const body = new URLSearchParams({ method: event.submitter.value });
    ask({ method: "POST", body }).catch(() => {}).finally(() => {
      panel.classList.remove("busy");
      panel.removeAttribute("aria-busy");
    });
  });

  // What the channel added to the address is nobody's business, least of all a bookmark's.
  const here = new URL(location.href);
  const kept = new URLSearchParams([...here.searchParams].filter(([name]) => name === "lang" || name === "back"));
  if (kept.size !== here.searchParams.size) history.replaceState(null, "", kept.size ? `?${kept}` : here.pathname);

  begin();
})();
