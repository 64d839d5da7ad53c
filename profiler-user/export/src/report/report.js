// Draws the report's pictures from the data in the page, with the libraries in vendor.js.
"use strict";
(() => {
  const V = globalThis.vendor;
  const D = JSON.parse(document.getElementById("data").textContent);
  const color = (name) => `var(--${name})`;
  const PARTS = D.parts.map(([name]) => name);
  const PART_COLORS = D.parts.map(([, of]) => color(of));
  const LINE_COLORS = [0, 1, 2, 3, 4, 5].map((n) => color(`s${n}`));

  // Numbers, as the text of the page has them.
  const digits = (v) => v.toFixed(Math.abs(v) < 9.995 ? 2 : Math.abs(v) < 99.95 ? 1 : 0);
  const UNITS = [["ns", 1], ["µs", 1e3], ["ms", 1e6], ["s", 1e9], ["min", 6e10], ["h", 3.6e12]];
  const unitOf = (ns) => UNITS.findLast(([, size]) => Math.abs(ns) >= 0.9995 * size) ?? UNITS[0];
  const time = (ns) => { const [name, size] = unitOf(ns); return `${name === "ns" ? Math.round(ns) : digits(ns / size)} ${name}`; };
  const tick = (ns) => { if (ns === 0) return "0"; const [name, size] = unitOf(ns); return `${+(ns / size).toPrecision(3)} ${name}`; };
  const percent = (x) => x === 0 ? "0%" : x < 0.05 ? "<0.1%" : `${x.toFixed(x < 9.95 ? 1 : 0)}%`;
  const html = (name, of, ...children) => {
    const element = document.createElement(name);
    element.className = of;
    element.append(...children);
    return element;
  };

  const plot = (width, options) => V.plot({
    width, style: { fontSize: "12px", fontFamily: "inherit" }, ...options,
  });
  const partScale = { domain: PARTS, range: PART_COLORS };
  // Marks of a logarithmic axis: tens, and from a second on what people count in; where there are few, what is between.
  const TENS = [...Array(11).keys()].map((n) => 10 ** n).concat([1, 10, 60, 600, 1440, 14400, 144000].map((n) => n * 6e10));
  function decades(low, high, most) {
    const within = (x) => x >= low && x <= high;
    const tens = TENS.filter(within);
    const all = (tens.length > 1 ? tens : TENS.flatMap((x) => [x, 2 * x, 5 * x]).filter(within))
      .filter((x, n, list) => n === 0 || x > 1.4 * list[n - 1]);
    const each = Math.ceil(all.length / Math.max(2, most));
    return all.filter((_, n) => n % each === 0);
  }

  // Histograms on one logarithmic axis, each under its name, with median and 99th percentile. The area is the share.
  function spreads(width, rows) {
    const binsOf = (r) => r.spread.bins.map(([x1, x2, percent]) => ({ x1, x2, percent, density: percent / Math.log2(x2 / x1) }));
    const all = rows.flatMap(binsOf);
    const low = Math.min(...all.map((d) => d.x1)), high = Math.max(...all.map((d) => d.x2));
    const most = Math.max(...all.map((d) => d.density));
    const one = (r, last) => html("div", "spread",
      html("div", "name", html("b", "", r.name), " ", html("span", "nowrap", `p50 ${time(r.spread.p50)} · p99 ${time(r.spread.p99)}`)),
      plot(width, {
        height: last ? 62 : 36, marginLeft: 14, marginRight: 26, marginTop: 2, marginBottom: last ? 28 : 2,
        x: {
          type: "log", label: null, tickFormat: tick, domain: [low, high], ticks: decades(low, high, width / 75), axis: last ? "bottom" : null,
        },
        y: { axis: null, domain: [0, most] },
        marks: [
          V.ruleX(decades(low, high, width / 75), { stroke: "currentColor", strokeOpacity: 0.12 }),
          V.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.25 }),
          V.rectY(binsOf(r), {
            x1: "x1", x2: "x2", y: "density", fill: color("bin"), inset: 0,
            channels: {
              from: { value: (d) => `${tick(d.x1)} to ${tick(d.x2)}`, label: "time" },
              share: { value: (d) => percent(d.percent), label: "share" },
            },
            tip: { format: { x: false, y: false, x1: false, x2: false, from: true, share: true } },
          }),
          ...[["median", r.spread.p50], ["p99", r.spread.p99]].map(([name, ns]) => V.ruleX([Math.max(1, ns)], {
            stroke: "currentColor", strokeWidth: 1.4, strokeDasharray: name === "p99" ? "2 3" : null, title: () => `${name} ${time(ns)}`,
          })),
        ],
      }));
    return html("div", "spreads", ...rows.map((r, n) => one(r, n === rows.length - 1)));
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

  // From this ratio of the largest value to the smallest on an axis of times is logarithmic.
  const SPAN = 30;
  function lines(width, series, format, more = [], others = []) {
    const data = series.flatMap((s) => steps(s.name, s.values));
    const times = [...series, ...others].flatMap((s) => s.values).filter((v) => v > 0);
    const [low, high] = [Math.min(...times), Math.max(...times)];
    const log = others.length && high > SPAN * low;
    const y = log ? { type: "log", domain: [low / 1.5, high * 1.2], ticks: decades(low / 1.5, high * 1.2, 6) } : { zero: true, nice: true, ticks: 5 };
    return plot(width, {
      height: 210, marginLeft: 62, marginRight: 30,
      x: axis(width),
      y: { ...y, grid: true, label: null, tickFormat: format },
      color: colors(series.map((s) => s.name)),
      marks: [
        V.ruleY(log ? [] : [0]),
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
    const data = PARTS.flatMap((part, n) => {
      const sums = starts.map((_, i) => components.reduce((sum, c) => sum + (c.series?.parts[n][i] ?? 0), 0) / 1e9);
      return steps(part, sums);
    });
    return plot(width, {
      height: 210, marginLeft: 62, marginRight: 30,
      x: axis(width),
      y: { grid: true, label: null, nice: true, ticks: 5 },
      color: { ...partScale, legend: true },
      marks: [
        V.areaY(data, {
          ...step, fill: "name", order: PARTS,
          channels: { part: "name", value: { value: (d) => digits(d.value), label: "at a time" } },
          tip: { format: { x: clock, y: false, fill: false, part: true, value: true } },
        }),
        V.ruleY([0]),
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

  // How wide a text is, and the text in as few lines as fit, cut where names have joints.
  const pen = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  function widthOf(text, size, weight = 400) {
    pen.font = `${weight} ${size}px ${family}`;
    return pen.measureText(text).width;
  }
  function fold(name, most) {
    const rows = [""];
    for (const piece of name.match(/[^-./:@ ]*[-./:@ ]?/g).flatMap((p) => p.length > 22 ? p.match(/.{1,22}/gu) : p)) {
      if (rows.at(-1) && widthOf(rows.at(-1) + piece, 13, 600) > most) rows.push("");
      rows[rows.length - 1] += piece;
    }
    return rows;
  }

  // Arrows go straight through a column of boxes or labels and turn between columns, so they meet neither.
  function route(points, [from, to], along, across, halfAt) {
    const sign = Math.sign(to.node[along] - from.node[along]) || 1;
    const beside = (at, to, half, side) => ({ [along]: at + sign * side * half, [across]: to });
    const dock = ({ node, at }, size, side) => [beside(node[along], at, node[size] / 2, side), beside(node[along], at, halfAt(node[along]), side)];
    const size = along === "x" ? "width" : "height";
    const corners = [
      ...dock(from, size, 1),
      ...points.slice(1, -1).flatMap((p) => [-1, 1].map((side) => beside(p[along], p[across], halfAt(p[along]), side))),
      ...dock(to, size, -1).reverse(),
    ];
    let d = `M${corners[0].x},${corners[0].y}`;
    for (let n = 1; n < corners.length - 1; n++) {
      const [a, b, c] = [corners[n - 1], corners[n], corners[n + 1]];
      const [before, after] = [Math.hypot(b.x - a.x, b.y - a.y), Math.hypot(c.x - b.x, c.y - b.y)];
      if (!before || !after) continue;
      const r = Math.min(14, before / 2, after / 2);
      const on = (from, length) => `${b.x + ((from.x - b.x) * r) / length},${b.y + ((from.y - b.y) * r) / length}`;
      d += `L${on(a, before)}Q${b.x},${b.y} ${on(c, after)}`;
    }
    return `${d}L${corners.at(-1).x},${corners.at(-1).y}`;
  }

  function lay(rankdir, most) {
    const graph = new V.graphlib.Graph({ multigraph: true });
    graph.setGraph({ rankdir, nodesep: 24, ranksep: rankdir === "LR" ? 72 : 60, edgesep: 16, marginx: 6, marginy: 6 });
    graph.setDefaultEdgeLabel(() => ({}));
    D.nodes.forEach((node, n) => {
      const names = fold(node.name, most);
      const wide = Math.max(...names.map((name) => widthOf(name, 13, 600)), widthOf(node.line, 12));
      graph.setNode(String(n), { names, width: Math.max(96, wide + 26), height: 28 + 17 * names.length + (node.parts ? 16 : 0) });
    });
    D.links.forEach((link, n) => graph.setEdge(String(link.from), String(link.to), {
      width: link.label ? widthOf(link.label, 13, 600) + 10 : 2, height: link.label ? 20 : 2, labelpos: "c",
    }, String(n)));
    V.layout(graph);
    return graph;
  }

  // Smaller than this letters cannot be read: the map keeps its size and scrolls.
  const LEAST = 0.65;
  function map(width) {
    // From left to right, unless from top to bottom shows it larger.
    const most = width > 1000 ? 190 : 140;
    const [right, down] = [lay("LR", most), lay("TB", most)];
    const scale = (graph) => Math.min(1, width / graph.graph().width);
    const graph = scale(right) >= 0.8 || scale(right) >= scale(down) ? right : down;
    const [along, across, size] = graph === right ? ["x", "y", "width"] : ["y", "x", "height"];
    const { width: w, height: h } = graph.graph();
    const scaled = Math.max(LEAST, scale(graph));
    const drawn = svg("svg", {
      viewBox: `0 0 ${w} ${h}`, width: w * scaled, height: h * scaled, style: "max-width:none", "font-size": 13, fill: "currentColor",
    });
    drawn.append(svg("defs", {}, svg("marker", {
      id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto",
    }, svg("path", { d: "M0,0.6L8,4L0,7.4z", fill: color("dim") }))));
    const things = [...graph.nodes().map((n) => graph.node(n)), ...graph.edges().map((e) => graph.edge(e))];
    const halfAt = (at) => Math.max(0, ...things.filter((t) => Math.abs(t[along] - at) < 1).map((t) => t[size] / 2));
    // Where on a box's side its arrows begin and end: side by side, in the order of where they go.
    const docks = new Map();
    for (const n of graph.nodes()) {
      const node = graph.node(n);
      const ends = graph.edges().flatMap((e) => {
        const points = graph.edge(e).points;
        const at = (end, next) => ({ key: `${e.name} ${end}`, next: points.at(next)[across], side: graph.node(e.v)[along] < graph.node(e.w)[along] === (end === "from") });
        return [...(e.v === n ? [at("from", 1)] : []), ...(e.w === n ? [at("to", -2)] : [])];
      });
      for (const side of [true, false]) {
        const here = ends.filter((end) => end.side === side).sort((a, b) => a.next - b.next);
        const room = node[size === "width" ? "height" : "width"] - 24;
        here.forEach((end, i) => docks.set(end.key, { node, at: node[across] + room * ((i + 0.5) / here.length - 0.5) }));
      }
    }
    const heaviest = Math.max(1, ...D.links.map((link) => link.weight));
    const tags = [];
    for (const e of graph.edges()) {
      const { points, x, y, width: wide, height } = graph.edge(e);
      const link = D.links[+e.name];
      drawn.append(svg("path", {
        class: "wire", "data-link": e.name, "data-from": e.v, "data-to": e.w, d: route(points, ["from", "to"].map((end) => docks.get(`${e.name} ${end}`)), along, across, halfAt), "marker-end": "url(#head)", "stroke-width": 1.2 + 2 * Math.sqrt(link.weight / heaviest),
      }));
      if (link.label) {
        tags.push(svg("g", { class: "tag", "data-link": e.name },
          svg("rect", { x: x - wide / 2, y: y - height / 2, width: wide, height, rx: 6 }),
          svg("text", { x, y, "text-anchor": "middle", "dominant-baseline": "central" }, link.label)));
      }
    }
    drawn.append(...tags);
    for (const n of graph.nodes()) {
      const { x, y, width: wide, height, names } = graph.node(n);
      const node = D.nodes[+n];
      const box = svg("g", {
        class: `node ${node.kind}${node.entry ? " entry" : ""}`, transform: `translate(${x - wide / 2},${y - height / 2})`,
        "data-node": n, "data-detail": node.detail, tabindex: node.detail == null ? null : 0, role: node.detail == null ? null : "button",
      });
      const below = 20 + 17 * names.length;
      box.append(
        svg("title", {}, `${node.name} (${node.kind})`),
        svg("rect", { class: "box", width: wide, height, rx: 8 }),
        ...names.map((name, row) => svg("text", { x: 13, y: 20 + 17 * row, "font-weight": 600 }, name)),
        svg("text", { x: 13, y: below, "font-size": 12, fill: color("dim") }, node.line),
      );
      if (node.parts) {
        const sum = node.parts.reduce((a, b) => a + b, 0);
        let at = 13;
        node.parts.forEach((ns, part) => {
          const length = sum > 0 ? (ns / sum) * (wide - 26) : 0;
          if (length > 0) box.append(svg("rect", { x: at, y: below + 9, width: length, height: 7, fill: PART_COLORS[part] }));
          at += length;
        });
      }
      drawn.append(box);
    }
    const scroll = html("div", "scroll", drawn);
    const entry = Math.max(0, D.nodes.findIndex((node) => node.entry));
    scroll.dataset.at = graph.node(String(entry)).x * scaled;
    return scroll;
  }

  const spread = (list, of) => (width) => spreads(width, list.map((c) => ({ name: c.name, spread: c[of] })));
  const picked = (list, pick) => D.picks[pick].map((n) => list[n]);
  const overTime = (pick) => picked(D.components, pick).filter((c) => c.series);
  const line = (what, scale = 1) => (c) => ({ name: c.name, values: c.series[what].map((v) => v && v * scale) });
  const plain = (x) => `${+x.toPrecision(3)}`;
  const dashes = (all) => V.lineY(all.flatMap((c) => steps(c.name, c.series.p99)), {
    ...step, stroke: "name", strokeWidth: 1.2, strokeDasharray: "4 3",
  });
  const draw = {
    map,
    latencies: spread(picked(D.edges, "latencies"), "latency"),
    turnarounds: spread(picked(D.components, "turnarounds"), "turnaround"),
    thinks: spread(picked(D.components, "thinks"), "turnaround"),
    spread: (width, n) => spreads(width, [["served", "service"], ["queued", "unread before"], ["turnaround", "turnaround"]]
      .filter(([what]) => D.components[n][what]).map(([what, name]) => ({ name, spread: D.components[n][what] }))),
    rates: (width) => lines(width, overTime("rates").map(line("served")), plain),
    services: (width) => {
      const entries = overTime("services");
      return lines(width, entries.map(line("p50")), tick, [dashes(entries)], entries.map(line("p99")));
    },
    held: (width, n) => held(width, n == null ? D.components.filter((c) => c.service) : [D.components[n]]),
    // Nanoseconds a second, as per cent of a core.
    cpus: (width) => lines(width, overTime("cpus").map(line("cpu", 1e-7)), percent),
    lost: (width) => lines(width, [{ name: "lost", values: D.lost }], (x) => `${x}`),
  };

  function show(place) {
    const width = Math.floor(place.clientWidth);
    if (width < 1 || place.dataset.width === String(width)) return;
    place.dataset.width = width;
    const of = place.dataset.of == null ? undefined : +place.dataset.of;
    const drawn = draw[place.dataset.chart](width, of);
    place.replaceChildren(drawn);
    if (drawn.dataset.at) drawn.scrollLeft = drawn.dataset.at - width / 2; // begins where requests come in
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
