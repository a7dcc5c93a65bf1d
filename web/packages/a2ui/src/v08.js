// Draws surfaces of v0.8 with the published renderer.

import { ContextProvider } from "@lit/context";
import * as v08 from "@a2ui/lit/v0_8";
import * as UI from "@a2ui/lit/ui";

const none = {};
const field = { container: none, element: none, label: none };
const same = (names, value) => Object.fromEntries(names.map((it) => [it, value]));

// Plain elements: what they look like is the page's style.
const theme = {
  components: {
    ...same(["AudioPlayer", "Button", "Card", "Column", "Divider", "Icon", "List", "Row", "Video"], none),
    ...same(["CheckBox", "DateTimeInput", "MultipleChoice", "Slider", "TextField"], field),
    Image: same(["all", "icon", "avatar", "smallFeature", "mediumFeature", "largeFeature", "header"], none),
    Modal: { backdrop: none, element: none },
    Tabs: { container: none, element: none, controls: { all: none, selected: none } },
    Text: same(["all", "h1", "h2", "h3", "h4", "h5", "caption", "body"], none),
  },
  elements: same(
    ["a", "audio", "body", "button", "h1", "h2", "h3", "h4", "h5", "iframe", "input", "p", "pre", "textarea", "video"],
    none,
  ),
  markdown: same(["p", "h1", "h2", "h3", "h4", "h5", "ul", "ol", "li", "a", "strong", "em"], []),
  additionalStyles: { Card: { padding: "16px", border: "1px solid color-mix(in srgb, currentcolor 25%, transparent)", "border-radius": "8px" } },
};

const post = (message) => window.parent.postMessage({ adjutant: 1, ...message }, "*");
const processor = v08.Data.createSignalA2uiMessageProcessor();
const shown = new Map();

new ContextProvider(document.body, { context: UI.Context.theme, initialValue: theme });

function plain(value) {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, it]) => [key, plain(it)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

function draw(messages) {
  for (const message of messages) {
    try {
      processor.processMessages([message]);
    } catch (error) {
      post({ type: "problem", reason: String(error.message ?? error) });
    }
  }
  const surfaces = processor.getSurfaces();
  for (const [id, element] of shown) {
    if (surfaces.has(id)) continue;
    element.remove();
    shown.delete(id);
  }
  for (const [id, surface] of surfaces) {
    let element = shown.get(id);
    if (!element) {
      element = document.createElement("a2ui-surface");
      element.surfaceId = id;
      element.processor = processor;
      shown.set(id, element);
      document.body.append(element);
    }
    element.surface = surface;
    element.requestUpdate();
  }
}

document.body.addEventListener("a2uiaction", (event) => {
  const { action, sourceComponent, sourceComponentId } = event.detail;
  const surfaceId = [...shown].find(([, element]) => event.composedPath().includes(element))?.[0];
  if (!action?.name || !surfaceId) return;
  const context = {};
  for (const { key, value } of action.context ?? []) {
    const literal = value.literalString ?? value.literalNumber ?? value.literalBoolean;
    context[key] = plain(value.path ? processor.getData(sourceComponent, value.path, surfaceId) : literal) ?? null;
  }
  post({ type: "action", name: action.name, surfaceId, sourceComponentId, context });
});

window.addEventListener("message", ({ source, data }) => {
  if (source !== window.parent || data?.adjutant !== 1) return;
  if (data.type === "draw") draw(data.messages);
  if (data.type === "clear") {
    processor.clearSurfaces();
    draw([]);
  }
});
post({ type: "ready" });
