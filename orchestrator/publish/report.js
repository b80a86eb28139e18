"use strict";
(() => {
  const filter = document.getElementById("filter");
  if (!filter) return;
  const [text, arch, outcome, count] = ["text", "arch", "outcome", "count"].map((id) => document.getElementById(`filter-${id}`));
  const suites = [...document.querySelectorAll("details.suite")].map((box) => ({ box, open: box.open, tests: [...box.querySelectorAll("tbody.test")] }));

  const cellFits = ({ dataset }) =>
    (!arch.value || dataset.arch === arch.value) &&
    (!outcome.value || (outcome.value === "changed" ? "changed" in dataset : dataset.outcome === outcome.value));

  const testFits = (test, words) =>
    words.every((word) => test.dataset.name.toLowerCase().includes(word)) && [...test.querySelectorAll("td[data-arch]")].some(cellFits);

  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = words.length || arch.value || outcome.value;
    let all = 0;
    let left = 0;
    for (const { box, open, tests } of suites) {
      const fitting = tests.filter((test) => !(test.hidden = !testFits(test, words))).length;
      box.hidden = !fitting;
      box.open = asked ? fitting > 0 : open;
      all += tests.length;
      left += fitting;
    }
    count.textContent = `${left} of ${all} tests`;
  };

  filter.hidden = false;
  filter.addEventListener("input", apply);
  apply();
})();
