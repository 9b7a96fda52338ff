// Which records are shown, in which order and groups.
"use strict";
(function (gallery) {
  const NONE = "\u0000none"; // stands for records without a value; no text of a table can hold it as a whole value
  const collator = new Intl.Collator(undefined, { numeric: true });
  const ranks = new Map();

  gallery.NONE = NONE;
  gallery.state = { text: "", chosen: new Map(), sort: "table", group: "" };

  const SORTS = {
    table: ["Table order", null],
    row: ["Row id", (one) => one.row_id],
    prompt: ["Prompt", (one) => one.prompt],
    dear: ["Dearest first", (one) => (one.cost_usd === null ? Infinity : -one.cost_usd)],
    newest: ["Newest first", (one) => (one.stored_at === null ? Infinity : -one.stored_at)],
    oldest: ["Oldest first", (one) => (one.stored_at === null ? Infinity : one.stored_at)],
  };
  gallery.SORTS = SORTS;

  // All facets: those of the data, and those that the page knows by itself.
  gallery.facets = function () {
    const found = gallery.about.facets.map(([kind, name, values]) => ({
      id: `${kind}:${name}`,
      name: kind === "field" ? gallery.words(name) : name,
      values,
      value: reader(kind, name),
    }));
    found.splice(1, 0,
      { id: "verdict", name: "verdict", value: (one) => gallery.verdictOf(one).verdict || NONE,
        values: [["approved", null], ["rejected", null]] },
      { id: "take", name: "takes", value: (one) => (one.is_other ? "not current" : "current"), isWhole: true,
        values: gallery.about.others ? [["current", null], ["not current", null]] : [] },
      { id: "flag", name: "oddities", value: (one) => one.flags, values: gallery.flagsFound || [] });
    return found;
  };

  function reader(kind, name) {
    if (kind === "field") return (one) => (one[name] === null ? NONE : one[name]);
    const from = kind === "column" ? "columns" : "inputs";
    return (one) => (one[from].has(name) ? one[from].get(name) : NONE);
  }

  function fits(value, wanted) {
    return Array.isArray(value) ? (wanted === NONE ? !value.length : value.includes(wanted)) : value === wanted;
  }

  // Return the numbers of the records to show, as a typed array, and the groups: [label, first place, number of records].
  gallery.select = function () {
    const { text, chosen, sort, group } = gallery.state;
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const facets = gallery.facets();
    const wanted = [...chosen].map(([id, value]) => [facets.find((facet) => facet.id === id), value]).filter(([f]) => f);
    const every = sorted(sort);
    if (!words.length && !wanted.length) return grouped(every, group, facets);
    const marks = words.map(gallery.having);
    const order = new Uint32Array(every.length);
    let count = 0;
    next: for (const number of every) {
      for (const marked of marks) if (!marked[number]) continue next;
      if (wanted.length) {
        const one = gallery.records[number];
        for (const [facet, value] of wanted) if (!fits(facet.value(one), value)) continue next;
      }
      order[count++] = number;
    }
    return grouped(order.subarray(0, count), group, facets);
  };

  function sorted(sort) {
    const count = gallery.records.length;
    const known = ranks.get(sort);
    if (known && known.length === count) return known;
    const numbers = Uint32Array.from({ length: count }, (_, number) => number);
    const key = SORTS[sort][1];
    if (key) {
      const keys = gallery.records.map(key);
      const compare = typeof keys[0] === "string" ? collator.compare : (a, b) => (a === b ? 0 : a < b ? -1 : 1);
      numbers.sort((a, b) => compare(keys[a], keys[b]) || a - b);
    }
    ranks.set(sort, numbers);
    return numbers;
  }

  function grouped(order, group, facets) {
    const facet = facets.find((one) => one.id === group);
    if (group !== "row" && !facet) return { order, groups: [] };
    const found = new Map();
    for (const number of order) {
      const one = gallery.records[number];
      const value = group === "row" ? gallery.rowKey(one) : facet.value(one);
      for (const key of Array.isArray(value) ? (value.length ? value.slice(0, 1) : [NONE]) : [value]) {
        found.has(key) ? found.get(key).push(number) : found.set(key, [number]);
      }
    }
    const groups = [];
    const flat = new Uint32Array(order.length);
    let count = 0;
    for (const [key, numbers] of found) {
      groups.push([group === "row" ? rowLabel(numbers[0]) : gallery.label(key), count, numbers.length]);
      for (const number of numbers) flat[count++] = number;
    }
    return { order: flat, groups };
  }

  function rowLabel(number) {
    const one = gallery.records[number];
    return `${one.row_id}: ${gallery.short(one.prompt, 160)}`;
  }

  gallery.label = (value) => (value === NONE ? "(none)" : gallery.words(value));
})((window.gallery = window.gallery || {}));
