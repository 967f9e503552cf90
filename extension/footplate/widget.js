// One job, drawn from the model's traits alone: a reloaded page shows the same.
// Colours are Lab's variables with fallbacks, so that both themes read well, in VS Code too.

const CSS = `
.footplate { border: 1px solid var(--jp-border-color1, #8884); border-radius: 4px; padding: 8px 12px;
  max-width: 720px; font: var(--jp-ui-font-size1, 13px)/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--jp-ui-font-color1, inherit); background: var(--jp-layout-color1, transparent); }
.footplate-head { display: flex; align-items: center; gap: 8px; flex-wrap: wrap; }
.footplate-id { font-weight: 600; }
.footplate-state { padding: 0 8px; border-radius: 9px; border: 1px solid currentColor; }
.footplate-state[data-state="running"] { color: var(--jp-info-color0, #1565c0); }
.footplate-state[data-state="succeeded"] { color: var(--jp-success-color0, #2e7d32); }
.footplate-state[data-state="failed"] { color: var(--jp-error-color0, #b71c1c); }
.footplate-time { color: var(--jp-ui-font-color2, inherit); }
.footplate-stop { margin-left: auto; font: inherit; cursor: pointer; padding: 1px 10px; border-radius: 3px;
  color: var(--jp-ui-font-color1, inherit); background: var(--jp-layout-color2, transparent);
  border: 1px solid var(--jp-border-color1, #8888); }
.footplate-stop:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.footplate-stop:disabled { opacity: 0.6; cursor: default; }
.footplate-sentence { margin: 4px 0; }
.footplate-sentence:empty, .footplate-curves:empty, .footplate-tail:empty { display: none; }
.footplate-curves { display: flex; gap: 16px; flex-wrap: wrap; margin: 4px 0; }
.footplate-curves figure { margin: 0; }
.footplate-curves figcaption { font-size: 0.9em; color: var(--jp-ui-font-color2, inherit); }
.footplate-curves polyline { fill: none; stroke: var(--jp-brand-color1, #1976d2); stroke-width: 1.5; }
.footplate-tail { margin: 4px 0 0; max-height: 12em; overflow: auto; white-space: pre-wrap; word-break: break-word;
  font: var(--jp-code-font-size, 12px)/1.4 var(--jp-code-font-family, monospace);
  color: var(--jp-content-font-color1, inherit); }
`;

const SVG = "http://www.w3.org/2000/svg";
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

function part(tag, name, parent) {
  const element = document.createElement(tag);
  element.className = `footplate-${name}`;
  parent.append(element);
  return element;
}

function curve(name, points) {
  const [width, height] = [160, 36];
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const figure = document.createElement("figure");
  const svg = document.createElementNS(SVG, "svg");
  const last = ys[ys.length - 1];
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}: ${ys.length} points from ${ys[0]} to ${last}`);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute(
    "points",
    points
      .map(([x, y]) => {
        const left = x1 > x0 ? ((x - x0) / (x1 - x0)) * (width - 4) + 2 : width / 2;
        const top = y1 > y0 ? height - 2 - ((y - y0) / (y1 - y0)) * (height - 4) : height / 2;
        return `${left.toFixed(1)},${top.toFixed(1)}`;
      })
      .join(" "),
  );
  svg.append(line);
  const caption = document.createElement("figcaption");
  caption.textContent = `${name} ${Number(last.toPrecision(4))}`;
  figure.append(svg, caption);
  return figure;
}

function length(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}h${m}m` : m ? `${m}m${s}s` : `${s}s`;
}

function render({ model, el }) {
  const style = document.createElement("style");
  style.textContent = CSS;
  const box = document.createElement("section");
  box.className = "footplate";
  el.append(style, box);
  const head = part("div", "head", box);
  const id = part("span", "id", head);
  const state = part("span", "state", head);
  state.setAttribute("role", "status");
  const time = part("span", "time", head);
  const stop = part("button", "stop", head);
  stop.type = "button";
  const sentence = part("p", "sentence", box);
  sentence.setAttribute("aria-live", "polite");
  const curves = part("div", "curves", box);
  const tail = part("pre", "tail", box);
  tail.tabIndex = 0;
  tail.setAttribute("aria-label", "The end of the output");

  const drawHead = () => {
    const name = model.get("state");
    box.setAttribute("aria-label", `Job ${model.get("job")}`);
    id.textContent = model.get("job");
    state.textContent = model.get("stopping") && !ENDED.has(name) ? `${name}, stopping` : name;
    state.dataset.state = name;
    sentence.textContent = model.get("sentence");
    stop.textContent = "Stop";
    stop.setAttribute("aria-label", `Stop ${model.get("job")}`);
    stop.hidden = ENDED.has(name);
    stop.disabled = model.get("stopping");
  };
  const drawTime = () => {
    const end = model.get("ended") || Date.now() / 1000;
    const begin = model.get("started") || model.get("submitted");
    time.textContent = begin ? length(end - begin) : "";
  };
  const drawTail = () => {
    const low = tail.scrollHeight - tail.scrollTop - tail.clientHeight < 24;
    tail.textContent = model.get("tail");
    if (low) tail.scrollTop = tail.scrollHeight;
  };
  const drawCurves = () => {
    const found = Object.entries(model.get("metrics")).filter(([, points]) => points.length);
    curves.replaceChildren(...found.slice(0, 6).map(([name, points]) => curve(name, points)));
  };

  const listeners = [
    ["change:state change:stopping change:sentence", drawHead],
    ["change:submitted change:started change:ended", drawTime],
    ["change:tail", drawTail],
    ["change:metrics", drawCurves],
  ];
  for (const [events, draw] of listeners) {
    for (const event of events.split(" ")) model.on(event, draw);
    draw();
  }
  stop.addEventListener("click", () => {
    stop.disabled = true;
    model.send({ do: "stop" });
  });
  const clock = setInterval(() => {
    if (!ENDED.has(model.get("state"))) drawTime();
  }, 1000);
  return () => {
    clearInterval(clock);
    for (const [events, draw] of listeners) for (const event of events.split(" ")) model.off(event, draw);
  };
}

export default { render };
