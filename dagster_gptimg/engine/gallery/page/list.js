// The list: only the lines in sight are in the document, however many records there are.
"use strict";
(function (gallery) {
  const OVER = 600; // pixels above and below that are drawn as well, once what is in sight is there
  const AFTER = 40; // milliseconds until that: letters that follow at once do not wait for it
  const GAP = 12;
  const TILE = 190; // least width of a tile
  const CAPTION = 88;
  const HEADING = 44;
  const { element, named } = gallery;

  let order = [];
  let lines = []; // {group} for a heading, or {first, count} for a line of tiles
  let tops = []; // of each line, and of the end
  let columns = 1;
  let active = 0; // the place of the tile that keys act on
  const box = { width: 0, height: 0 }; // of the list: asking the browser for it between two changes takes most of a search
  const drawn = new Map();
  let ahead = 0; // tells that what is near sight will be drawn
  const spare = new Map(); // tiles of the last draw by their records, which may be among the next ones

  gallery.places = () => order.length;
  gallery.active = () => active;
  gallery.recordAt = (place) => gallery.records[order[place]];

  // Show other records; the tile that keys act on stays if it is among them.
  gallery.show = function ({ order: shown, groups }, keepPlace) {
    const before = order[active];
    const list = named("list");
    if (!keepPlace && list.scrollTop) list.scrollTop = 0;
    order = shown;
    active = Math.max(0, keepPlace ? order.indexOf(before) : 0);
    named("nothing").hidden = order.length > 0;
    const isHidden = order.length === 0;
    if (isHidden !== list.hidden) list.hidden = isHidden; // first: a hidden list has no width to divide
    if (!isHidden && !box.width) measure();
    gallery.groups = groups;
    split(groups);
    arrange();
    redraw(keepPlace ? undefined : 0);
  };

  function measure() {
    const list = named("list");
    box.width = list.clientWidth;
    box.height = list.clientHeight;
  }

  function split(groups) {
    const width = box.width - 2 * GAP;
    columns = Math.max(2, Math.floor((width + GAP) / (TILE + GAP)));
    lines = [];
    const parts = groups.length ? groups : [[null, 0, order.length]];
    for (const [label, first, count] of parts) {
      if (label !== null) lines.push({ group: label, records: count });
      for (let place = first; place < first + count; place += columns) {
        lines.push({ first: place, count: Math.min(columns, first + count - place) });
      }
    }
  }

  function arrange() {
    const width = box.width - 2 * GAP;
    const side = Math.floor((width - (columns - 1) * GAP) / columns);
    const height = side + CAPTION + GAP;
    tops = new Float64Array(lines.length + 1);
    for (let line = 0; line < lines.length; line++) {
      tops[line + 1] = tops[line] + (lines[line].group === undefined ? height : HEADING);
    }
    const style = named("lines").style;
    style.height = `${tops[lines.length] + GAP}px`;
    style.setProperty("--columns", columns);
    style.setProperty("--side", `${side}px`);
    named("list").setAttribute("aria-rowcount", lines.length);
    named("list").setAttribute("aria-colcount", columns);
  }

  const lineAt = (top) => Math.min(lines.length - 1, Math.max(0, gallery.upper(tops, top) - 1));

  // Draw the lines in sight and near it, and remove the others. `top`: how far the list is scrolled, if that is known.
  function draw(over = OVER, top = named("list").scrollTop) {
    if (!lines.length) return clear();
    const first = lineAt(top - over);
    const last = lineAt(top + box.height + over);
    for (const [line, node] of drawn) {
      if (line < first || line > last) {
        node.remove();
        drawn.delete(line);
      }
    }
    for (let line = first; line <= last; line++) {
      if (drawn.has(line)) continue;
      const node = lines[line].group === undefined ? row(line) : heading(line);
      node.style.transform = `translateY(${tops[line]}px)`;
      node.setAttribute("aria-rowindex", line + 1);
      drawn.set(line, node);
      named("lines").append(node);
    }
  }

  function clear() {
    for (const node of drawn.values()) node.remove();
    drawn.clear();
  }

  // Draw other lines: what is in sight at once, and what is near it after that was shown.
  function redraw(top) {
    for (const node of named("lines").querySelectorAll(".tile")) spare.set(Number(node.dataset.number), node);
    clear();
    draw(0, top);
    spare.clear();
    mark();
    clearTimeout(ahead);
    ahead = setTimeout(() => requestAnimationFrame(() => draw()), AFTER);
  }
  gallery.redraw = redraw;

  function heading(line) {
    const node = element("div", "heading");
    node.setAttribute("role", "row");
    const cell = element("div", "", null);
    cell.setAttribute("role", "rowheader");
    cell.dir = "auto";
    cell.append(element("bdi", "", lines[line].group), ` (${lines[line].records.toLocaleString()})`);
    node.append(cell);
    return node;
  }

  function row(line) {
    const node = element("div", "line");
    node.setAttribute("role", "row");
    const { first, count } = lines[line];
    for (let place = first; place < first + count; place++) node.append(tile(place, place - first));
    return node;
  }

  function tile(place, column) {
    const record = gallery.recordAt(place);
    const node = spare.get(record.number) || made(record);
    node.id = `tile-${place}`;
    node.setAttribute("aria-colindex", column + 1);
    node.dataset.place = place;
    update(node, record);
    return node;
  }

  function made(record) {
    const node = element("div", "tile");
    node.setAttribute("role", "gridcell");
    node.dataset.number = record.number;
    const picture = element("div", "picture");
    const source = gallery.thumbnailOf(record);
    if (source) {
      const image = element("img");
      image.alt = "";
      image.decoding = "async";
      image.draggable = false;
      image.src = source;
      picture.append(image);
    } else {
      picture.append(element("p", "why", gallery.short(reason(record), 220)));
    }
    const caption = element("div", "caption");
    const name = element("div", "name");
    name.append(element("bdi", "id", gallery.short(record.row_id, 60)), element("span", "copy"));
    const prompt = element("div", "prompt", gallery.short(record.prompt, 200));
    prompt.dir = "auto";
    caption.append(name, prompt, element("div", "marks"));
    node.append(picture, caption);
    return node;
  }

  function copy(record) {
    const index = record.images_wanted > 1 && record.image_index !== null ? `${record.image_index + 1}/${record.images_wanted}` : "";
    return [index, gallery.takeOf(record)].filter(Boolean).join(", ");
  }

  function reason(record) {
    if (record.sha256) return "No preview: the file is gone, changed, or of a kind that is not decoded here.";
    return record.error || gallery.words(record.status);
  }
  gallery.reason = reason;

  function update(node, record) {
    const { verdict } = gallery.verdictOf(record);
    node.dataset.verdict = verdict || "";
    const text = copy(record); // other takes of the row may have been loaded since
    const about = node.querySelector(".copy");
    if (about.textContent !== text) about.textContent = text;
    const marks = node.querySelector(".marks");
    marks.replaceChildren();
    if (verdict) marks.append(element("span", `mark ${verdict}`, verdict));
    const state = gallery.about.served ? gallery.stateOf(record) : "";
    if (state) marks.append(element("span", "mark trouble", state));
    if (record.is_other) marks.append(element("span", "mark other", "not current"));
    if (record.status !== "stored") marks.append(element("span", "mark trouble", gallery.words(record.status)));
    for (const flag of record.flags) marks.append(element("span", "mark odd", flag));
  }

  // Draw a record's verdict anew, if it is in sight.
  gallery.refresh = function (place) {
    const node = named(`tile-${place}`);
    if (node) update(node, gallery.recordAt(place));
  };

  function mark() {
    for (const node of named("lines").querySelectorAll("[aria-selected]")) node.removeAttribute("aria-selected");
    const node = named(`tile-${active}`);
    if (node) {
      node.setAttribute("aria-selected", "true");
      named("list").setAttribute("aria-activedescendant", node.id);
    } else {
      named("list").removeAttribute("aria-activedescendant");
    }
  }

  // Make another tile the one that keys act on, and bring it into sight.
  gallery.activate = function (place) {
    if (!order.length) return;
    active = Math.min(order.length - 1, Math.max(0, place));
    const line = lineOf(active);
    const list = named("list");
    if (tops[line] < list.scrollTop) list.scrollTop = tops[line] - (line && lines[line - 1].group !== undefined ? HEADING : 0);
    else if (tops[line + 1] > list.scrollTop + list.clientHeight) list.scrollTop = tops[line + 1] - list.clientHeight + GAP;
    draw();
    mark();
  };

  function lineOf(place) {
    let low = 0;
    let high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      let line = middle;
      while (lines[line].group !== undefined) line++; // a heading is always followed by tiles
      if (lines[line].first <= place) low = middle;
      else high = middle - 1;
    }
    return lines[low].group === undefined ? low : low + 1;
  }

  // The place above or below, over headings and lines that are not full.
  function vertical(step) {
    const line = lineOf(active);
    const column = active - lines[line].first;
    for (let other = line + step; other >= 0 && other < lines.length; other += step) {
      if (lines[other].group === undefined) return lines[other].first + Math.min(column, lines[other].count - 1);
    }
    return active;
  }

  const page = () => Math.max(1, Math.floor(named("list").clientHeight / (tops[lines.length] / lines.length || 1)));
  gallery.moves = {
    ArrowLeft: () => active - 1,
    ArrowRight: () => active + 1,
    ArrowUp: () => vertical(-1),
    ArrowDown: () => vertical(1),
    PageUp: () => active - page() * columns,
    PageDown: () => active + page() * columns,
    Home: () => 0,
    End: () => order.length - 1,
  };

  gallery.watchList = function () {
    const list = named("list");
    let waiting = false;
    list.addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
        mark();
      });
    }, { passive: true });
    new ResizeObserver(() => {
      const { width } = box;
      if (list.clientWidth) measure();
      if (list.clientWidth && list.clientWidth !== width) {
        split(gallery.groups || []);
        arrange();
        redraw();
        gallery.activate(active);
      } else draw();
    }).observe(list);
  };
})((window.gallery = window.gallery || {}));
