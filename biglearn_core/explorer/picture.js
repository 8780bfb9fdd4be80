// The explorer's picture: panels of rows, ellipses and tasks on canvases, and a toolbar.
// Python says what is seen (messages.py); here it is drawn, and asked for the next step.

const MARGIN = { left: 46, right: 10, top: 8, bottom: 34 };
const REACH = 9; // pixels around the pointer in which a row is found
const PATIENCE = 10000; // milliseconds without an answer, after which the kernel is said to be silent
const SHADES = 24; // of uncertainty
const PACES = { fastest: 0, "10 a second": 100, "3 a second": 333, "1 a second": 1000 };

function render({ model, el }) {
  const picture = new Picture(model, el);
  return () => picture.close();
}

export default { render };

class Picture {
  constructor(model, el) {
    this.model = model;
    this.isPlaying = false;
    this.isWaiting = false;
    this.hovered = -1;
    this.timings = []; // of the last frames in milliseconds, for whoever measures
    this.root = add(el, "div", "biglearn-picture");
    this.root.picture = this;
    this.makeToolbar();
    this.error = add(this.root, "div", "bl-error");
    this.error.setAttribute("role", "alert");
    this.grid = add(this.root, "div", "bl-panels");
    this.makeCurves();
    this.spoken = add(this.root, "div", "bl-spoken");
    this.spoken.setAttribute("role", "status");
    this.spoken.setAttribute("aria-live", "polite");
    this.note = add(this.root, "div", "bl-note");
    this.panels = [];
    this.onScene = () => this.takeScene();
    this.onFrame = () => this.takeFrame();
    model.on("change:scene", this.onScene);
    model.on("change:frame", this.onFrame);
    this.redraw = () => this.schedule();
    this.sizes = new ResizeObserver(this.redraw);
    this.sizes.observe(this.root);
    this.themes = new MutationObserver(this.redraw);
    for (const node of [document.documentElement, document.body]) {
      this.themes.observe(node, { attributes: true });
    }
    this.takeScene();
    this.takeFrame();
  }

  close() {
    this.isPlaying = false;
    this.isClosed = true;
    clearTimeout(this.timer);
    clearTimeout(this.patience);
    this.model.off("change:scene", this.onScene);
    this.model.off("change:frame", this.onFrame);
    this.sizes.disconnect();
    this.themes.disconnect();
  }

  makeToolbar() {
    this.bar = add(this.root, "div", "bl-bar");
    this.bar.setAttribute("role", "toolbar");
    this.bar.setAttribute("aria-label", "steps of the fits");
    this.stepButton = button(this.bar, "Step", () => this.ask("step"));
    this.playButton = button(this.bar, "Play", () => this.play(!this.isPlaying));
    this.restartButton = button(this.bar, "Start again", () => {
      this.play(false);
      this.ask("restart");
    });
    const label = add(this.bar, "label", "");
    label.append("pace ");
    this.pace = add(label, "select", "");
    for (const name of Object.keys(PACES)) add(this.pace, "option", "").textContent = name;
    this.pace.value = "10 a second";
    this.count = add(this.bar, "span", "bl-count");
  }

  makeCurves() {
    this.curves = add(this.root, "figure", "bl-curves");
    this.key = add(this.curves, "figcaption", "");
    this.curveCanvas = add(this.curves, "canvas", "");
    this.curveCanvas.setAttribute("role", "img");
  }

  play(isPlaying) {
    this.isPlaying = isPlaying;
    this.playButton.textContent = isPlaying ? "Pause" : "Play";
    this.root.dataset.playing = isPlaying;
    clearTimeout(this.timer);
    if (isPlaying) this.ask("step");
  }

  ask(what) {
    if (this.isWaiting || this.isClosed) return;
    this.isWaiting = true;
    this.asked = performance.now();
    this.patience = setTimeout(() => {
      this.isWaiting = false;
      this.play(false);
      this.error.hidden = false;
      this.error.textContent = "The kernel does not answer: it is busy, or not running any more.";
    }, PATIENCE);
    this.model.send({ ask: what });
  }

