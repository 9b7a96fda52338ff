// Approve the rest: all images that search and filters show and that have no verdict, after a question that says how many.
"use strict";
(function (gallery) {
  const { named } = gallery;
  let asked = []; // the records that the question is about

  const images = (count) => `${count.toLocaleString()} ${count === 1 ? "image" : "images"}`;

  gallery.askRest = function () {
    if (!gallery.isLoaded) return;
    asked = [];
    for (let place = 0; place < gallery.places(); place++) if (gallery.isRest(gallery.recordAt(place))) asked.push(gallery.recordAt(place));
    if (!asked.length) return void (named("said").textContent = "No image is left to approve");
    const others = gallery.tally().undecided - asked.length;
    const left = others ? ` Takes that are not current stay as they are: ${others.toLocaleString()} without a verdict.` : "";
    named("rest-said").textContent = `These are all images that the present search and filters show and that have no verdict.${left}`;
    named("rest-title").textContent = `Approve ${images(asked.length)}?`;
    named("rest-approve").textContent = `Approve ${images(asked.length)}`;
    named("rest").showModal();
    named("rest-approve").focus();
  };

  gallery.watchRest = function () {
    const question = named("rest");
    named("rest-ask").addEventListener("click", gallery.askRest);
    named("rest-cancel").addEventListener("click", () => question.close());
    named("rest-approve").addEventListener("click", () => {
      question.close();
      const count = gallery.approveAll(asked); // but those that somebody else has judged meanwhile
      gallery.redraw();
      named("said").textContent = `approved: ${images(count)}`;
    });
    question.addEventListener("close", () => named("list").focus());
  };
})((window.gallery = window.gallery || {}));
