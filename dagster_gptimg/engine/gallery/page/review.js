// Verdicts on images: kept in the page (and in the browser's storage where there is one), downloaded as verdicts.csv.
// In a page that a server shows, server.js sends them, and what is on record is no longer kept here.
"use strict";
(function (gallery) {
  const HEADER = ["row_id", "image_index", "sha256", "verdict", "note", "seen"];
  const SAVE_AFTER = 300; // milliseconds
  let given = new Map();
  const hashes = new Set(); // SHA-256 of all images that have or had a verdict here: the others need no look-up by key
  const mine = new Set(); // keys of all verdicts that were ever only in this page
  let saving = 0;
  let isDownloaded = true;

  const keyOf = (gallery.keyOf = (record) => JSON.stringify([record.partition, record.row_id, record.image_index, record.sha256]));
  const canBeJudged = (record) => Boolean(record.sha256 && (!gallery.about.served || record.image));
  const place = () => `dagster-gptimg:${gallery.about.id}`;

  // What holds for a record: {verdict, note, isNew}; a verdict is "approved", "rejected", "cleared" or null.
  gallery.verdictOf = function (record) {
    const own = hashes.has(record.sha256) ? given.get(keyOf(record)) : undefined;
    if (own && own.verdict) return { verdict: own.verdict === "cleared" ? null : own.verdict, note: own.note, isNew: true };
    return { verdict: record.verdict, note: own ? own.note : record.verdict_note || "", isNew: false };
  };

  // Give a verdict ("approved", "rejected"), or take it back (null). Return whether the record has an image to judge.
  gallery.judge = function (record, verdict) {
    if (!canBeJudged(record)) return false;
    give(record, verdict);
    changed([record]);
    return true;
  };

  // Approve all of several records that still have no verdict. Return how many these were.
  gallery.approveAll = function (records) {
    const left = records.filter(gallery.isUndecided);
    for (const record of left) give(record, "approved");
    if (left.length) changed(left);
    return left.length;
  };

  gallery.isUndecided = (record) => canBeJudged(record) && !gallery.verdictOf(record).verdict;

  // Whether an image is one of those that "Approve the rest" approves. Another take than the current one of a row is
  // approved by itself only: it would become the current one.
  gallery.isRest = (record) => !record.is_other && gallery.isUndecided(record);

  // How many of the images that are shown are {approved, rejected, undecided}, and how many are the `rest` to approve.
  gallery.tally = function () {
    const counts = { approved: 0, rejected: 0, undecided: 0, rest: 0 };
    for (let place = 0; place < gallery.places(); place++) {
      const record = gallery.recordAt(place);
      if (canBeJudged(record)) counts[gallery.verdictOf(record).verdict || "undecided"]++;
      if (gallery.isRest(record)) counts.rest++;
    }
    return counts;
  };

  function give(record, verdict) {
    const before = given.get(keyOf(record));
    const note = before ? before.note : record.verdict_note || "";
    // A server may have an earlier one that the page does not know of yet: it is told each.
    if (gallery.about.served) given.set(keyOf(record), { verdict: verdict || "cleared", note, seen: record.verdict_number });
    else if (verdict === (record.verdict || null) && note === (record.verdict_note || "")) given.delete(keyOf(record));
    else if (verdict === null && !record.verdict) given.delete(keyOf(record));
    else given.set(keyOf(record), { verdict: verdict || "cleared", note, seen: record.verdict_number });
    hashes.add(record.sha256);
  }

  gallery.note = function (record, note) {
    if (!canBeJudged(record)) return;
    const { verdict } = gallery.verdictOf(record);
    given.set(keyOf(record), { verdict: verdict || (record.verdict ? "cleared" : null), note, seen: record.verdict_number });
    hashes.add(record.sha256);
    changed([record], true);
  };

  // The number of images that were judged in this page.
  gallery.judged = () => [...given.values()].filter((own) => own.verdict).length;

  // The verdicts that are only in this page: [key, {verdict, note, seen}].
  gallery.given = () => given;

  // Keep something else for a record, or nothing.
  gallery.keep = function (key, own) {
    own ? given.set(key, own) : given.delete(key);
    saveLater();
  };

  function changed(records, isNote) {
    isDownloaded = false;
    saveLater();
    gallery.onVerdict();
    if (gallery.about.served) gallery.sendSoon(records, isNote);
  }

  function saveLater() {
    clearTimeout(saving);
    saving = setTimeout(save, SAVE_AFTER);
  }

  const stored = () => JSON.parse(localStorage.getItem(place()) || "[]");

  function save() {
    for (const key of given.keys()) mine.add(key);
    try {
      // Pages of one server share the storage: what another one has not sent yet stays.
      const others = gallery.about.served ? stored().filter(([key]) => !mine.has(key)) : [];
      localStorage.setItem(place(), JSON.stringify([...others, ...given]));
    } catch {
      // A page from disk may have no storage, or it is full: the verdicts are in memory until they are downloaded.
    }
  }

  gallery.loadVerdicts = function () {
    try {
      given = new Map(stored());
      for (const key of given.keys()) hashes.add(JSON.parse(key)[3]);
    } catch {
      given = new Map();
    }
    for (const key of given.keys()) mine.add(key);
  };

  // Forget stored verdicts that are on record by now, and those on images that this gallery does not have: they were
  // replaced, or erased.
  gallery.settleVerdicts = function () {
    const before = given.size;
    if (!before) return;
    const there = new Map(gallery.records.map((record) => [keyOf(record), record]));
    for (const [key, own] of given) {
      const record = there.get(key);
      const onRecord = record && (record.verdict || (record.verdict_number ? "cleared" : null));
      const isSameNote = record && own.note === (record.verdict_note || "");
      if (!record || (own.verdict === onRecord && (isSameNote || onRecord === "cleared"))) given.delete(key);
    }
    if (given.size < before) save();
  };

  const cell = (value) => `"${String(value === null || value === undefined ? "" : value).replaceAll('"', '""')}"`;

  // The verdicts as CSV: one line for each image that was judged in this page. `seen` is the number of the verdict
  // that the page had when this one was given: an import finds out that somebody else has judged since.
  gallery.verdictsCsv = function () {
    const lines = [HEADER.join(",")];
    for (const record of gallery.records) {
      const { verdict, note, seen } = given.get(keyOf(record)) || {};
      if (verdict) lines.push([record.row_id, record.image_index, record.sha256, verdict, note, seen].map(cell).join(","));
    }
    return `${lines.join("\r\n")}\r\n`;
  };

  gallery.download = function () {
    const link = gallery.element("a");
    link.href = URL.createObjectURL(new Blob([gallery.verdictsCsv()], { type: "text/csv;charset=utf-8" }));
    link.download = "verdicts.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    isDownloaded = true;
  };

  addEventListener("pagehide", () => given.size && save());
  addEventListener("beforeunload", (event) => {
    if (!isDownloaded && (gallery.about.served ? gallery.judged() : given.size)) event.preventDefault();
  });
})((window.gallery = window.gallery || {}));
