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

  const plot = document.getElementById("plot");
  if (!plot || !window.uPlot) return;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const bars = uPlot.paths.bars({ size: [0.9, 60, 1], align: 1 });
  const iso = (second) => new Date(second * 1000).toISOString().slice(0, 19).replace("T", " ");
  let chart = null;
  const draw = () => {
    if (chart) chart.destroy();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const series = (label, stroke) => ({ label, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } });
    const data = JSON.parse(plot.dataset.hours);
    const range = (u, low, high) => [data[0][0] - 1800, data[0][data[0].length - 1] + 5400];
    chart = new uPlot({
      width: plot.clientWidth,
      height: 220,
      scales: { x: { range } , y: { range: (u, low, high) => [0, Math.max(1, high * 1.05)] } },
      axes: [axis, { ...axis, size: 70 }],
      series: [{}, series("calls", colour("--accent")), series("failed", colour("--mark"))],
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