  takeScene() {
    const scene = this.model.get("scene");
    if (!scene.points) return;
    this.scene = scene;
    this.points = numbers(scene.points, Float64Array);
    this.rows = numbers(scene.rows, Uint32Array);
    this.view = extent(this.points);
    this.hovered = -1;
    this.bar.hidden = !scene.takes_steps;
    this.curves.hidden = !scene.takes_steps;
    this.root.classList.toggle("bl-single", !scene.takes_steps);
    const parts = [`ellipses: ${percent(scene.coverage)} of each component`];
    if (scene.colour_by === "uncertainty") {
      parts.push("rows: the more uncertain, the stronger; the strongest have no majority");
    }
    if (this.rows.length < scene.n_rows - scene.n_left_out) {
      parts.push(`${this.rows.length} of ${scene.n_rows} rows drawn`);
    }
    if (scene.n_left_out > 0) parts.push(`${scene.n_left_out} rows without these values left out`);
    this.note.textContent = parts.join("; ");
    this.schedule();
  }

  takeFrame() {
    const frame = this.model.get("frame");
    if (!frame.panels || !this.scene) return;
    const arrived = performance.now();
    const isBehind = this.isScheduled;
    this.frame = frame;
    this.error.textContent = frame.error;
    this.error.hidden = !frame.error;
    if (frame.error) this.play(false);
    this.answered = this.isWaiting ? arrived - this.asked : null;
    this.isWaiting = false;
    clearTimeout(this.patience);
    this.makePanels(frame.panels.length);
    frame.panels.forEach((panel, i) => this.panels[i].take(panel));
    if (frame.curves) this.logLikelihoods = frame.curves.map((c) => numbers(c, Float64Array));
    this.schedule();
    if (!isBehind) this.goOn();
  }

  // The kernel works on the next frame while this one is drawn, and never gets further ahead.
  goOn() {
    if (!this.isPlaying || this.isWaiting) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask("step"), this.rest());
  }

  makePanels(n) {
    if (this.panels.length === n) return;
    this.grid.replaceChildren();
    this.panels = Array.from({ length: n }, () => new Panel(this, this.grid));
  }

  schedule() {
    if (this.isScheduled || this.isClosed) return;
    this.isScheduled = true;
    requestAnimationFrame(() => {
      this.isScheduled = false;
      if (!this.isClosed && this.frame && this.grid.clientWidth > 0) this.draw();
    });
  }

  draw() {
    const began = performance.now();
    this.ink = inks(this.root);
    const size = Math.max(this.grid.clientWidth / this.panels.length, 200);
    this.discs = discOf(radius(size, this.rows.length) * (window.devicePixelRatio || 1));
    for (const panel of this.panels) panel.draw();
    if (this.frame.curves) this.drawCurves();
    this.nameSliders();
    this.root.dataset.steps = this.frame.n_steps ?? "";
    const ended = performance.now();
    if (this.answered !== null) {
      const between = this.lastDrawn === undefined ? null : ended - this.lastDrawn;
      this.timings.push({
        compute: 1000 * this.frame.seconds,
        answer: this.answered,
        draw: ended - began,
        between,
      });
      if (this.timings.length > 500) this.timings.shift();
      this.lastDrawn = ended;
      this.answered = null;
    }
    this.goOn();
  }

  // ipywidgets writes the label of a slider beside its handles, and gives these no name.
  nameSliders() {
    const controls = this.root.closest(".widget-vbox")?.parentElement;
    for (const handle of controls?.querySelectorAll("[role=slider]:not([aria-label])") ?? []) {
      const label = handle.closest(".widget-inline-hbox")?.querySelector("label");
      if (label) handle.setAttribute("aria-label", label.textContent);
    }
  }

  rest() {
    return Math.max(0, PACES[this.pace.value] - (performance.now() - this.asked));
  }

  drawCurves() {
    const { context, width, height } = canvasOf(this.curveCanvas);
    const frame = this.frame;
    const all = this.logLikelihoods;
    const n = all[0].length;
    const skipped = Math.min(Math.ceil(n / 20), n - 1); // a blind start lies far below
    const seen = all.flatMap((values) => Array.from(values.slice(skipped)));
    const end = Math.max(n - 1, 1) * frame.n_local_steps;
    const view = { x: [0, 1.02 * end], y: padded(seen, 0.08) };
    const place = placing(view, width, height);
    axes(context, view, place, this.ink, width, height, ["EM steps of each fit", "nats a row"]);
    clip(context, width, height, () => {
      all.forEach((values, i) => {
        context.strokeStyle = this.ink.line(this.scene.method_colours[i]);
        context.lineWidth = 2;
        context.setLineDash(i === 0 ? [6, 3] : []);
        context.beginPath();
        values.forEach((v, k) => context.lineTo(place.x(k * frame.n_local_steps), place.y(v)));
        context.stroke();
        context.setLineDash([]);
        const last = values.length - 1;
        disc(context, place.x(last * frame.n_local_steps), place.y(values[last]), 3.5, context.strokeStyle);
      });
    });
    this.key.replaceChildren("log-likelihood: ");
    frame.panels.forEach((panel, i) => {
      const entry = add(this.key, "span", "bl-key");
      entry.style.setProperty("--key", this.ink.line(this.scene.method_colours[i]));
      entry.textContent = `${panel.title} ${nats(panel.log_likelihood)}`;
    });
    this.count.textContent = `${frame.n_steps} EM steps each`;
    const ends = frame.panels.map((p) => `${p.title} ${nats(p.log_likelihood)}`).join(", ");
    const words = `log-likelihood after ${frame.n_steps} EM steps, in nats a row: ${ends}`;
    this.curveCanvas.setAttribute("aria-label", words);
  }

  hover(row, panel) {
    if (row === this.hovered && panel === this.pointed) return;
    this.hovered = row;
    this.pointed = panel;
    this.schedule();
  }
}

