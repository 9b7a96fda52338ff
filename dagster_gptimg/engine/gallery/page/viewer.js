// One image in full size, with everything that is known of it; or all copies and takes of its row side by side.
"use strict";
(function (gallery) {
  const MOST_COPIES = 16; // shown side by side
  const { element, named } = gallery;
  let place = -1;
  let beside = null; // another take of the record at this place, which the list may not show
  let isComparing = false;
  let turn = 0; // tells a late answer from one that is still wanted

  gallery.isOpen = () => named("viewer").open;

  gallery.open = function (at) {
    if (at < 0 || at >= gallery.places()) return;
    place = at;
    beside = null;
    gallery.activate(at);
    if (!gallery.isOpen()) {
      named("viewer").showModal();
      named("v-stage").focus();
    }
    draw();
  };

  gallery.viewed = () => beside || gallery.recordAt(place);

  // Show a record of the same row, wherever it stands in the list.
  function openBeside(record) {
    const at = gallery.placeOf(record.number);
    if (at >= 0) return gallery.open(at);
    beside = record;
    draw();
  }

  const takesOf = (record) => gallery.copiesOf(record).filter((one) => one.image_index === record.image_index || one.image_index === null);

  gallery.nextTake = function () {
    const takes = takesOf(gallery.viewed());
    if (takes.length > 1) openBeside(takes[(takes.indexOf(gallery.viewed()) + 1) % takes.length]);
  };

  function draw() {
    const record = gallery.viewed();
    named("v-title").textContent = gallery.short(record.row_id, 200);
    named("v-place").textContent = `${(place + 1).toLocaleString()} of ${gallery.places().toLocaleString()}`;
    named("v-prompt").textContent = record.prompt;
    named("v-status").textContent = statusOf(record);
    named("v-previous").disabled = place === 0;
    named("v-next").disabled = place === gallery.places() - 1;
    const copies = gallery.copiesOf(record);
    named("v-compare").disabled = copies.length < 2;
    named("v-compare").setAttribute("aria-pressed", String(isComparing && copies.length > 1));
    named("v-take").hidden = takesOf(record).length < 2;
    named("v-note").value = gallery.verdictOf(record).note;
    for (const name of ["v-approve", "v-reject", "v-clear", "v-note"]) named(name).disabled = !record.sha256;
    named("v-original").hidden = true;
    named("v-details").replaceChildren();
    drawVerdict();
    drawStage(record, copies, ++turn);
    drawDetails(record, turn);
  }

  function statusOf(record) {
    const parts = [gallery.words(record.status)];
    if (record.partition !== null) parts.push(`partition ${record.partition}`);
    if (record.image_index !== null && record.images_wanted > 1) parts.push(`image ${record.image_index + 1} of ${record.images_wanted}`);
    if (gallery.takeOf(record)) parts.push(gallery.wholeTakeOf(record));
    if (record.sha256 || record.cost_usd !== null) parts.push(gallery.dollars(record.cost_usd));
    return [...parts, ...record.flags].join(" · ");
  }

  function drawVerdict() {
    const { verdict } = gallery.verdictOf(gallery.viewed());
    named("v-approve").setAttribute("aria-pressed", String(verdict === "approved"));
    named("v-reject").setAttribute("aria-pressed", String(verdict === "rejected"));
    named("viewer").dataset.verdict = verdict || "";
    if (gallery.about.served) gallery.tellState(gallery.recordAt(place));
    for (const figure of named("v-stage").querySelectorAll("figure")) {
      const own = gallery.verdictOf(gallery.records[figure.dataset.number]).verdict;
      figure.dataset.verdict = own || "";
      figure.querySelector(".own").textContent = own ? ` ${own}` : "";
    }
  }

  async function drawStage(record, copies, wanted) {
    const stage = named("v-stage");
    const shown = isComparing && copies.length > 1 ? copies.slice(0, MOST_COPIES) : [record];
    stage.classList.toggle("many", shown.length > 1);
    stage.replaceChildren(...shown.map((one) => figure(one, one === record && shown.length > 1)));
    drawVerdict();
    stage.setAttribute("aria-label", shown.length > 1 ? `${shown.length} images of a row` : `Image of row ${gallery.short(record.row_id, 80)}`);
    for (const one of shown) {
      if (!one.sha256) continue;
      try {
        const { path } = await gallery.detailsOf(one);
        if (wanted !== turn) return;
        const image = stage.querySelector(`figure[data-number="${one.number}"] img`);
        if (image && path) image.src = gallery.about.images + path;
        else say(one, "This kind of file is not shown here, since it could run scripts.");
      } catch (error) {
        if (wanted === turn) say(one, error.message);
      }
    }
    for (const next of [place + 1, place - 1]) ahead(next, wanted);
  }

  function figure(record, isCurrent) {
    const node = element("figure");
    node.dataset.number = record.number;
    if (isCurrent) node.setAttribute("aria-current", "true");
    if (record.sha256) {
      const image = element("img");
      image.alt = gallery.short(record.prompt, 200) || "image";
      image.onerror = () => say(record, image.src.includes("/thumbnails/") ? "" : "The file cannot be shown: it is gone, or of a kind that browsers do not show.");
      const small = gallery.thumbnailOf(record);
      if (small) image.src = small;
      node.append(image);
    } else {
      node.append(element("p", "why", gallery.reason(record)));
    }
    const caption = element("figcaption");
    const which = record.image_index === null || record.images_wanted === 1 ? "" : `${record.image_index + 1}`;
    caption.append([which, gallery.wholeTakeOf(record)].filter(Boolean).join(", "), element("span", "own"), element("span", "said"));
    node.append(caption);
    return node;
  }

  function say(record, words) {
    const node = named("v-stage").querySelector(`figure[data-number="${record.number}"] .said`);
    if (node && words) node.textContent = ` ${words}`;
  }

  // Load the neighbour's file ahead, so that arrows show it at once.
  async function ahead(at, wanted) {
    if (at < 0 || at >= gallery.places() || isComparing) return;
    const record = gallery.recordAt(at);
    if (!record.sha256) return;
    try {
      const { path } = await gallery.detailsOf(record);
      if (wanted === turn && path) new Image().src = gallery.about.images + path;
    } catch {
      // It says so when it is opened.
    }
  }

  async function drawDetails(record, wanted) {
    let found;
    try {
      found = await gallery.detailsOf(record);
    } catch (error) {
      if (wanted === turn) named("v-details").append(element("dt", "", "details"), element("dd", "", error.message));
      return;
    }
    if (wanted !== turn) return;
    if (found.path) {
      named("v-original").href = gallery.about.images + found.path;
      named("v-original").hidden = false;
    }
    const list = named("v-details");
    if (record.error) pair(list, "reason", record.error);
    for (const [name, value] of found.columns) pair(list, name, value);
    for (const [name, value] of found.inputs) pair(list, name, value);
    for (const [name, value] of found.values) pair(list, gallery.words(name), value);
    pair(list, "endpoint", record.endpoint);
  }

  function pair(list, name, value) {
    const about = element("dd");
    about.dir = "auto";
    const link = gallery.link(value);
    if (link) {
      const anchor = element("a", "", value);
      anchor.href = link;
      anchor.target = "_blank";
      anchor.rel = "noopener noreferrer";
      about.append(anchor);
    } else about.textContent = value;
    const title = element("dt", "", name);
    title.dir = "auto";
    list.append(title, about);
  }

  gallery.compare = function () {
    isComparing = !isComparing;
    draw();
  };

  gallery.step = (by) => gallery.open(Math.min(gallery.places() - 1, Math.max(0, place + by)));
  gallery.refreshViewer = () => gallery.isOpen() && drawVerdict();

  gallery.watchViewer = function () {
    const viewer = named("viewer");
    named("v-close").addEventListener("click", () => viewer.close());
    named("v-previous").addEventListener("click", () => gallery.step(-1));
    named("v-next").addEventListener("click", () => gallery.step(1));
    named("v-compare").addEventListener("click", gallery.compare);
    named("v-take").addEventListener("click", gallery.nextTake);
    named("v-note").addEventListener("input", () => gallery.note(gallery.viewed(), named("v-note").value));
    named("v-stage").addEventListener("click", (event) => {
      const node = event.target.closest("figure");
      if (!node || !event.target.matches("img")) return;
      if (named("v-stage").classList.contains("many")) {
        openBeside(gallery.records[Number(node.dataset.number)]);
      } else node.classList.toggle("whole");
    });
    viewer.addEventListener("close", () => {
      turn++;
      named("v-stage").replaceChildren();
      named("list").focus(); // its tile is the one that was shown; keys may have moved on by now
    });
  };
})((window.gallery = window.gallery || {}));
