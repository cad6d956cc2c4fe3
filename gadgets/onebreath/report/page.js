"use strict";
// Viewers of the report. All pixels are in the page; nothing is fetched.
const DATA = JSON.parse(document.getElementById("data").textContent);
const STAGE_MM_PX = 1.45, LARGEST = 560, STILL = 92, STILLS = 32;

function bytes(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

async function inflate(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "list") made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function short(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 0.01 || size >= 100000) ? value.toExponential(2) : String(+value.toPrecision(4));
}

class Viewer {
  constructor(picture, colours) {
    Object.assign(this, { picture, colours, place: 0, frame: 0, playing: false, due: 0 });
    [this.bottom, this.top] = picture.window;
    this.cache = new Map();
  }

  async open(parent) {
    const many = this.picture.places.length > 1;
    this.canvas = element("canvas");
    this.stage = element("div", { className: "stage" }, this.canvas);
    this.ends = {};
    for (const side of ["left", "right", "top", "bottom"]) {
      this.ends[side] = element("span", { className: "end " + side });
      this.stage.append(this.ends[side]);
    }
    this.scale = element("span", { className: "scale" });
    this.stage.append(this.scale);
    this.state = element("p", { className: "state" });
    this.profile = element("canvas");
    this.profileText = element("figcaption");
    this.profileFigure = element("figure", {}, this.profile, this.profileText);
    this.stills = element("div", { className: "stills" });
    this.bar = element("canvas", { width: 1, height: 256 });
    this.bar.style.cssText = "width:18px;height:260px;image-rendering:pixelated";
    this.ticks = element("div", { className: "ticks" });
    this.controls = element("div", { className: "controls" });
    if (many) this.addChoice();
    this.addPlay();
    this.addWindow();
    const title = this.picture.title + " (series " + this.picture.series + ")";
    const remarks = this.picture.remarks.map((text) => element("p", { className: "remark" }, text));
    const bar = element("div", { className: "bar" }, this.bar, this.ticks);
    this.root = element("div", { className: "viewer" }, element("h2", {}, title), ...remarks, this.controls,
      element("div", { className: "panels" }, element("div", {}, this.stage, this.state),
        element("figure", {}, bar, element("figcaption", {}, this.picture.units)), this.profileFigure), this.stills);
    this.root.dataset.series = this.picture.series;
    parent.append(this.root);
    this.canvas.addEventListener("click", (event) => this.chooseRow(event));
    this.canvas.addEventListener("mousemove", (event) => this.tell(event));
    await this.choose(0);
  }

  addChoice() {
    const names = this.picture.places.map((place, index) => element("option", { value: index }, place.name));
    this.choice = element("select", {}, ...names);
    this.choice.addEventListener("change", () => this.choose(+this.choice.value));
    this.controls.append(element("label", {}, "place ", this.choice));
  }

  addPlay() {
    this.button = element("button", { type: "button" }, "Play");
    this.button.addEventListener("click", () => this.play(!this.playing));
    this.slider = element("input", { type: "range", min: 0, value: 0, step: 1, "aria-label": "frame" });
    this.slider.addEventListener("input", () => { this.play(false); this.show(+this.slider.value); });
    this.frames = element("label", {}, this.button, " frame ", this.slider);
    this.controls.append(this.frames);
  }

  addWindow() {
    const { low, high } = this.picture, step = (high - low) / 1000;
    this.centre = element("input", { type: "range", min: low, max: high, step, "aria-label": "window centre" });
    this.width = element("input", { type: "range", min: step, max: (high - low), step, "aria-label": "window width" });
    const reset = element("button", { type: "button" }, "Reset window");
    for (const slider of [this.centre, this.width]) slider.addEventListener("input", () => this.setWindow());
    reset.addEventListener("click", () => { [this.bottom, this.top] = this.picture.window; this.draw(); });
    this.controls.append(element("label", {}, "window centre ", this.centre), element("label", {}, "width ", this.width), reset);
  }

