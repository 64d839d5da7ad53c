// Draws the report's pictures from the data in the page, with the libraries in vendor.js.
"use strict";
(() => {
  const V = globalThis.vendor;
  const D = JSON.parse(document.getElementById("data").textContent);
  const color = (name) => `var(--${name})`;
  const PART_COLORS = D.parts.map((name) => color(name.toLowerCase().replaceAll(" ", "-")));
  const LINE_COLORS = [0, 1, 2, 3, 4, 5].map((n) => color(`s${n}`));

  // Numbers, as the text of the page has them.
  const digits = (v) => v.toFixed(Math.abs(v) < 9.995 ? 2 : Math.abs(v) < 99.95 ? 1 : 0);
  const UNITS = [["ns", 1], ["µs", 1e3], ["ms", 1e6], ["s", 1e9], ["min", 6e10], ["h", 3.6e12]];
  const unitOf = (ns) => UNITS.findLast(([, size]) => Math.abs(ns) >= 0.9995 * size) ?? UNITS[0];
  const time = (ns) => { const [name, size] = unitOf(ns); return `${name === "ns" ? Math.round(ns) : digits(ns / size)} ${name}`; };
  const tick = (ns) => { const [name, size] = unitOf(ns); return `${+(ns / size).toPrecision(3)} ${name}`; };
  const share = (x) => `${digits(x)} %`;
  const clip = (name, most) => name.length <= most ? name : `${name.slice(0, most / 2 - 1)}…${name.slice(-(most / 2))}`;
  const margin = (names, most) => Math.min(most, 14 + 7 * Math.max(6, ...names.map((name) => name.length)));

  const plot = (width, options) => V.plot({
    width, style: { fontSize: "12px", fontFamily: "inherit" }, ...options,
  });
  const partScale = { domain: D.parts, range: PART_COLORS };
  const stack = (name, parts) => D.parts.map((part, n) => ({ name, part, ns: parts[n] })).filter((d) => d.ns > 0);

  // Horizontal stacks of the five parts, one a row.
  function stacks(width, rows) {
    const left = margin(rows.map((r) => r.name), Math.min(260, width * 0.4));
    const names = new Map(rows.map((r) => [r.key, clip(r.name, Math.floor((left - 10) / 7))]));
    const bars = rows.flatMap((r) => stack(r.name, r.mean).map((d) => ({ ...d, key: r.key, count: r.count })));
    const total = (r) => r.mean.reduce((sum, ns) => sum + ns, 0);
    return plot(width, {
      height: 34 + 24 * rows.length, marginLeft: left, marginRight: 62, marginTop: 4, marginBottom: 30,
      x: { grid: true, label: null, tickFormat: tick, ticks: Math.max(2, Math.floor(width / 130)) },
      y: { domain: rows.map((r) => r.key), label: null, tickFormat: (key) => names.get(key), tickSize: 0 },
      color: partScale,
      marks: [
        V.barX(bars, {
          x: "ns", y: "key", fill: "part", insetTop: 2, insetBottom: 2, order: D.parts,
          channels: { part: "part", time: { value: (d) => time(d.ns), label: "mean" } },
          tip: { format: { x: false, y: false, fill: false, part: true, time: true } },
        }),
        V.text(rows, { x: total, y: "key", text: (r) => time(total(r)), textAnchor: "start", dx: 6, fill: "currentColor" }),
        V.ruleX([0]),
      ],
    });
  }

  // Powers of ten; where there are few, their doubles and halves too.
  function decades(low, high) {
    const powers = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) powers.push(10 ** power);
    const within = (x) => x >= low && x <= high;
    const tens = powers.filter(within);
    return tens.length > 1 ? tens : powers.flatMap((x) => [x, 2 * x, 5 * x]).filter(within);
  }

  // Histograms on one logarithmic axis, one a row, with median and 99th percentile. The area is the share.
  function spreads(width, rows) {
    const left = margin(rows.map((r) => r.name), Math.min(230, width * 0.38));
    const most = Math.floor((left - 8) / 6.6);
    const bins = rows.flatMap((r) => r.spread.bins.map(([x1, x2, percent]) => ({
      row: r.key, x1, x2, percent, density: percent / Math.log2(x2 / x1),
    })));
    const low = Math.min(...bins.map((d) => d.x1)), high = Math.max(...bins.map((d) => d.x2));
    const marks = rows.flatMap((r) => [["median", r.spread.p50], ["p99", r.spread.p99]]
      .map(([name, ns]) => ({ row: r.key, name, ns: Math.max(1, ns) })));
    const names = new Map(rows.map((r) => [r.key, clip(r.name, most)]));
    return plot(width, {
      height: 34 + 46 * rows.length, marginLeft: left, marginRight: 16, marginTop: 4, marginBottom: 30,
      x: { type: "log", label: null, tickFormat: tick, grid: true, ticks: decades(low, high), domain: [low, high] },
      y: { axis: null },
      fy: { domain: rows.map((r) => r.key), axis: null, padding: 0.14 },
      marks: [
        V.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.25 }),
        V.rectY(bins, {
          x1: "x1", x2: "x2", y: "density", fy: "row", fill: color("bin"), inset: 0,
          channels: {
            from: { value: (d) => `${tick(d.x1)} to ${tick(d.x2)}`, label: "time" },
            share: { value: (d) => share(d.percent), label: "share" },
          },
          tip: { format: { x: false, y: false, fy: false, x1: false, x2: false, from: true, share: true } },
        }),
        ...["median", "p99"].map((name) => V.ruleX(marks.filter((d) => d.name === name), {
          x: "ns", fy: "row", stroke: "currentColor", strokeWidth: 1.4, strokeDasharray: name === "p99" ? "2 3" : null,
          title: (d) => `${name} ${time(d.ns)}`,
        })),
        V.text(rows, {
          fy: "key", text: (r) => names.get(r.key), frameAnchor: "bottom-left", textAnchor: "end",
          dx: -8, dy: -4, fill: "currentColor",
        }),
      ],
    });
  }

  // Time lines.
  const starts = D.times.slice(0, -1).map((ms) => new Date(ms));
  const ends = D.times.slice(1).map((ms) => new Date(ms));
  const clock = (at) => at.toISOString().slice(11, 19);
  const axis = (width) => ({
    type: "utc", label: null, domain: [starts[0], ends.at(-1)], ticks: Math.max(2, Math.floor(width / 130)), tickFormat: clock,
  });
  // A component has the same colour in every picture, as far as there are colours.
  const colorOf = new Map(D.components.map((c, n) => [c.name, LINE_COLORS[n % LINE_COLORS.length]]));
  function colors(names) {
    const range = [];
    for (const name of names) {
      const own = colorOf.get(name) ?? LINE_COLORS[0];
      range.push(range.includes(own) ? LINE_COLORS.find((other) => !range.includes(other)) ?? own : own);
    }
    return { domain: names, range, legend: names.length > 1 };
  }
  // A value holds from the beginning of its window to the end.
  const steps = (name, values) => [...starts.map((at, n) => ({ name, at, value: values[n] })),
    { name, at: ends.at(-1), value: values.at(-1) }];
  const step = { curve: "step-after", x: "at", y: "value" };

  function lines(width, series, format, more = []) {
    const data = series.flatMap((s) => steps(s.name, s.values));
    return plot(width, {
      height: 210, marginLeft: 62, marginRight: 14,
      x: axis(width),
      y: { grid: true, label: null, zero: true, nice: true, tickFormat: format, ticks: 5 },
      color: colors(series.map((s) => s.name)),
      marks: [
        V.ruleY([0]),
        V.lineY(data, {
          ...step, stroke: "name", strokeWidth: 1.8,
          channels: { value: { value: (d) => (d.value == null ? "-" : format(d.value)), label: "value" } },
          tip: { format: { x: clock, y: false, stroke: true, value: true } },
        }),
        ...more,
      ],
    });
  }

  function held(width, components) {
    const data = D.parts.flatMap((part, n) => {
      const sums = starts.map((_, i) => components.reduce((sum, c) => sum + (c.series?.parts[n][i] ?? 0), 0) / 1e9);
      return steps(part, sums);
    });
    return plot(width, {
      height: 210, marginLeft: 62, marginRight: 14,
      x: axis(width),
      y: { grid: true, label: null, nice: true, ticks: 5 },
      color: { ...partScale, legend: true },
      marks: [
        V.areaY(data, {
          ...step, fill: "name", order: D.parts,
          channels: { part: "name", value: { value: (d) => digits(d.value), label: "at a time" } },
          tip: { format: { x: clock, y: false, fill: false, part: true, value: true } },
        }),
        V.ruleY([0]),
      ],
    });
  }

  // One request's time: the courts above, what they were made of below.
  function request(width, number) {
    const { mean, segments } = D.entries[number];
    const low = Math.min(0, ...segments.map((s) => Math.min(s.x1, s.x2)));
    const high = Math.max(mean, ...segments.map((s) => Math.max(s.x1, s.x2)));
    const fits = (s) => ((s.x2 - s.x1) / (high - low)) * (width - 20) > 7.5 * s.name.length + 8;
    let court = 0;
    const parallel = segments.find((s) => s.x1 - s.x2 > 0.01 * mean);
    const tops = segments.filter((s) => s.x1 < s.x2).map((s) => ({
      ...s, row: "court", fill: s.kind === "court" ? color(`court-${court++ % 2}`) : color(s.kind),
      what: s.name, ns: s.x2 - s.x1,
    }));
    const below = segments.filter((s) => s.parts).flatMap((s) => {
      let x = s.x1;
      return s.parts.map((ns, n) => {
        const from = x;
        x += ns;
        return { row: "parts", x1: from, x2: x, fill: PART_COLORS[n], what: `${s.name}: ${D.parts[n]}`, ns };
      }).filter((d) => d.ns > 0);
    });
    return plot(width, {
      height: 96, marginLeft: 10, marginRight: 10, marginTop: 2, marginBottom: 26,
      x: { label: null, tickFormat: tick, ticks: Math.max(2, Math.floor(width / 110)), domain: [low, high] },
      y: { domain: ["court", "parts"], axis: null, padding: 0.06 },
      color: { type: "identity" },
      marks: [
        V.barX([...tops, ...below], {
          x1: "x1", x2: "x2", y: "row", fill: "fill", stroke: color("panel"), strokeWidth: 1,
          channels: { what: { value: "what", label: "where" }, time: { value: (d) => time(d.ns), label: "time" } },
          tip: { format: { x1: false, x2: false, x: false, y: false, fill: false, what: true, time: true } },
        }),
        // Calls side by side: the courts add up to more than the request took.
        V.ruleX(parallel ? [mean] : [], { stroke: "currentColor", strokeWidth: 2, title: () => `mean ${time(mean)}` }),
        V.text(tops.filter(fits), {
          x: (s) => (s.x1 + s.x2) / 2, y: "row", text: "name", fill: (s) => (s.kind === "other" ? "currentColor" : "#fff"), fontWeight: 600,
        }),
      ],
    });
  }

  // The map: boxes and arrows, placed by dagre.
  const svg = (name, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) if (value != null) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  function map(width) {
    const graph = new V.graphlib.Graph({ multigraph: true });
    const across = width > 620;
    graph.setGraph({ rankdir: across ? "LR" : "TB", nodesep: 26, ranksep: across ? 74 : 48, edgesep: 14, marginx: 4, marginy: 4 });
    graph.setDefaultEdgeLabel(() => ({}));
    D.nodes.forEach((node, n) => {
      const letters = Math.max(Math.min(node.name.length, 30) * 8.4, node.line.length * 6.8);
      graph.setNode(String(n), { width: Math.max(112, letters + 26), height: node.parts ? 62 : 46 });
    });
    D.links.forEach((link, n) => graph.setEdge(String(link.from), String(link.to), {
      width: link.label.length * 8 + 8, height: 18, labelpos: "c",
    }, String(n)));
    V.layout(graph);
    const { width: w, height: h } = graph.graph();
    const drawn = svg("svg", {
      viewBox: `0 0 ${w} ${h}`, width: Math.min(w, Math.max(width, 320)), "font-size": 13, fill: "currentColor",
    });
    drawn.append(svg("defs", {}, svg("marker", {
      id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto",
    }, svg("path", { d: "M0,0.6L8,4L0,7.4z", fill: color("dim") }))));
    const path = V.line().x((p) => p.x).y((p) => p.y).curve(V.curveBasis);
    const most = Math.max(1, ...D.links.map((link) => link.weight));
    const tags = [];
    for (const e of graph.edges()) {
      const { points, x, y } = graph.edge(e);
      const link = D.links[+e.name];
      drawn.append(svg("path", {
        class: "wire", d: path(points), "marker-end": "url(#head)", "stroke-width": 1.2 + 2 * Math.sqrt(link.weight / most),
      }));
      if (link.label) tags.push(svg("text", { class: "tag", x, y, "text-anchor": "middle", "dominant-baseline": "central" }, link.label));
    }
    drawn.append(...tags);
    for (const n of graph.nodes()) {
      const { x, y, width: wide, height } = graph.node(n);
      const node = D.nodes[+n];
      const box = svg("g", {
        class: `node ${node.kind}${node.entry ? " entry" : ""}`, transform: `translate(${x - wide / 2},${y - height / 2})`,
        "data-detail": node.detail, tabindex: node.detail == null ? null : 0, role: node.detail == null ? null : "button",
      });
      box.append(
        svg("title", {}, `${node.name} (${node.kind})`),
        svg("rect", { class: "box", width: wide, height, rx: 8 }),
        svg("text", { x: 13, y: 20, "font-weight": 600 }, clip(node.name, 30)),
        svg("text", { x: 13, y: 37, "font-size": 12, fill: color("dim") }, node.line),
      );
      if (node.parts) {
        const sum = node.parts.reduce((a, b) => a + b, 0);
        let at = 13;
        node.parts.forEach((ns, part) => {
          const length = sum > 0 ? (ns / sum) * (wide - 26) : 0;
          if (length > 0) box.append(svg("rect", { x: at, y: 46, width: length, height: 7, fill: PART_COLORS[part] }));
          at += length;
        });
      }
      drawn.append(box);
    }
    return drawn;
  }

  const keyed = (list) => list.map((c, n) => ({ ...c, key: n }));
  const busiest = (most) => keyed(D.components).filter((c) => c.series).sort((a, b) => b.served - a.served).slice(0, most);
  const rates = (c, values) => ({ name: c.name, values });
  const dashes = (all) => V.lineY(all.flatMap((c) => steps(c.name, c.series.p99)), {
    ...step, stroke: "name", strokeWidth: 1.2, strokeDasharray: "4 3",
  });
  const draw = {
    request, map,
    turnaround: (width) => stacks(width, keyed(D.components).filter((c) => c.mean).slice(0, 20)),
    recipients: (width, n) => stacks(width, keyed(D.components[n].recipients)),
    latencies: (width) => spreads(width, keyed(D.edges).filter((e) => e.latency).slice(0, 8)
      .map((e) => ({ key: e.key, name: e.name, spread: e.latency }))),
    turnarounds: (width) => spreads(width, keyed(D.components).filter((c) => c.turnaround).slice(0, 8)
      .map((c) => ({ key: c.key, name: c.name, spread: c.turnaround }))),
    spread: (width, n) => spreads(width, ["service", "queued", "turnaround"].filter((what) => D.components[n][what])
      .map((what) => ({ key: what, name: what === "queued" ? "unread before" : what, spread: D.components[n][what] }))),
    rates: (width) => lines(width, busiest(6).filter((c) => c.served).map((c) => rates(c, c.series.served)), (x) => `${+x.toPrecision(3)}`),
    services: (width) => {
      const entries = busiest(60).filter((c) => c.entry && c.served).slice(0, 4);
      return lines(width, entries.map((c) => rates(c, c.series.p50)), tick, [dashes(entries)]);
    },
    held: (width, n) => held(width, n == null ? D.components : [D.components[n]]),
    cpus: (width) => lines(width, keyed(D.components).filter((c) => c.series)
      .map((c) => rates(c, c.series.cpu.map((ns) => ns / 1e9)))
      .sort((a, b) => Math.max(...b.values) - Math.max(...a.values)).slice(0, 6), (x) => `${+x.toPrecision(3)}`),
    lost: (width) => lines(width, [{ name: "lost", values: D.lost }], (x) => `${x}`),
  };

  function show(place) {
    const width = Math.floor(place.clientWidth);
    if (width < 1 || place.dataset.width === String(width)) return;
    place.dataset.width = width;
    const of = place.dataset.of == null ? undefined : +place.dataset.of;
    place.replaceChildren(draw[place.dataset.chart](width, of));
  }
  const showAll = (root) => root.querySelectorAll(".chart").forEach(show);

  function open(number) {
    const dialog = document.getElementById(`detail-${number}`);
    if (!dialog || dialog.open) return;
    dialog.showModal();
    dialog.scrollTop = 0;
    showAll(dialog);
  }
  document.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-detail]");
    if (asked) {
      event.preventDefault();
      open(asked.dataset.detail);
    } else if (event.target.tagName === "DIALOG") {
      event.target.close(); // beside it
    }
  });
  document.addEventListener("keydown", (event) => {
    const asked = event.key === "Enter" && event.target.closest?.(".node[data-detail]");
    if (asked) open(asked.dataset.detail);
  });

  showAll(document);
  const named = /^#detail-(\d+)$/.exec(location.hash);
  if (named) open(named[1]);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => showAll(document), 150);
  });
})();
