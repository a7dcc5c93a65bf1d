//! What must hold for any conversation with the gateway before and after `connect`. Also compiled into the ordinary
//! tests. Needs a module `world` with a running gateway beside it.

use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::world::{TOKEN, World};
use futures::{SinkExt as _, StreamExt as _};

/// Between two frames of an input.
pub(super) const BETWEEN: u8 = 0;
/// Frames of an input that are sent; more are left out.
const FRAMES_MAX: usize = 16;
/// How long the gateway may think.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stands for the token, where a credential is written.
const PLACEHOLDER: &str = r#""token":"<TOKEN>""#;

/// Sends the frames of `bytes` over one connection and checks everything that comes back.
pub(super) async fn check(world: &World, bytes: &[u8]) {
    let mut client = world.ws("/", &[]).await.expect("a connection");
    let challenge = client.next().await;
    assert_eq!(challenge["event"], "connect.challenge");
    let mut offers_token = false;
    // A name that a client made up is told back to it, and a fuzzer learns the token from comparisons.
    let mut made_it_up = false;
    let credential = PLACEHOLDER.replace("<TOKEN>", TOKEN);
    for frame in bytes.split(|byte| *byte == BETWEEN).take(FRAMES_MAX) {
        let text = String::from_utf8_lossy(frame);
        made_it_up |= text.contains(TOKEN);
        let text = text.replace(PLACEHOLDER, &credential);
        offers_token |= text.contains(TOKEN);
        if client.socket.send(Message::text(text)).await.is_err() {
            break;
        }
    }
    // Asks for the end, so that silence ends, too.
    drop(client.socket.close(None).await);
    let mut let_in = false;
    let mut first = true;
    loop {
        let read = tokio::time::timeout(PATIENCE, client.socket.next()).await;
        let text = match read.expect("the connection hangs") {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_))) => break,
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => break,
        };
        let frame: Value = serde_json::from_str(text.as_str()).expect("a frame is JSON");
        match frame["type"].as_str() {
            Some("res") if first => {
                let_in = frame["ok"] == true;
                first = false;
                if let_in {
                    assert_eq!(frame["payload"]["type"], "hello-ok");
                    assert!(offers_token, "let in without a credential: {text}");
                }
            }
            Some("res") => assert!(let_in, "answered without being let in: {text}"),
            Some("event") => assert!(let_in, "told without being let in: {text}"),
            other => panic!("a frame of type {other:?}: {text}"),
        }
        let told = text.contains(TOKEN) && !made_it_up;
        assert!(!told, "the token is told: {text}");
    }
}
