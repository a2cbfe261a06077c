// Keeps the part of a page marked data-live fresh: asks every few seconds, accepts 304, rests while the tab is hidden.
"use strict";

(() => {
  const area = document.querySelector("[data-live]");
  const pulse = document.querySelector("[data-pulse]");
  const broken = document.querySelector("[data-pulse-broken]");
  let etag = "";
  let timer = 0;

  const isDone = () => area.querySelector("[data-live-done]") !== null;

  const show = (isWell) => {
    pulse.hidden = !isWell || isDone();
    broken.hidden = isWell;
  };

  // What the person opened, scrolled to and focused survives the exchange of the content.
  const keyOf = (element) => element.getAttribute("href") || element.getAttribute("form") || element.textContent.trim();

  const replace = (html) => {
    const openOnes = [...area.querySelectorAll("details")].map((element) => element.open);
    const active = area.contains(document.activeElement) ? document.activeElement : null;
    const key = active ? keyOf(active) : "";
    const scrolled = [...area.querySelectorAll(".scroll")].map((element) => element.scrollLeft);
    area.innerHTML = html;
    area.querySelectorAll("details").forEach((element, n) => { element.open = n in openOnes ? openOnes[n] : element.open; });
    area.querySelectorAll(".scroll").forEach((element, n) => { element.scrollLeft = scrolled[n] || 0; });
    if (active) {
      const same = [...area.querySelectorAll("a, button, summary")].find((element) => keyOf(element) === key);
      if (same) { same.focus({ preventScroll: true }); }
    }
  };

  const refresh = async () => {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(area.dataset.live, { headers, cache: "no-store", credentials: "same-origin" });
      if (answer.redirected || answer.status === 403 || answer.status === 404) {
        window.location.reload();
        return;
      }
      if (answer.status === 200) {
        etag = answer.headers.get("ETag") || "";
        replace(await answer.text());
      }
      show(answer.status === 200 || answer.status === 304);
    } catch {
      show(false);
    }
    plan();
  };

  const plan = () => {
    window.clearTimeout(timer);
    if (!document.hidden && !isDone()) {
      timer = window.setTimeout(refresh, Number(area.dataset.every));
    }
  };

  if (area) {
    document.addEventListener("visibilitychange", () => {
      window.clearTimeout(timer);
      if (!document.hidden && !isDone()) { refresh(); }
    });
    show(true);
    plan();
  }

  // Without https a browser has no clipboard for a page, and copies what is marked.
  const copy = async (text) => {
    if (navigator.clipboard) { await navigator.clipboard.writeText(text); return; }
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };

  // What is copied stands in the button; the button says so for a moment.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) { return; }
    await copy(button.dataset.copy);
    button.classList.add("copied");
    window.setTimeout(() => { button.classList.remove("copied"); }, 1500);
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-print]")) { window.print(); }
  });

  // A second click on a button that acts does nothing; the server would not mind either.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post") {
      form.dataset.sent = "yes";
      window.setTimeout(() => { delete form.dataset.sent; }, 5000);
    }
  });
})();