class Panel {
  constructor(picture, parent) {
    this.picture = picture;
    this.figure = add(parent, "figure", "bl-panel");
    this.caption = add(this.figure, "figcaption", "");
    this.canvas = add(this.figure, "canvas", "");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.tip = add(this.figure, "div", "bl-tip");
    this.tip.hidden = true;
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => picture.hover(-1, this));
    this.canvas.addEventListener("blur", () => picture.hover(-1, this));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  take(panel) {
    this.panel = panel;
    this.weights = numbers(panel.weights, Float64Array);
    this.means = numbers(panel.means, Float64Array);
    this.covariances = numbers(panel.covariances, Float64Array);
    this.labels = numbers(panel.labels, Uint16Array);
    this.responsibilities = numbers(panel.responsibilities, Uint16Array);
    const title = document.createElement("strong");
    title.textContent = panel.title;
    const value = `log-likelihood ${nats(panel.log_likelihood)} nats a row`;
    const task = document.createElement("div");
    task.textContent = `task: ${panel.task}`;
    task.hidden = panel.task === "fitted";
    this.caption.replaceChildren(title, `  ${value}`, task);
    const words = `${panel.title}: ${this.weights.length} components, ${value}, task ${panel.task}.`;
    this.canvas.setAttribute("aria-label", `${words} Left and right arrow keys go through the rows.`);
  }

  draw() {
    const { scene, points, view, ink, hovered } = this.picture;
    const { context, width, height } = canvasOf(this.canvas);
    const place = placing(view, width, height);
    this.place = place;
    axes(context, view, place, ink, width, height, scene.axes);
    clip(context, width, height, () => {
      this.drawRows(context, place);
      this.drawDirections(context, place);
      this.drawComponents(context, place);
      if (hovered >= 0) {
        const [x, y] = [place.x(points[2 * hovered]), place.y(points[2 * hovered + 1])];
        context.strokeStyle = ink.text;
        context.lineWidth = 2;
        context.beginPath();
        context.arc(x, y, 7, 0, 2 * Math.PI);
        context.stroke();
      }
    });
    this.showTip();
  }

