// The page that a server shows (`dagster-gptimg review serve`): each verdict goes on record at once, those of others
// come in, and what cannot be sent stays in the page and says so. Without a server, nothing here is called.
"use strict";
(function (gallery) {
  const POLL = 2000; // milliseconds between two questions for verdicts of others
  const LONGEST = 15000; // the same while the server does not answer, and the time that an answer may take
  const NOTE_AFTER = 700; // milliseconds without a letter, after which a note is sent
  const MOST = 50; // verdicts of one call
  const KEPT_ALIVE = 20000; // characters: browsers limit such calls to 64 KB
  const NAME = "dagster-gptimg:reviewer"; // where the browser keeps the reviewer's name
  const { element, named } = gallery;

  const tried = new Map(); // verdicts of calls without an answer, by key of their record: one may be on record all the same
  const told = new Map(); // why a verdict is not on record, by key of its record, until it is given again
  let records = new Map();
  let byImage = new Map();
  let after = 0; // the number of the last change of verdicts that has come in
  let recorded = 0;
  let isSending = false;
  let isAway = false;
  let ended = ""; // why nothing can be sent any more
  let storeIsAway = false;
  let isOld = false; // an image table has changed
  let waiting = 0;
  let dueAt = Infinity;
  let asking = 0;
  let failures = 0;
  let name = "";

  // Show what the server has to do with: before the records are there.
  gallery.prepareServer = function () {
    name = gallery.about.by || stored();
    build();
    draw();
  };

  // Begin to send and to ask: when all records are there.
  gallery.connect = function () {
    records = new Map(gallery.records.map((record) => [gallery.keyOf(record), record]));
    byImage = new Map();
    for (const record of gallery.records) {
      if (record.image) byImage.has(record.image) ? byImage.get(record.image).push(record) : byImage.set(record.image, [record]);
    }
    ask();
    later(0);
    document.addEventListener("visibilitychange", () => document.hidden || askNow());
    addEventListener("online", askNow);
    addEventListener("pagehide", () => later(0));
    named("v-note").addEventListener("change", () => later(0));
  };

  function stored() {
    try {
      return localStorage.getItem(NAME) || "";
    } catch {
      return ""; // then it is asked for in each page
    }
  }

  // -- what is shown

  function build() {
    const line = element("div");
    line.id = "server";
    const said = element("span");
    said.id = "server-said";
    said.setAttribute("role", "status");
    const reload = element("button", "", "Show new images");
    reload.id = "server-reload";
    reload.type = "button";
    reload.addEventListener("click", () => location.reload());
    line.append(said, reload);
    if (!gallery.about.by) {
      const who = element("button");
      who.id = "server-who";
      who.type = "button";
      who.addEventListener("click", askName);
      line.append(who);
    }
    document.querySelector("header .tools").after(line);
    const state = element("p");
    state.id = "v-record";
    state.setAttribute("role", "status");
    document.querySelector("#viewer .verdicts").after(state);
    document.body.append(dialog());
  }

  function dialog() {
    const made = element("dialog");
    made.id = "who";
    made.className = "question";
    made.setAttribute("aria-labelledby", "who-title");
    const title = element("h2", "", "Your name");
    title.id = "who-title";
    const label = element("label", "", "Name ");
    const input = element("input");
    input.id = "who-name";
    input.type = "text";
    input.maxLength = 100;
    input.autocomplete = "name";
    label.append(input);
    const save = element("button", "", "Save");
    save.id = "who-save";
    save.type = "button";
    const done = () => {
      if (!input.value.trim()) return input.focus();
      name = input.value.trim();
      try {
        localStorage.setItem(NAME, name);
      } catch {
        // It is asked for in the next page again.
      }
      made.close();
      later(0);
      draw();
    };
    save.addEventListener("click", done);
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      done();
    });
    made.addEventListener("close", redraw);
    made.append(title, element("p", "", "It is recorded with each of your verdicts."), label, save);
    return made;
  }

  function askName() {
    named("who-name").value = name;
    named("who").showModal();
    named("who-name").focus();
    redraw();
  }

  // Whether the name is being asked for: until it is given, or the question is closed, nothing is wrong.
  const isAsked = () => !name && named("who").open;

  function draw() {
    const count = gallery.judged();
    const words = [];
    const verdicts = `${count.toLocaleString()} ${count === 1 ? "verdict" : "verdicts"}`;
    if (ended) words.push(ended);
    else if (isAway) words.push("The server does not answer.");
    else if (storeIsAway) words.push("The store does not answer: verdicts of others may be missing.");
    if (count && isAsked()) words.push(`${verdicts} will be recorded with your name.`);
    else if (count && !name) words.push(`${verdicts} not sent: your name is missing.`);
    else if (count && (ended || isAway || failures)) words.push(`${verdicts} not sent: kept in this page${ended ? "" : ", and sent again"}.`);
    else if (count) words.push(`Sending ${verdicts}.`);
    else if (!words.length) words.push(recorded ? `Your verdicts on record: ${recorded.toLocaleString()}.` : "Verdicts are on record at once.");
    if (told.size) words.push(`${told.size.toLocaleString()} not recorded: judged by somebody else since, or replaced.`);
    if (isOld) words.push("There are new images.");
    const isTrouble = ended || isAway || storeIsAway || told.size || (count && (failures || !name) && !isAsked());
    named("server").dataset.state = isTrouble ? "trouble" : "";
    if (named("server-said").textContent !== words.join(" ")) named("server-said").textContent = words.join(" ");
    named("server-reload").hidden = !isOld;
    if (named("server-who")) named("server-who").textContent = name ? `Reviewer: ${gallery.short(name, 40)}` : "Your name";
    named("download").hidden = !count;
  }

  // Draw the verdicts in sight anew.
  function redraw() {
    for (const node of named("lines").querySelectorAll(".tile")) gallery.refresh(Number(node.dataset.place));
    gallery.onVerdict();
    draw();
  }

  const isHeldUp = () => Boolean(ended || isAway || failures || (!name && !isAsked()));

  // What a tile says of a verdict that is not on record.
  gallery.stateOf = function (record) {
    const key = gallery.keyOf(record);
    const own = gallery.given().get(key);
    if (own && own.verdict) return isHeldUp() ? "not sent" : "";
    return told.has(key) ? "yours not recorded" : "";
  };

  // What full size says of the record's verdict.
  gallery.tellState = function (record) {
    const key = gallery.keyOf(record);
    const own = gallery.given().get(key);
    const node = named("v-record");
    let words = "";
    let isTrouble = false;
    if (own && own.verdict) {
      isTrouble = isHeldUp();
      if (isTrouble) words = name ? "Not on record yet: kept in this page." : "Not on record yet: your name is missing.";
      else words = name ? "Being recorded." : "It will be recorded with your name.";
    } else if (told.has(key)) {
      words = told.get(key);
      isTrouble = true;
    } else if (record.verdict_number) {
      const by = record.verdict_by === undefined ? "" : ` by ${record.verdict_by || "somebody"}`;
      words = record.verdict ? `On record${by}.` : record.verdict_by ? `Cleared${by}.` : "";
    }
    if (node.textContent !== words) node.textContent = words;
    node.classList.toggle("trouble", isTrouble);
    const note = named("v-note");
    if (document.activeElement !== note) note.value = gallery.verdictOf(record).note;
  };

  // -- to the server

  // Send what there is, soon: a note when nothing more is typed, so that each letter is not a verdict of its own.
  gallery.sendSoon = function (records, isNote) {
    for (const record of records) told.delete(gallery.keyOf(record));
    if (!name && !isNote && !named("who").open) askName();
    later(isNote ? NOTE_AFTER : 0, isNote);
    draw();
  };

  function later(milliseconds, isPutOff) {
    const at = performance.now() + milliseconds;
    if (!isPutOff && waiting && dueAt <= at) return;
    clearTimeout(waiting);
    dueAt = at;
    waiting = setTimeout(() => {
      waiting = 0;
      send();
    }, milliseconds);
    if (!milliseconds && document.visibilityState === "hidden") send(); // a page that ends runs no timer
  }

  async function send() {
    if (isSending || ended || !name) return;
    const batch = [];
    const images = new Set();
    for (const [key, own] of gallery.given()) {
      const record = records.get(key);
      if (!own.verdict || !record || !record.image || images.has(record.image)) continue;
      images.add(record.image); // two verdicts on one image go one after the other
      batch.push([key, own, record]);
      if (batch.length === MOST) break;
    }
    if (!batch.length) return;
    isSending = true;
    const verdicts = batch.map(([, own, record]) => ({ image: record.image, verdict: own.verdict, note: wellFormed(own.note), seen: own.seen }));
    try {
      const body = JSON.stringify({ by: name, verdicts });
      const keepalive = body.length < KEPT_ALIVE; // it goes on when the page is closed
      const { results } = await call("verdicts", { method: "POST", keepalive, headers: { "Content-Type": "application/json" }, body });
      batch.forEach(([key, own, record], place) => settle(key, own, record, results[place]));
      failures = 0;
      isAway = false;
    } catch {
      failures++;
      for (const [key, own] of batch) tried.set(key, [...(tried.get(key) || []), own]);
    }
    isSending = false;
    redraw();
    if (failures) later(Math.min(LONGEST, POLL * 2 ** Math.min(failures - 1, 4)));
    else later(0);
  }

  const wellFormed = (text) => (text.toWellFormed ? text.toWellFormed() : text); // half a letter is no JSON

  // Take what came of one verdict.
  function settle(key, own, record, found) {
    const isLatest = gallery.given().get(key) === own;
    if (found.state === "replaced") {
      if (isLatest) gallery.keep(key, null);
      told.set(key, `Your ${own.verdict} was not recorded: this image has been replaced or removed since.`);
      isOld = true;
      return;
    }
    const isOurs = (tried.get(key) || []).some((one) => found.by === name && found.verdict === one.verdict && found.number === one.seen + 1);
    tried.delete(key);
    learn(record.image, found.number, found.verdict, found.note, found.by);
    if (found.state === "stale" && !isOurs) {
      if (!isLatest) return; // it was given without knowing of the other one, too
      gallery.keep(key, own.note && own.note !== record.verdict_note ? { ...own, verdict: null, seen: found.number } : null);
      const what = found.verdict === "cleared" ? "took the last verdict back" : found.verdict ? `${found.verdict} it` : "judged it";
      told.set(key, `Your ${own.verdict} was not recorded: ${found.by || "somebody else"} ${what} since. Give it again to overrule that.`);
    } else if (isLatest && found.state !== "stale") {
      gallery.keep(key, null);
      recorded += found.state === "recorded";
    } else {
      gallery.given().get(key).seen = found.number; // ours is on record, and this one follows it
      recorded += found.state === "recorded";
    }
  }

  // -- from the server

  // Take a verdict that is on record; one that is not newer than what is known is left out.
  function learn(image, number, verdict, note, by) {
    for (const record of byImage.get(image) || []) {
      if (number <= record.verdict_number) continue;
      record.verdict = verdict === "cleared" ? null : verdict;
      record.verdict_note = note;
      record.verdict_number = number;
      record.verdict_by = by;
    }
  }

  function askNow() {
    clearTimeout(asking);
    ask();
  }

  let isAsking = false;
  async function ask() {
    if (isAsking || ended || document.hidden) return; // a page out of sight asks when it is looked at again
    isAsking = true;
    const wasAway = isAway;
    let count = 0;
    try {
      const found = await call(`changes?after=${after}`);
      for (const [image, number, verdict, note, by] of found.changes) learn(image, number, verdict, note, by);
      after = found.after;
      count = found.changes.length;
      storeIsAway = found.trouble;
      isOld = found.tables !== gallery.about.tables;
      isAway = false;
      if (wasAway || failures) later(0);
    } catch {
      isAway = true;
    }
    isAsking = false;
    if (count || wasAway !== isAway) redraw();
    else draw();
    clearTimeout(asking);
    asking = setTimeout(ask, count ? 0 : isAway ? LONGEST / 5 : POLL);
  }

  async function call(path, options) {
    const answer = await fetch(path, { ...options, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(LONGEST) });
    if ([401, 403, 421].includes(answer.status)) {
      ended = "This server was started anew: open the address that it has printed.";
    } else if (answer.status === 400) {
      ended = "The server does not understand this page: load it again.";
    }
    if (!answer.ok) throw new Error(`${answer.status}`);
    return answer.json();
  }
})((window.gallery = window.gallery || {}));
