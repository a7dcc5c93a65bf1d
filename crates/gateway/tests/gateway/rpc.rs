//! JSON-RPC over HTTP: the envelope to the letter, and the methods.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_message_is_accepted_answered_and_waited_for() {
    let world = World::new().await;
    let run = world.send("main", "hello there").await;
    let waiting = world.ok("agent.wait", json!({ "runId": run, "timeoutMs": 20_000 }));
    let ((), waited) = tokio::join!(world.work("general greetings"), waiting);
    assert_eq!(waited["status"], "ok");
    assert_eq!(waited["state"], "done");
    assert_eq!(waited["text"], "general greetings");
    assert_eq!(waited["costMicros"], 42);
    assert_eq!(waited["usage"]["input"], 10);
    let history = world.ok("chat.history", json!({ "sessionKey": "main" })).await;
    let texts: Vec<&Value> = history["messages"].as_array().unwrap().iter().map(|m| &m["content"][0]["text"]).collect();
    assert_eq!(texts, ["hello there", "general greetings"]);
    assert_eq!(history["sessionKey"], "main");
    let same = world.ok("chat.history", json!({ "sessionKey": "agent:main:main" })).await;
    assert_eq!(same["messages"], history["messages"]);
}