  // Thousands of discs are blended into a bitmap here, which is many times as fast as the canvas is.
  drawRows(context, place) {
    const { points, scene, ink, discs } = this.picture;
    const { width, height } = this.canvas;
    const bitmap = this.bitmap?.width === width && this.bitmap?.height === height
      ? this.bitmap : new ImageData(width, height);
    bitmap.data.fill(0);
    this.bitmap = bitmap;
    const dense = width / this.canvas.clientWidth;
    const n = this.labels.length;
    const stamp = (i, colour) =>
      blend(bitmap, dense * place.x(points[2 * i]), dense * place.y(points[2 * i + 1]), discs, colour);
    if (scene.colour_by === "component") {
      const colours = scene.colours.map(ink.fill);
      for (let i = 0; i < n; i += 1) stamp(i, colours[this.labels[i] % colours.length]);
    } else {
      const shades = ink.shades.map(() => []);
      for (let i = 0; i < n; i += 1) {
        const uncertainty = Math.min(2 * (1 - this.responsibilities[i] / 65535), 1);
        shades[Math.round(uncertainty * (SHADES - 1))].push(i);
      }
      shades.forEach((rows, s) => rows.forEach((i) => stamp(i, ink.shades[s])));
    }
    this.layer ??= document.createElement("canvas");
    if (this.layer.width !== width) this.layer.width = width;
    if (this.layer.height !== height) this.layer.height = height;
    this.layer.getContext("2d", { willReadFrequently: true }).putImageData(bitmap, 0, 0);
    context.drawImage(this.layer, 0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
  }

  drawDirections(context, place) {
    const { view, ink } = this.picture;
    const centre = [middle(view.x), middle(view.y)];
    const spans = [view.x[1] - view.x[0], view.y[1] - view.y[0]];
    const lengths = this.panel.directions.map((d) => Math.hypot(d[0] / spans[0], d[1] / spans[1]));
    const longest = Math.max(...lengths, 0);
    context.strokeStyle = ink.text;
    context.globalAlpha = 0.75;
    context.lineWidth = 2;
    context.setLineDash([7, 5]);
    this.panel.directions.forEach((direction, i) => {
      if (!(lengths[i] > 1e-9 * longest)) return;
      const reach = (lengths.length === 1 ? 2 : 0.45) / longest;
      context.beginPath();
      for (const sign of [-1, 1]) {
        const x = place.x(centre[0] + sign * reach * direction[0]);
        context.lineTo(x, place.y(centre[1] + sign * reach * direction[1]));
      }
      context.stroke();
    });
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  drawComponents(context, place) {
    const { scene, ink } = this.picture;
    const K = this.weights.length;
    for (let k = 0; k < K; k += 1) {
      const [a, b, c] = this.covariances.subarray(3 * k, 3 * k + 3);
      // The image of the unit circle under the Cholesky factor, at the stated deviations.
      const [l11, r] = [Math.sqrt(Math.max(a, 0)), scene.deviations];
      const l21 = l11 > 0 ? b / l11 : 0;
      const l22 = Math.sqrt(Math.max(c - l21 * l21, 0));
      const [x, y] = [this.means[2 * k], this.means[2 * k + 1]];
      const colour = scene.colour_by === "component" ? scene.colours[k % scene.colours.length] : null;
      context.strokeStyle = colour === null ? ink.text : ink.line(colour);
      context.globalAlpha = Math.min(Math.max(this.weights[k] * K, 0.25), 1);
      context.lineWidth = 2;
      context.beginPath();
      for (let s = 0; s <= 64; s += 1) {
        const [u, v] = [Math.cos((s * Math.PI) / 32), Math.sin((s * Math.PI) / 32)];
        context.lineTo(place.x(x + r * l11 * u), place.y(y + r * (l21 * u + l22 * v)));
      }
      context.stroke();
      context.beginPath();
      for (const [dx, dy] of [[4, 0], [0, 4]]) {
        context.moveTo(place.x(x) - dx, place.y(y) - dy);
        context.lineTo(place.x(x) + dx, place.y(y) + dy);
      }
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const { points } = this.picture;
    let [nearest, least] = [-1, REACH * REACH];
    for (let i = 0; 2 * i < points.length; i += 1) {
      const dx = this.place.x(points[2 * i]) - px;
      const dy = this.place.y(points[2 * i + 1]) - py;
      if (dx * dx + dy * dy < least) [nearest, least] = [i, dx * dx + dy * dy];
    }
    this.picture.hover(nearest, this);
  }

  key(event) {
    const n = this.labels.length;
    const by = { ArrowRight: 1, ArrowLeft: -1, PageDown: 100, PageUp: -100 }[event.key];
    if (by === undefined && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    const { hovered } = this.picture;
    const first = by > 0 ? 0 : n - 1;
    const next = hovered < 0 ? first : (hovered + by + n) % n;
    this.picture.hover(event.key === "Escape" ? -1 : next, this);
    this.picture.spoken.textContent = event.key === "Escape" ? "" : this.words(next).join("; ");
  }

  words(i) {
    const { scene, rows, points } = this.picture;
    return [
      `row ${rows[i]}`,
      `${scene.axes[0]}: ${short(points[2 * i])}`,
      `${scene.axes[1]}: ${short(points[2 * i + 1])}`,
      `component ${this.labels[i]}, responsibility ${percent(this.responsibilities[i] / 65535)}`,
    ];
  }

  showTip() {
    const { hovered, points, pointed } = this.picture;
    this.tip.hidden = hovered < 0;
    if (hovered < 0) return;
    const words = this.words(hovered);
    this.tip.textContent = (pointed === this ? words : words.slice(3)).join("\n");
    const x = this.place.x(points[2 * hovered]);
    const y = this.canvas.offsetTop + this.place.y(points[2 * hovered + 1]);
    const isRight = x > this.canvas.clientWidth - this.tip.offsetWidth - 16;
    this.tip.style.left = `${isRight ? Math.max(x - this.tip.offsetWidth - 12, 0) : x + 12}px`;
    this.tip.style.top = `${Math.max(y - this.tip.offsetHeight - 10, 0)}px`;
  }
}

function add(parent, tag, name) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  parent.append(node);
  return node;
}

function button(parent, text, action) {
  const node = add(parent, "button", "");
  node.type = "button";
  node.textContent = text;
  node.addEventListener("click", action);
  return node;
}

function numbers(view, Kind) {
  const { buffer, byteOffset, byteLength } = view;
  return new Kind(buffer.slice(byteOffset, byteOffset + byteLength));
}

function percent(share) {
  return share > 0.995 && share < 1 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`;
}

function signed(text) {
  return text.replace(/^-/, "−");
}

function short(value) {
  return signed(String(Number(value.toPrecision(4))));
}

function nats(value) {
  return signed(value.toFixed(3));
}

function middle([low, high]) {
  return (low + high) / 2;
}

function padded(values, share) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) [low, high] = [Math.min(low, v), Math.max(high, v)];
  const span = high > low ? high - low : Math.max(Math.abs(high) * 1e-3, 1e-3);
  return [low - share * span, high + share * span];
}

function extent(points) {
  return {
    x: padded(points.filter((_, i) => i % 2 === 0), 0.06),
    y: padded(points.filter((_, i) => i % 2 === 1), 0.06),
  };
}

function placing(view, width, height) {
  const across = (width - MARGIN.left - MARGIN.right) / (view.x[1] - view.x[0]);
  const up = (height - MARGIN.top - MARGIN.bottom) / (view.y[1] - view.y[0]);
  return {
    x: (v) => MARGIN.left + (v - view.x[0]) * across,
    y: (v) => height - MARGIN.bottom - (v - view.y[0]) * up,
  };
}

function canvasOf(canvas) {
  const [width, height, dense] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
  const [w, h] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function clip(context, width, height, draw) {
  context.save();
  context.beginPath();
  context.rect(
    MARGIN.left, MARGIN.top,
    width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom,
  );
  context.clip();
  draw();
  context.restore();
}

function ticks([low, high], most) {
  const rough = (high - low) / most;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * ten).find((s) => s >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) {
    const value = i * step;
    const isPlain = Math.abs(value) < 1e5 && digits < 6;
    found.push([value, signed(isPlain ? value.toFixed(digits) : value.toPrecision(3))]);
  }
  return found;
}

function axes(context, view, place, ink, width, height, names) {
  const [bottom, right] = [height - MARGIN.bottom, width - MARGIN.right];
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  context.strokeStyle = ink.grid;
  context.fillStyle = ink.text;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const [value, text] of ticks(view.x, Math.max(width / 55, 2))) {
    line(context, place.x(value), MARGIN.top, place.x(value), bottom);
    context.fillText(text, place.x(value), bottom + 4);
  }
  context.fillText(names[0], (MARGIN.left + right) / 2, bottom + 18);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const [value, text] of ticks(view.y, Math.max(height / 45, 2))) {
    line(context, MARGIN.left, place.y(value), right, place.y(value));
    context.fillText(text, MARGIN.left - 5, place.y(value));
  }
  context.save();
  context.translate(7, (MARGIN.top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(names[1], 0, 0);
  context.restore();
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function disc(context, x, y, r, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, r, 0, 2 * Math.PI);
  context.fill();
}

function channels(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

function mixed(colour, other, share) {
  const [a, b] = [channels(colour), channels(other)];
  return a.map((v, i) => Math.round((1 - share) * v + share * b[i]));
}

function inks(root) {
  const text = getComputedStyle(root).color;
  const [r, g, b] = (text.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
  const isDark = 0.299 * r + 0.587 * g + 0.114 * b > 128; // light text is on a dark ground
  const [certain, unsure, most] = isDark
    ? ["#5A5A5A", "#E08A3C", "#FFFFFF"]
    : ["#C4C4C4", "#D55E00", "#000000"];
  const shade = (s) => (s < 0.5 ? mixed(certain, unsure, 2 * s) : mixed(unsure, most, 2 * s - 1));
  const lines = (colour) =>
    isDark ? mixed(colour === "#000000" ? "#CCCCCC" : colour, "#FFFFFF", 0.5) : mixed(colour, "#000000", 0.35);
  return {
    text,
    isDark,
    grid: isDark ? "rgba(255,255,255,0.14)" : "rgba(0,0,0,0.10)",
    fill: (colour) => (isDark ? mixed(colour === "#000000" ? "#AAAAAA" : colour, "#FFFFFF", 0.18) : channels(colour)),
    line: (colour) => `rgb(${lines(colour).join(",")})`,
    shades: Array.from({ length: SHADES }, (_, s) => shade(s / (SHADES - 1))),
  };
}

function radius(size, n) {
  return Math.min(Math.max(Math.sqrt((0.1 * size * size) / (Math.PI * Math.max(n, 1))), 1.3), 3.6);
}

// How much of every pixel about its centre a disc covers, for centres at whole pixels.
function discOf(r) {
  const reach = Math.ceil(r + 0.5);
  const disc = { dx: [], dy: [], alpha: [] };
  for (let dy = -reach; dy <= reach; dy += 1) {
    for (let dx = -reach; dx <= reach; dx += 1) {
      const share = Math.min(Math.max(r + 0.5 - Math.hypot(dx, dy), 0), 1);
      if (share === 0) continue;
      disc.dx.push(dx);
      disc.dy.push(dy);
      disc.alpha.push(0.7 * share);
    }
  }
  return disc;
}

function blend({ data, width, height }, x, y, disc, colour) {
  const column = Math.round(x);
  const row = Math.round(y);
  for (let i = 0; i < disc.alpha.length; i += 1) {
    const px = column + disc.dx[i];
    const py = row + disc.dy[i];
    if (px < 0 || py < 0 || px >= width || py >= height) continue;
    const at = 4 * (py * width + px);
    const over = disc.alpha[i];
    const under = (data[at + 3] / 255) * (1 - over);
    const both = over + under;
    data[at] = (colour[0] * over + data[at] * under) / both;
    data[at + 1] = (colour[1] * over + data[at + 1] * under) / both;
    data[at + 2] = (colour[2] * over + data[at + 2] * under) / both;
    data[at + 3] = 255 * both;
  }
}
