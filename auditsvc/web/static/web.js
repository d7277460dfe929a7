// The reader's time zone, the keyboard, and the plot. No code is made from text anywhere.
"use strict";

(() => {
  const two = (number) => String(number).padStart(2, "0");

  // Times are written in UTC; shown in the reader's zone, with UTC in the title.
  const localise = (root) => {
    for (const each of root.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(each.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      each.title = `${each.textContent} UTC`;
      const rest = each.dateTime.match(/\.\d+/);
      each.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
        `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}${rest ? rest[0] : ""}`;
    }
  };
  localise(document);
  document.body.addEventListener("htmx:afterSwap", (event) => localise(event.target.parentNode || document));
  const zone = document.getElementById("zone");
  zone.textContent = `Times are of ${Intl.DateTimeFormat().resolvedOptions().timeZone}; UTC is in their titles. Times that you type are UTC.`;

  const keys = document.getElementById("keys");
  const help = document.getElementById("help");
  help.hidden = false;
  help.addEventListener("click", () => keys.showModal());

  const move = (step) => {
    const rows = [...document.querySelectorAll("[data-row]")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const typed = event.target.matches("input, textarea, select");
    if (typed && event.target.id === "q" && event.key === "Enter" && event.ctrlKey) event.target.form.requestSubmit();
    if (typed && event.key === "Escape") event.target.blur();
    if (typed || event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (event.key === "/") document.getElementById("words").focus();
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "?") keys.showModal();
    else return;
    event.preventDefault();
  });

  // Older events come in the place of their link: who had it goes on at the first of them. A search
  // that goes on by itself is stopped by Escape, and goes on by the link.
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const more = event.detail.target;
    if (more.id !== "more" || !more.contains(document.activeElement)) return;
    const at = more.sectionRowIndex;
    const go = () => {
      const link = document.getElementById("rows").rows[at]?.querySelector("a");
      if (link) link.focus();
    };
    document.body.addEventListener("htmx:afterSwap", go, { once: true });
  });
  document.addEventListener("keydown", (event) => {
    const further = document.querySelector("#more [hx-trigger]");
    if (event.key !== "Escape" || !further) return;
    htmx.trigger(further, "htmx:abort");
    document.querySelector("#more [role=status]").textContent = "Stopped.";
  });

  // Live follow. A page that is not seen asks for nothing; it goes on where it stopped.
  const follow = document.getElementById("follow");
  if (follow) {
    const said = document.getElementById("live");
    const rows = document.getElementById("rows");
    let source = null, last = follow.dataset.after, count = 0;
    const stop = () => { if (source) source.close(); source = null; };
    const end = (text) => { stop(); follow.setAttribute("aria-pressed", "false"); said.textContent = text; };
    const start = () => {
      stop();
      const address = new URL(follow.dataset.live, location.href);
      if (last) address.searchParams.set("after", last);
      source = new EventSource(address);
      source.addEventListener("open", () => { said.textContent = count ? `Following: ${count} new.` : "Following."; });
      source.addEventListener("rows", (event) => {
        last = event.lastEventId;
        // Escaped by the server, as each page is; the policy runs no code of it.
        rows.insertAdjacentHTML("afterbegin", event.data);
        localise(rows);
        count += event.data.split("data-row").length - 1;
        while (rows.rows.length > 500) rows.deleteRow(-1);
        const none = document.getElementById("none");
        if (none) none.remove();
        said.textContent = `Following: ${count} new.`;
      });
      source.addEventListener("failed", (event) => end(new DOMParser().parseFromString(event.data, "text/html").body.textContent));
      source.addEventListener("error", () => {
        if (source && source.readyState === EventSource.CLOSED) end("It cannot be followed now: too many pages follow, or the session has ended.");
        else said.textContent = "Waiting for the server.";
      });
    };
    follow.hidden = false;
    follow.addEventListener("click", () => {
      if (follow.getAttribute("aria-pressed") === "true") return end("Stopped.");
      follow.setAttribute("aria-pressed", "true");
      start();
    });
    document.addEventListener("visibilitychange", () => {
      if (follow.getAttribute("aria-pressed") !== "true") return;
      if (document.hidden) stop();
      else start();
    });
    window.addEventListener("pagehide", stop);
  }

  // The editor: a question that runs can be cancelled; closing the request ends it at the store.
  const ask = document.getElementById("ask");
  if (ask && window.htmx) {
    const cancel = document.getElementById("cancel");
    const running = document.getElementById("running");
    let began = 0, timer = 0;
    const stop = (text) => {
      if (!timer) return;
      clearInterval(timer);
      timer = 0;
      cancel.hidden = true;
      running.textContent = text;
    };
    ask.addEventListener("htmx:beforeRequest", () => {
      began = Date.now();
      clearInterval(timer);
      timer = setInterval(() => { running.textContent = `Running for ${Math.round((Date.now() - began) / 1000)} s.`; }, 1000);
      running.textContent = "Running.";
      cancel.hidden = false;
    });
    ask.addEventListener("htmx:afterRequest", () => stop(""));
    const abort = () => {
      if (!timer) return;
      stop("Cancelled.");
      htmx.trigger(ask, "htmx:abort");
    };
    cancel.addEventListener("click", abort);
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") abort(); });
    for (const each of ask.querySelectorAll("input[name=as]")) each.addEventListener("change", () => { if (ask.elements.q.value.trim()) ask.requestSubmit(); });
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const style = () => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } });
  const drawn = new Map();
  const drawCharts = () => {
    if (!window.uPlot) return;
    for (const each of document.querySelectorAll(".chart")) {
      if (drawn.has(each)) drawn.get(each).destroy();
      const names = JSON.parse(each.dataset.names);
      const strokes = ["--accent", "--mark", "--good", "--bad"].map(colour);
      drawn.set(each, new uPlot({
        width: each.clientWidth - 16,
        height: 280,
        scales: { x: { time: each.dataset.time === "1" } },
        axes: [style(), { ...style(), size: 70 }],
        series: names.map((label, n) => (n ? { label, stroke: strokes[n - 1], width: 2 } : { label })),
      }, JSON.parse(each.dataset.chart), each));
    }
  };
  drawCharts();
  document.body.addEventListener("htmx:afterSettle", drawCharts);

  const plot = document.getElementById("plot");
  if (!plot || !window.uPlot) return;
  const bars = uPlot.paths.bars({ size: [0.9, 60, 1], align: 1 });
  const iso = (second) => new Date(second * 1000).toISOString().slice(0, 19).replace("T", " ");
  let chart = null;
  const draw = () => {
    if (chart) chart.destroy();
    const axis = style();
    const series = (label, stroke) => ({ label, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } });
    const data = JSON.parse(plot.dataset.hours);
    const range = (u, low, high) => [data[0][0] - 1800, data[0][data[0].length - 1] + 5400];
    chart = new uPlot({
      width: plot.clientWidth,
      height: 220,
      scales: { x: { range } , y: { range: (u, low, high) => [0, Math.max(1, high * 1.05)] } },
      axes: [axis, { ...axis, size: 70 }],
      series: [{}, series(plot.dataset.what, colour("--accent")), series("failed", colour("--mark"))],
      cursor: { drag: { x: true, y: false, setScale: false } },
      hooks: {
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          const low = Math.floor(u.posToVal(u.select.left, "x") / 3600) * 3600;
          const high = Math.ceil(u.posToVal(u.select.left + u.select.width, "x") / 3600) * 3600;
          const address = new URL(plot.dataset.address, location.href);
          address.searchParams.set("since", iso(low));
          address.searchParams.set("until", iso(high));
          location.assign(address);
        }],
      },
    }, data, plot);
  };
  draw();
  let wide = plot.clientWidth;
  window.addEventListener("resize", () => {
    if (plot.clientWidth !== wide) {
      wide = plot.clientWidth;
      draw();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
