// The records of the gallery. They arrive in chunks: scripts that call `gallery.receive`, since a page that is opened
// from disk can load scripts and nothing else. Entries are loaded for all records, details when an image is opened.
"use strict";
(function (gallery) {
  const AHEAD = 4; // files of entries that are loaded at once
  const KEPT = 40; // files of details that stay in memory
  const arrived = { entries: new Map(), details: new Map() };
  const details = new Map();

  const lastTakes = new Map(); // the number of the last take of each row that has several, from 0

  gallery.records = [];

  // Called by about.js, with [name, value] pairs.
  gallery.describe = function (pairs) {
    gallery.about = Object.fromEntries(pairs);
    let first = 0;
    gallery.detailStarts = gallery.about.details.map(([, count]) => (first += count) - count);
    gallery.start();
  };

  // Called by each file of data: kind, number of the file, its lines.
  gallery.receive = function (kind, number, lines) {
    arrived[kind].set(number, lines);
  };

  function load(kind, number) {
    const [name] = gallery.about[kind][number];
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = name;
      script.onload = () => {
        const lines = arrived[kind].get(number);
        arrived[kind].delete(number);
        script.remove();
        lines ? resolve(lines) : reject(new Error(`${name} has no data`));
      };
      script.onerror = () => {
        script.remove();
        reject(new Error(`${name} cannot be loaded. Was this gallery built anew? Load the page again`));
      };
      document.head.append(script);
    });
  }

  // Load all entries in order; `onMore` is called after each file.
  gallery.loadEntries = async function (onMore) {
    const count = gallery.about.entries.length;
    const pending = [];
    for (let number = 0; number < Math.min(AHEAD, count); number++) pending.push(load("entries", number));
    for (let number = 0; number < count; number++) {
      const lines = await pending.shift();
      if (number + AHEAD < count) pending.push(load("entries", number + AHEAD));
      const first = gallery.records.length;
      for (const line of lines) gallery.records.push(made(line, gallery.records.length));
      gallery.addTexts(gallery.records.slice(first).map(searched));
      onMore();
    }
  };

  function made(line, number) {
    const record = { number };
    gallery.about.fields.forEach((name, place) => (record[name] = line[place]));
    record.columns = new Map(record.columns);
    record.inputs = new Map(record.inputs);
    if (record.take) lastTakes.set(gallery.rowKey(record), Math.max(record.take, lastTakes.get(gallery.rowKey(record)) || 0));
    return record;
  }

  // What a search looks at.
  function searched(record) {
    const texts = [record.row_id, record.prompt, record.status, record.error, ...record.flags, ...record.columns.values()];
    return texts.filter(Boolean).join("\n").toLowerCase();
  }

  // The rest of a record: {path, values, inputs, columns}.
  gallery.detailsOf = async function (record) {
    const starts = gallery.detailStarts;
    let file = upper(starts, record.number) - 1;
    if (!details.has(file)) {
      details.set(file, load("details", file).catch((error) => (details.delete(file), Promise.reject(error))));
      if (details.size > KEPT) details.delete(details.keys().next().value);
    }
    const [path, values, inputs, columns] = (await details.get(file))[record.number - starts[file]];
    return { path, values, inputs, columns };
  };

  // The number of values that are not above a number, in a sorted array.
  function upper(sorted, value) {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  gallery.upper = upper;

  gallery.thumbnailOf = function (record) {
    return record.has_thumbnail ? `${gallery.about.thumbnails}${record.sha256.slice(0, 2)}/${record.sha256}.webp` : null;
  };

  // The records of the same row and partition, by take: the copies of one prompt, and its other takes.
  let rows = null;
  gallery.copiesOf = function (record) {
    if (rows === null || rows.count !== gallery.records.length) {
      rows = { count: gallery.records.length, found: new Map() };
      for (const other of gallery.records) {
        const key = gallery.rowKey(other);
        rows.found.has(key) ? rows.found.get(key).push(other) : rows.found.set(key, [other]);
      }
    }
    return rows.found.get(gallery.rowKey(record)).sort((a, b) => a.take - b.take || a.number - b.number);
  };
  // Which take of its row a record is, counted from 1; empty for rows that have one.
  gallery.takeOf = function (record) {
    const last = lastTakes.size ? lastTakes.get(gallery.rowKey(record)) : undefined;
    return last === undefined ? "" : `take ${record.take + 1} of ${last + 1}`;
  };
  // The same, and whether it is the current one.
  gallery.wholeTakeOf = function (record) {
    const take = gallery.takeOf(record);
    return take && `${take}, ${record.is_other ? "not current" : "current"}`;
  };
  gallery.rowKey = (record) => JSON.stringify([record.partition, record.row_id]);

  // A link that may be followed: http(s), or the text is none.
  gallery.link = function (text) {
    if (!/^https?:\/\/[^\s]{1,2000}$/i.test(text)) return null;
    try {
      const url = new URL(text);
      return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
    } catch {
      return null;
    }
  };

  // A new element with a class and a text; texts are never markup.
  gallery.element = function (name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  };
  gallery.named = (id) => document.getElementById(id);
  gallery.words = (text) => text.replaceAll("_", " ");
  gallery.short = (text, letters) => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);
  gallery.dollars = function (amount) {
    if (amount === null) return "cost unknown";
    const cents = amount.toFixed(2);
    return Math.abs(amount) >= 0.1 || Number(cents) === amount ? `$${cents}` : `$${amount.toFixed(4)}`;
  };
})((window.gallery = window.gallery || {}));
