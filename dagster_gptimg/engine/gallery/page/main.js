// What the controls and keys do.
"use strict";
(function (gallery) {
  const { element, named } = gallery;
  const VERDICTS = { a: "approved", r: "rejected", u: null };
  const EVERY = 400; // milliseconds between two draws while entries arrive

  gallery.start = async function () {
    const { about } = gallery;
    const title = about.partition === null ? about.dataset : `${about.dataset}, ${about.partition}`;
    document.title = `${title} · gallery`;
    named("title").textContent = title;
    gallery.loadVerdicts();
    if (about.served) gallery.prepareServer();
    if (about.others) gallery.state.chosen.set("take", "current"); // until the filter is changed
    options(named("sort"), Object.entries(gallery.SORTS).map(([id, [name]]) => [id, name]), "table");
    watch();
    let drawnAt = -Infinity;
    try {
      await gallery.loadEntries(() => {
        const isLast = gallery.records.length === about.records;
        if (isLast || performance.now() - drawnAt > EVERY) {
          choose(drawnAt !== -Infinity);
          drawnAt = performance.now();
        }
      });
    } catch (error) {
      named("counts").textContent = error.message;
      return;
    }
    gallery.settleVerdicts();
    countFlags();
    drawFacets();
    choose(true);
    if (about.served) gallery.connect();
    gallery.isLoaded = true;
    drawTally();
    if (document.activeElement === document.body) named("list").focus({ preventScroll: true }); // for the keys; a field keeps it
  };

  function countFlags() {
    const found = new Map();
    for (const one of gallery.records) for (const flag of one.flags) found.set(flag, (found.get(flag) || 0) + 1);
    gallery.flagsFound = [...found].sort();
  }

  function options(select, pairs, chosen) {
    select.replaceChildren(...pairs.map(([value, text]) => {
      const option = element("option", "", gallery.short(text, 80));
      option.value = value;
      option.selected = value === chosen;
      return option;
    }));
  }

  function drawFacets() {
    const facets = gallery.facets().filter((facet) => facet.values.length);
    named("facets").replaceChildren(...facets.map((facet) => {
      const label = element("label");
      label.append(element("bdi", "", facet.name));
      const select = element("select");
      select.dataset.facet = facet.id;
      const values = facet.values.map(([value, count]) => [value, count === null ? gallery.label(value) : `${gallery.label(value)} (${count.toLocaleString()})`]);
      if (!facet.isWhole) values.push([gallery.NONE, "(none)"]);
      options(select, [["", "all"], ...values], gallery.state.chosen.get(facet.id) || "");
      select.addEventListener("change", () => {
        if (select.value) gallery.state.chosen.set(facet.id, select.value);
        else gallery.state.chosen.delete(facet.id);
        choose();
      });
      label.append(select);
      return label;
    }));
    const groups = facets.map((facet) => [facet.id, facet.name]);
    options(named("group"), [["", "No groups"], ["row", "Row (copies, takes)"], ...groups], gallery.state.group);
  }

  // Show what search, filters, order and groups leave.
  function choose(keepPlace) {
    const selected = gallery.select();
    gallery.show(selected, keepPlace);
    const count = selected.order.length;
    const all = gallery.about.records;
    const loaded = gallery.records.length < all ? `, ${gallery.records.length.toLocaleString()} loaded` : "";
    let images = 0;
    let cost = 0;
    for (const number of selected.order) {
      const { sha256, cost_usd } = gallery.records[number];
      if (sha256) images++;
      cost += cost_usd || 0;
    }
    const shown = count === all ? all.toLocaleString() : `${count.toLocaleString()} of ${all.toLocaleString()}`;
    named("counts").textContent = `${shown} records${loaded}, ${images.toLocaleString()} images, ${gallery.dollars(Number(cost.toFixed(6)))}`;
    const filters = gallery.state.chosen.size;
    named("filtered").textContent = filters ? `(${filters} set)` : "";
    gallery.onVerdict();
  }
  gallery.choose = choose;

  function reset() {
    gallery.state.chosen.clear();
    gallery.state.text = named("search").value = "";
    drawFacets();
    choose();
  }

  gallery.placeOf = function (number) {
    for (let place = 0; place < gallery.places(); place++) if (gallery.recordAt(place).number === number) return place;
    return -1;
  };

  gallery.onVerdict = function () {
    const count = gallery.judged();
    named("download").disabled = count === 0;
    named("download").textContent = count ? `Download verdicts.csv (${count.toLocaleString()})` : "Download verdicts.csv";
    if (gallery.places()) gallery.refresh(gallery.active());
    gallery.refreshViewer();
    drawTally();
  };

  function drawTally() {
    const { approved, rejected, undecided, rest } = gallery.tally();
    const [yes, no, open] = [approved, rejected, undecided].map((count) => count.toLocaleString());
    named("tally").textContent = `${yes} approved, ${no} rejected, ${open} undecided`;
    named("rest-ask").disabled = !rest || !gallery.isLoaded;
  }

  function judge(verdict) {
    if (!gallery.places()) return;
    const record = gallery.isOpen() ? gallery.viewed() : gallery.recordAt(gallery.active());
    const done = gallery.judge(record, verdict);
    named("said").textContent = done ? `${verdict || "cleared"}: ${record.row_id}` : `${record.row_id} has no image to judge`;
  }

  function watch() {
    gallery.watchList();
    gallery.watchViewer();
    gallery.watchRest();
    const list = named("list");
    list.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) gallery.open(Number(tile.dataset.place));
    });
    document.addEventListener("keydown", onKey);
    named("viewer").addEventListener("keydown", onViewerKey);
    named("v-approve").addEventListener("click", () => judge("approved"));
    named("v-reject").addEventListener("click", () => judge("rejected"));
    named("v-clear").addEventListener("click", () => judge(null));
    let isTyped = false;
    named("search").addEventListener("input", () => {
      if (isTyped) return;
      isTyped = true; // letters that come before the next frame are one search
      requestAnimationFrame(() => {
        isTyped = false;
        search();
      });
    });
    named("search").addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "ArrowDown", "Escape"].includes(event.key)) return;
      search(); // what was typed last may not have been looked for yet
      named("list").focus();
      event.preventDefault();
    });
    named("sort").addEventListener("change", () => {
      gallery.state.sort = named("sort").value;
      choose();
    });
    named("group").addEventListener("change", () => {
      gallery.state.group = named("group").value;
      choose(true);
    });
    named("download").addEventListener("click", gallery.download);
    for (const name of ["reset", "reset-too"]) named(name).addEventListener("click", reset);
  }

  function search() {
    if (gallery.state.text === named("search").value) return;
    gallery.state.text = named("search").value;
    choose();
  }

  // Whether keys are the list's. Fields and dialogs keep all of theirs, buttons those that press them, and what can be
  // scrolled with keys is scrolled.
  function isForList({ target, key }) {
    if (target === document.body || target === named("list")) return true;
    return target.matches("header button, header summary, main button") && key !== "Enter" && key !== " ";
  }

  function onKey(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key === "/" && !event.target.matches("input, select")) {
      named("search").focus();
      return event.preventDefault();
    }
    if (!isForList(event) || !gallery.places()) return;
    if (gallery.moves[event.key]) gallery.activate(gallery.moves[event.key]());
    else if (event.key === "Enter" || event.key === " ") event.repeat || gallery.open(gallery.active()); // still held in the search
    else if (event.shiftKey && key === "a") gallery.askRest();
    else if (key in VERDICTS) judge(VERDICTS[key]);
    else return;
    if (!document.querySelector("dialog[open]")) named("list").focus({ preventScroll: true });
    event.preventDefault();
  }

  function onViewerKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
    const key = event.key.toLowerCase();
    if (event.key === "ArrowRight") gallery.step(1);
    else if (event.key === "ArrowLeft") gallery.step(-1);
    else if (event.key === "Home") gallery.step(-Infinity);
    else if (event.key === "End") gallery.step(Infinity);
    else if (key === "c") gallery.compare();
    else if (key === "t") gallery.nextTake();
    else if (key in VERDICTS && !event.shiftKey) judge(VERDICTS[key]); // Shift+A has another meaning in the list
    else return;
    event.preventDefault();
  }
})((window.gallery = window.gallery || {}));
