// For a page of a canvas that wants to be answered: `<script src="adjutant.js"></script>` at the top of the canvas, then
// `adjutant.act("confirm", { item: 3 })`. The promise says whether the gateway took it. The frame around the page passes
// it on; the page itself reaches nothing.
(() => {
  "use strict";
  const open = new Map();
  let next = 0;
  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || data?.adjutant !== 1 || data.type !== "outcome") return;
    const done = open.get(data.call);
    open.delete(data.call);
    done?.(data);
  });
  window.adjutant = Object.freeze({
    act(name, context = {}) {
      const call = next++;
      return new Promise((done, fail) => {
        open.set(call, ({ accepted, reason }) => (accepted ? done() : fail(new Error(reason))));
        window.parent.postMessage({ adjutant: 1, type: "action", call, name: String(name), context }, "*");
      });
    },
  });
})();
