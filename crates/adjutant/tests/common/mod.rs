//! A gateway of its own and a real browser with one page, for tests of pages.
#![allow(dead_code, reason = "each test uses what it needs")]

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

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|it| it.is_file())
}

pub(crate) struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A gateway in a folder of its own; gives its address.
pub(crate) async fn gateway(home: &Path) -> (Killed, String, Client) {
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

pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
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
pub(crate) struct Browser {
    _process: Killed,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    pub(crate) session: Option<String>,
}

impl Browser {
    pub(crate) async fn open(program: &Path, profile: &Path) -> Self {
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

    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// A call that may come too late: what it was about is gone.
    pub(crate) async fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
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
                return match said.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(said["result"].clone()),
                };
            }
        }
    }

    pub(crate) async fn run(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params).await;
        assert!(
            result.get("exceptionDetails").is_none(),
            "{script}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until the page says it is in this phase.
    pub(crate) async fn phase(&mut self, wanted: &str) -> String {
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