  setWindow() {
    const centre = +this.centre.value, width = +this.width.value;
    [this.bottom, this.top] = [centre - width / 2, centre + width / 2];
    this.draw(true);
  }

  async choose(index) {
    this.place = index;
    const place = this.now = this.picture.places[index];
    if (!this.cache.has(index)) {
      const buffer = await inflate(place.pixels);
      this.cache.clear();
      this.cache.set(index, this.picture.levels === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer));
    }
    this.pixels = this.cache.get(index);
    const wide = place.nx * place.mm[0], tall = place.ny * place.mm[1];
    this.zoom = Math.min(STAGE_MM_PX, LARGEST / Math.max(wide, tall));  // screen pixels for a millimetre, both ways
    size(this.canvas, place.nx, place.ny, wide * this.zoom, tall * this.zoom);
    for (const [side, letters] of Object.entries(place.ends)) this.ends[side].textContent = letters;
    const bar = wide > 120 ? 50 : 10;
    this.scale.textContent = bar + " mm";
    this.scale.style.width = bar * this.zoom + "px";
    this.row = place.row;
    this.slider.max = place.frames - 1;
    this.frames.style.display = place.frames > 1 ? "" : "none";
    this.profileFigure.style.display = place.frames > 1 ? "" : "none";
    this.makeStills();
    this.frame = Math.min(this.frame, place.frames - 1);
    this.draw();
  }

  value(index) {
    const { low, high, levels } = this.picture;
    return low + (high - low) * this.pixels[index] / (levels === 16 ? 65535 : 255);
  }

  paint(canvas, wide, tall, indexOf) {
    const context = canvas.getContext("2d"), image = context.createImageData(wide, tall);
    const { low, high, levels } = this.picture, gain = (high - low) / (levels === 16 ? 65535 : 255);
    const span = 255 / (this.top - this.bottom);
    for (let place = 0, y = 0; y < tall; y++) {
      for (let x = 0; x < wide; x++, place += 4) {
        const shade = 3 * Math.max(0, Math.min(255, Math.round((low + gain * this.pixels[indexOf(x, y)] - this.bottom) * span)));
        for (let colour = 0; colour < 3; colour++) image.data[place + colour] = this.colours[shade + colour];
        image.data[place + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  makeStills() {
    const { nx, ny, mm, frames } = this.now;
    this.stills.replaceChildren();
    if (frames < 2) return;
    const zoom = STILL / Math.max(nx * mm[0], ny * mm[1]);
    for (let frame = 0; frame < Math.min(frames, STILLS); frame++) {
      const still = element("canvas");
      size(still, nx, ny, nx * mm[0] * zoom, ny * mm[1] * zoom);
      still.addEventListener("click", () => { this.play(false); this.show(frame); });
      this.stills.append(element("figure", {}, still, this.label(frame)));
    }
    if (frames > STILLS) this.stills.append(element("p", { className: "remark" }, "The first " + STILLS + " of " + frames + " frames."));
  }

  label(frame) {
    const { trigger } = this.now;
    return trigger ? trigger[frame].toFixed(0) + " ms" : String(frame + 1);
  }

  show(frame) {
    this.frame = frame;
    const { nx, ny, frames, counter, trigger } = this.now, start = frame * nx * ny;
    this.paint(this.canvas, nx, ny, (x, y) => start + y * nx + x);
    const context = this.canvas.getContext("2d");
    if (frames > 1) {
      context.fillStyle = "rgba(255, 160, 60, .8)";
      for (const x of [0, nx - 3]) context.fillRect(x, this.row, 3, 1);
    }
    this.slider.value = frame;
    const time = trigger ? ", " + trigger[frame].toFixed(1) + " ms after the R-wave" : "";
    this.state.textContent = (frames > 1 ? counter + " " + (frame + 1) + " of " + frames + time + "; " : "") +
      "window " + short(this.bottom) + " to " + short(this.top) + " " + this.picture.units +
      (this.under ? "; " + this.under : "");
    [...this.stills.querySelectorAll("canvas")].forEach((still, index) => still.classList.toggle("now", index === frame));
  }

  draw(sliding = false) {
    const { nx, ny, frames, mm, frame_ms: step } = this.now;
    if (!sliding) {
      this.width.value = this.top - this.bottom;
      this.centre.value = (this.top + this.bottom) / 2;
    }
    const ramp = this.bar.getContext("2d").createImageData(1, 256);
    for (let y = 0; y < 256; y++) {
      for (let colour = 0; colour < 3; colour++) ramp.data[4 * y + colour] = this.colours[3 * (255 - y) + colour];
      ramp.data[4 * y + 3] = 255;
    }
    this.bar.getContext("2d").putImageData(ramp, 0, 0);
    const marks = [0, 1, 2, 3, 4].map((part) => short(this.top - (this.top - this.bottom) * part / 4));
    this.ticks.replaceChildren(...marks.map((text) => element("span", {}, text)));
    [...this.stills.querySelectorAll("canvas")].forEach((still, frame) => {
      this.paint(still, nx, ny, (x, y) => frame * nx * ny + y * nx + x);
    });
    if (frames > 1) {
      size(this.profile, nx, frames, nx * mm[0] * this.zoom * 0.6, Math.max(120, Math.min(260, 8 * frames)));
      this.paint(this.profile, nx, frames, (x, y) => y * nx * ny + this.row * nx + x);
      this.profileText.textContent = "Profile over time of the picture's row " + this.row + " (orange marks; click a row): x to the right (" +
        (nx * mm[0]).toFixed(0) + " mm), time downwards (" + frames + " frames, " + step.toFixed(0) + " ms each)";
    }
    this.show(this.frame);
  }

  pixelAt(event) {
    const { nx, ny } = this.now, box = this.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * nx), y = Math.floor((event.clientY - box.top) / box.height * ny);
    return [Math.max(0, Math.min(nx - 1, x)), Math.max(0, Math.min(ny - 1, y))];
  }

  chooseRow(event) { this.row = this.pixelAt(event)[1]; this.draw(); }

  // Column and row in the file of images of a pixel of the picture, which was turned.
  stored(x, y) {
    const { nx, ny, turn } = this.now;
    const across = turn.reversed_x ? nx - 1 - x : x, down = turn.reversed_y ? ny - 1 - y : y;
    return turn.exchanged ? [down, across] : [across, down];
  }

  tell(event) {
    const [x, y] = this.pixelAt(event), { nx, ny } = this.now;
    this.under = "pixel " + this.stored(x, y).join(", ") + ": " + short(this.value((this.frame * ny + y) * nx + x));
    if (!this.playing) this.show(this.frame);
  }

  play(on) {
    this.playing = on;
    this.button.textContent = on ? "Pause" : "Play";
    if (on) requestAnimationFrame((now) => { this.due = now; this.step(now); });
  }

  step(now) {
    if (!this.playing) return;
    if (now >= this.due) {
      this.due = now + this.now.frame_ms;
      this.show((this.frame + 1) % this.now.frames);
    }
    requestAnimationFrame((later) => this.step(later));
  }
}

function size(canvas, wide, tall, width, height) {
  canvas.width = wide;
  canvas.height = tall;
  canvas.style.width = width.toFixed(2) + "px";
  canvas.style.height = height.toFixed(2) + "px";
}

async function start() {
  const parent = document.getElementById("pictures"), viewers = [];
  for (const picture of DATA.pictures) {
    const viewer = new Viewer(picture, bytes(DATA.shades[picture.shade]));
    await viewer.open(parent);
    viewers.push(viewer);
  }
  if (viewers.length && viewers[0].now.frames > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) viewers[0].play(true);
  document.body.dataset.ready = viewers.length;
}

start().catch((error) => {
  document.body.dataset.failed = String(error);
  document.getElementById("pictures").append(element("p", { className: "alarm" }, "The pictures could not be shown: " + error));
});
