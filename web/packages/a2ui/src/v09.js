// Draws surfaces of v0.9 with the published renderer.

import { basicCatalog } from "@a2ui/lit/v0_9";
import { Catalog, MessageProcessor } from "@a2ui/web_core/v0_9";

const MINIMAL = "https://a2ui.org/specification/v0_9/catalogs/minimal/catalog.json";
const post = (message) => window.parent.postMessage({ adjutant: 1, ...message }, "*");
const shown = new Map();

const few = ["Text", "Row", "Column", "Button", "TextField"].map((name) => basicCatalog.components.get(name));
// The one function that only the minimal catalogue has.
const capitalize = {
  ...basicCatalog.functions.get("formatString"),
  name: "capitalize",
  execute: ({ value }) => String(value ?? "").replace(/^./u, (first) => first.toUpperCase()),
};
const minimal = new Catalog(MINIMAL, few, [...basicCatalog.functions.values(), capitalize]);

const processor = new MessageProcessor([basicCatalog, minimal], ({ name, surfaceId, sourceComponentId, context }) =>
  post({ type: "action", name, surfaceId, sourceComponentId, context }));

processor.onSurfaceCreated((surface) => {
  const element = document.createElement("a2ui-surface");
  element.surface = surface;
  shown.set(surface.id, element);
  document.body.append(element);
});
processor.onSurfaceDeleted((id) => {
  shown.get(id)?.remove();
  shown.delete(id);
});

function draw(messages) {
  for (const message of messages) {
    try {
      processor.processMessages([message]);
    } catch (error) {
      post({ type: "problem", reason: String(error.message ?? error) });
    }
  }
}

window.addEventListener("message", ({ source, data }) => {
  if (source !== window.parent || data?.adjutant !== 1) return;
  if (data.type === "draw") draw(data.messages);
  if (data.type === "clear") {
    for (const surfaceId of [...shown.keys()]) draw([{ version: "v0.9", deleteSurface: { surfaceId } }]);
  }
});
post({ type: "ready" });
