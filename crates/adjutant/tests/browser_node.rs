//! The page `/node.html` in a real browser, with a made-up camera and place: it pairs, offers, answers, comes back.
//! Skips where there is no Chromium.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adjutant_client::{Client, Credential, Endpoint};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(90);

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|it| it.is_file())
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A gateway in a folder of its own; gives its address.
async fn gateway(home: &Path) -> (Killed, String, Client) {
    let adjutant = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adjutant"));
        command
            .env("ADJUTANT_HOME", home)
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let setup = adjutant()
        .args(["setup", "--non-interactive", "--provider", "offline"])
        .status()
        .unwrap();
    assert!(setup.success());
    let child = Killed(
        adjutant()
            .args(["gateway", "run", "--port", "0", "--workers", "0"])
            .spawn()
            .unwrap(),
    );
    let said: Value = until("the gateway does not start", || {
        let text = std::fs::read_to_string(home.join("gateway.pid")).ok()?;
        serde_json::from_str(&text).ok()
    })
    .await;
    let address = said["address"].as_str().unwrap().to_owned();
    let endpoint = Endpoint::Unix(home.join("gateway.sock"));
    let client = Client::connect(endpoint, Credential::None).await.unwrap();
    (child, address, client)
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A browser with one page, spoken to over its debugging protocol.
struct Browser {
    _process: Killed,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    session: Option<String>,
}

impl Browser {
    async fn open(program: &Path, profile: &Path) -> Self {
        let mut process = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = process.stderr.take().unwrap();
        let process = Killed(process);
        let address = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()))
            .expect("the browser says where it listens");
        let (socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let mut browser = Self {
            _process: process,
            socket,
            next: 0,
            session: None,
        };
        let target = browser
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let params = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", params).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut frame = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            frame["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("the browser is silent");
            let Message::Text(text) = message.unwrap().unwrap() else {
                continue;
            };
            let said: Value = serde_json::from_str(&text).unwrap();
            if said["id"] == id {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].clone();
            }
        }
    }

    async fn run(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params).await;
        assert!(
            result.get("exceptionDetails").is_none(),
            "{script}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until the page says it is in this phase.
    async fn phase(&mut self, wanted: &str) -> String {
        let begun = Instant::now();
        loop {
            let state = self
                .run("({ phase: document.getElementById('state')?.dataset.phase, text: document.getElementById('state')?.textContent })")
                .await;
            if state["phase"] == wanted {
                return state["text"].as_str().unwrap().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "not {wanted}: {state}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn invoke(client: &Client, key: &str, command: &str, params: Value) -> Value {
    let params = json!({
        "nodeId": "test phone", "command": command, "params": params, "timeoutMs": 60_000, "idempotencyKey": key,
    });
    client
        .call_value_within(PATIENCE, "node.invoke", params)
        .await
        .unwrap_or_else(|error| panic!("{command}: {error}"))["payload"]
        .clone()
}

async fn arm(client: &Client, group: &str) {
    let params = json!({ "group": group, "durationMs": 60_000 });
    client.call_value("node.lease.arm", params).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_lends_its_camera_and_place() {
    let Some(program) = chromium() else {
        eprintln!("skipped: there is no Chromium (sudo apt-get install chromium)");
        return;
    };
    let (home, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_gateway, address, client) = gateway(home.path()).await;
    let token = std::fs::read_to_string(home.path().join("token")).unwrap();
    let origin = format!("http://{}", address.replace("127.0.0.1", "localhost"));
    let page = format!("{origin}/node.html");
    let mut browser = Browser::open(&program, profile.path()).await;
    let session = browser.session.take();
    browser
        .call(
            "Browser.grantPermissions",
            json!({ "origin": origin, "permissions": ["geolocation", "videoCapture"] }),
        )
        .await;
    browser.session = session;
    let place = json!({ "latitude": 48.1, "longitude": 11.5, "accuracy": 30 });
    browser
        .call("Emulation.setGeolocationOverride", place)
        .await;
    browser.call("Page.enable", json!({})).await;
    browser.call("Page.navigate", json!({ "url": page })).await;
    browser.phase("stopped").await;
    while browser
        .run("document.getElementById('connect').disabled")
        .await
        == true
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fill = format!(
        "document.getElementById('name').value = 'test phone';
         document.getElementById('token').value = {};
         for (const name of ['camera', 'location', 'notify', 'device']) document.getElementById(`offer-${{name}}`).checked = true;
         document.getElementById('form').requestSubmit();",
        json!(token.trim())
    );
    browser.run(&fill).await;

    // A camera is never let in without a person (S13).
    let said = browser.phase("pairing").await;
    let pending = client
        .call_value("device.pair.list", json!({}))
        .await
        .unwrap();
    let request = &pending["pending"][0];
    assert!(
        said.contains(request["requestId"].as_str().unwrap()),
        "{said}"
    );
    let approve = json!({ "requestId": request["requestId"] });
    client
        .call_value("device.pair.approve", approve)
        .await
        .unwrap();
    browser.phase("connected").await;
    assert_eq!(
        browser.run("document.getElementById('token').value").await,
        "",
        "the token does not stay"
    );

    let info = invoke(&client, "info", "device.info", json!({})).await;
    assert_eq!(info["name"], "test phone");
    let note = json!({ "title": "<b>Hello</b>", "body": "there" });
    assert_eq!(
        invoke(&client, "note", "system.notify", note).await["delivered"],
        true
    );
    let shown = browser
        .run("document.querySelector('#notes strong').textContent")
        .await;
    assert_eq!(shown, "<b>Hello</b>", "a note is text, never markup");

    arm(&client, "camera").await;
    arm(&client, "location").await;
    let snap = invoke(&client, "snap", "camera.snap", json!({ "maxWidth": 320 })).await;
    assert_eq!(
        (&snap["format"], &snap["width"]),
        (&json!("jpg"), &json!(320))
    );
    assert!(
        snap["base64"].as_str().unwrap().starts_with("/9j/"),
        "a JPEG"
    );
    let clip = invoke(&client, "clip", "camera.clip", json!({ "durationMs": 500 })).await;
    assert!(1_000 < clip["base64"].as_str().unwrap().len());
    let place = invoke(&client, "place", "location.get", json!({})).await;
    assert_eq!((&place["lat"], &place["lon"]), (&json!(48.1), &json!(11.5)));
    // The same key: the picture that was taken, not another.
    assert_eq!(
        invoke(&client, "snap", "camera.snap", json!({ "maxWidth": 320 })).await,
        snap
    );

    // Loaded anew it comes back by itself, with a token of its own.
    browser.call("Page.reload", json!({})).await;
    browser.phase("connected").await;
    let again = invoke(&client, "again", "device.info", json!({})).await;
    assert_eq!(again["name"], "test phone");
}
