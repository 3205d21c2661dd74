// Asks the edge for one file and shows what it says about its answer: Age,
// Cache-Status and Via as they arrive.
"use strict";

// verdict reads the last member of Cache-Status (RFC 9211): the cache nearest to us.
function verdict(status, headers) {
  const field = headers.get("Cache-Status");
  if (status >= 400) return { kind: "fail", text: `The edge answered ${status}.` };
  if (!field) return { kind: "fail", text: "No cache says anything: this did not come through an edge." };
  const nearest = field.split(",").pop();
  const ttl = Number(/;\s*ttl=(-?\d+)/.exec(nearest)?.[1] ?? NaN);
  const fwd = /;\s*fwd=([\w-]+)/.exec(nearest)?.[1];
  if (/;\s*hit\b/.test(nearest)) {
    if (ttl < 0) return { kind: "stale", ttl, text: "Sent at once, being validated behind your back." };
    return { kind: "hit", ttl, text: "Straight from the edge's memory." };
  }
  if (fwd === "stale") return { kind: "stale", ttl, text: "It had expired: the edge asked its parent first." };
  if (/;\s*collapsed\b/.test(nearest)) return { kind: "miss", ttl, text: "Somebody was asking already: you share the answer." };
  return { kind: "miss", ttl, text: "The edge did not have it and asked its parent." };
}

async function ask(url) {
  const begin = performance.now();
  // no-store keeps the browser's own cache out of it; the explicit Cache-Control
  // keeps the browser from telling the edge to stay out of it too.
  const response = await fetch(url, { cache: "no-store", headers: { "Cache-Control": "max-age=31536000" } });
  const took = performance.now() - begin; // until the head was there
  await response.arrayBuffer();
  return { response, took };
}

function live(panel) {
  const out = (name) => panel.querySelector(`[data-out="${name}"]`);
  const path = panel.dataset.live;
  const bars = 40;
  let url = path;
  let timer = 0;
  let asking = false;

  async function once() {
    if (asking) return;
    asking = true;
    try {
      const { response, took } = await ask(url);
      show(verdict(response.status, response.headers), response.headers, took);
    } catch (err) {
      show({ kind: "fail", text: `No answer: ${err.message}` }, new Headers(), 0);
    } finally {
      asking = false;
    }
  }

  function show(v, headers, took) {
    out("badge").textContent = v.kind;
    out("badge").className = `badge ${v.kind}`;
    out("meaning").textContent = v.text;
    out("age").textContent = headers.has("Age") ? `${headers.get("Age")} s` : "–";
    out("ttl").textContent = Number.isFinite(v.ttl) ? `${v.ttl} s` : "–";
    out("took").textContent = `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
    out("fields").textContent = ["Age", "Cache-Status", "Via"]
      .filter((name) => headers.has(name))
      .map((name) => `${name}: ${headers.get(name)}`)
      .join("\n") || "–";
    const bar = document.createElement("li");
    bar.className = v.kind;
    bar.style.height = `${Math.min(100, 20 + 25 * Math.log10(1 + took))}%`;
    bar.title = `${v.kind}, ${took.toFixed(1)} ms`;
    const history = out("history");
    history.append(bar);
    while (history.children.length > bars) history.firstChild.remove();
  }

  panel.querySelector('[data-ask="again"]').addEventListener("click", once);
  panel.querySelector('[data-ask="new"]').addEventListener("click", () => {
    url = `${path}?visit=${Date.now().toString(36)}`;
    once();
  });
  panel.querySelector('[data-ask="auto"]').addEventListener("change", (event) => {
    clearInterval(timer);
    if (event.target.checked) timer = setInterval(once, 1000);
  });
  once();
}

// The footer says how this very page is answered.
async function footer(line) {
  const { response } = await ask(location.pathname);
  const field = response.headers.get("Cache-Status");
  if (!field) return;
  line.textContent = `This page, asked for again: ${field}`;
  line.hidden = false;
}

document.querySelectorAll("[data-live]").forEach(live);
document.querySelectorAll("[data-page-status]").forEach((line) => footer(line).catch(() => {}));
