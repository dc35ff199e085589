// Drawings draw themselves when they come into view, and again when asked to.
// Without this script they do so once, when the page is opened.
"use strict";
const still = matchMedia("(prefers-reduced-motion: reduce)");
const draw = (strip) => {
  for (const strokes of strip.querySelectorAll("svg > g")) {
    strokes.classList.remove("dood-draws");
    strokes.getBoundingClientRect(); // so that the browser sees it gone, and starts again
    strokes.classList.add("dood-draws");
  }
};
const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      draw(target);
      inView.unobserve(target);
    }
  }
});
for (const strip of document.querySelectorAll(".strip")) {
  inView.observe(strip);
  const button = strip.querySelector(".again");
  button.hidden = still.matches;
  button.addEventListener("click", () => draw(strip));
}
still.addEventListener("change", () => {
  for (const button of document.querySelectorAll(".again")) button.hidden = still.matches;
});
