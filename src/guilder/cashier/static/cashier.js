// The live part of the cashier: what the page does without it by forms and refreshes, it does in place.
"use strict";

(() => {
  const say = document.getElementById("say");
  let panel = document.getElementById("panel");
  let stream = null;
  let fetching = null;
  let deadline = null;
  let returning = null;
  let opened = "";  // the sheet that was opened by itself: once for each state of the payment
  let follow = "front" in panel.dataset;  // the channel's page is still to come: go there when it is known

  let looking = false;  // the wallet says that it is done: have the channel asked

  const at = (path) => panel.dataset.path + path;

  // ------------------------------------------------------------------ the panel

  const ask = async (options = {}) => {
    const back = (looking || new URLSearchParams(location.search).has("back")) && !options.method ? "&back" : "";
    const go = follow && !options.method ? "&go" : "";
    const answer = await fetch(panel.dataset.path + panel.dataset.query + back + go, {
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
    if (panel.dataset.stage !== "asking") follow = false;
    if (panel.dataset.sheet && opened !== panel.dataset.mark && !looking) invoke();
    const only = panel.dataset.start && panel.querySelector(`button[value="${panel.dataset.start}"]`);
    if (only && !started) { started = true; only.form.requestSubmit(only); }
    clearTimeout(returning);
    if (panel.dataset.return) returning = setTimeout(() => location.replace(panel.dataset.return), 3000);
  };

  // ------------------------------------------------------------------ the wallet's own sheet

  let started = false;

  const bridge = (name) => new Promise((there) => {
    if (window[name]) there(window[name]);
    else document.addEventListener(`${name}Ready`, () => there(window[name]), { once: true });
  });

  const SHEETS = {
    wechat_pay_jsapi: async (params) => {
      const wechat = await bridge("WeixinJSBridge");
      return new Promise((end) => wechat.invoke("getBrandWCPayRequest", params, (said) => end(String(said.err_msg).endsWith(":ok"))));
    },
    alipay_jsapi: async (params) => {
      const alipay = await bridge("AlipayJSBridge");
      return new Promise((end) => alipay.call("tradePay", { tradeNO: params.trade_no }, (said) => end(["9000", "8000"].includes(String(said.resultCode)))));
    },
  };

  // What the sheet says is a hint and no proof: the channel is asked, and the page shows what that says.
  const invoke = async () => {
    opened = panel.dataset.mark;
    const done = await SHEETS[panel.dataset.sheet](JSON.parse(panel.dataset.params));
    if (!done || panel.dataset.stage !== "wallet") return;
    looking = true;
    await refresh();
    looking = false;
  };

  document.addEventListener("click", (event) => { if (event.target.closest("[data-invoke]")) invoke(); });

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
