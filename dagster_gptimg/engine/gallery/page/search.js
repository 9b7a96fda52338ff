// Which records have a word in their texts. The texts of a file of entries are one string, in lower case: to look through
// it is a few calls of the browser's own search, where one for each record takes most of the time.
"use strict";
(function (gallery) {
  const KEPT = 12; // words whose records are remembered
  const FEW = 0.1; // share of a part's records, below which they are looked at one by one
  const parts = []; // {text, ends: where each record's text ends, first: the number of the first record}
  const known = new Map(); // by word: {marks: 1 for each record that has it, counts: their number in each part}
  let count = 0;

  // Take the texts of the next records. No word has a space in it, so none is found across two texts.
  gallery.addTexts = function (texts) {
    const ends = new Uint32Array(texts.length);
    let end = 0;
    texts.forEach((text, place) => (ends[place] = end += text.length + 1));
    parts.push({ text: texts.join("\n"), ends, first: count });
    count += texts.length;
    known.clear();
  };

  // The records that have a word, as an array with 1 at the number of each. The word is in lower case.
  gallery.having = function (word) {
    let found = known.get(word);
    known.delete(word); // and set again: the last ones stay
    if (!found) {
      const wider = within(word);
      found = { marks: new Uint8Array(count), counts: new Uint32Array(parts.length) };
      parts.forEach((part, number) => {
        const most = wider ? wider.counts[number] : part.ends.length;
        if (most) found.counts[number] = (most < FEW * part.ends.length ? narrow : look)(part, word, found.marks, wider && wider.marks);
      });
    }
    known.set(word, found);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    return found.marks;
  };

  // The records of the longest part of a word that is known: whoever types it, is told from letter to letter.
  function within(word) {
    let best = null;
    for (const other of known.keys()) if (word.includes(other) && (best === null || other.length > best.length)) best = other;
    return best === null ? null : known.get(best);
  }

  // Look through the whole text of a part; return the number of records that have the word.
  function look({ text, ends, first }, word, marks) {
    let hits = 0;
    let place = 0;
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, ends[place])) {
      while (ends[place] <= at) place++;
      marks[first + place] = 1;
      hits++;
    }
    return hits;
  }

  // The same, only at the records that are marked.
  function narrow({ text, ends, first }, word, marks, marked) {
    let hits = 0;
    for (let place = 0; place < ends.length; place++) {
      if (!marked[first + place] || !text.slice(place ? ends[place - 1] : 0, ends[place]).includes(word)) continue;
      marks[first + place] = 1;
      hits++;
    }
    return hits;
  }
})((window.gallery = window.gallery || {}));
