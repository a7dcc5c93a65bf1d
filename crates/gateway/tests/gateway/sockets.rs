//! JSON-RPC over WebSockets: events without holes, live words, resume.

use serde_json::{Value, json};

use crate::world::World;

fn kind(value: &Value) -> &str {
    value["params"]["type"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn words_come_as_they_are_said_and_events_come_without_holes() {
    let world = World::new().await;
    let mut client = world.jsonrpc().await;
    let key = json!({ "sessionKey": "main", "message": "hi", "idempotencyKey": "k1" });
    assert_eq!(
        client.rpc("chat.send", key).await["result"]["status"],
        "started"
    );
    let claim = world.claim().await;
    world.pulse(&claim, "one ");
    let first = client.until(|value| value["method"] == "delta").await;
    // The first words are here although the reply is not complete.
    assert_eq!(
        first["params"],
        json!({ "runId": "k1", "sessionKey": "agent:main:main", "seq": 1, "kind": "text", "text": "one " })
    );
    world.pulse(&claim, "two");
    let (message, mut entries) = world.reply("one two");
    entries.push(World::done(message));
    world.append(&claim, entries).await;
    let rest = client
        .all_until(|value| kind(value) == "run_finished")
        .await;
    assert_eq!(rest[0]["params"]["seq"], 2);
    let last = rest.last().unwrap();
    assert_eq!(
        (&last["params"]["runId"], &last["params"]["outcome"]),
        (&json!("k1"), &json!("done"))
    );

    let page = world.ok("events.since", json!({ "cursor": 0 })).await;
    let cursors: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["cursor"].as_u64())
        .collect();
    let expected: Vec<u64> = (cursors[0]..cursors[0] + cursors.len() as u64).collect();
    assert_eq!(cursors, expected);
    let live: Vec<&Value> = rest
        .iter()
        .filter(|value| value["method"] == "event")
        .map(|value| &value["params"])
        .collect();
    let stored = page["events"].as_array().unwrap();
    assert_eq!(
        live,
        stored
            .iter()
            .skip(stored.len() - live.len())
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_and_then_the_rest_in_order() {
    // covers: R11, R12
    let world = World::new().await;
    let start = world
        .ok("events.since", json!({ "cursor": 0, "limit": 1000 }))
        .await["cursor"]
        .as_u64()
        .unwrap();
    for n in 0..30 {
        world
            .ok("memory.add", json!({ "text": format!("fact {n}") }))
            .await;
    }
    let mut client = world.jsonrpc().await;
    let adding = async {
        for n in 30..60 {
            world
                .ok("memory.add", json!({ "text": format!("fact {n}") }))
                .await;
        }
    };
    let reading = async {
        let subscribed = json!({ "jsonrpc": "2.0", "id": "s", "method": "events.subscribe", "params": { "cursor": start } });
        client.say(subscribed).await;
        let mut cursors = Vec::new();
        let mut live_before = 0;
        let mut answered = false;
        while cursors.len() < 60 {
            let value = client.next().await;
            if value["id"] == "s" {
                assert_eq!(
                    value["result"],
                    json!({ "subscribed": true, "cursor": start })
                );
                answered = true;
            } else {
                let cursor = value["params"]["cursor"].as_u64().unwrap();
                // Live events from before the subscription took effect.
                if cursors.is_empty() && cursor != start + 1 {
                    live_before += 1;
                    continue;
                }
                cursors.push(cursor);
            }
        }
        (cursors, answered, live_before)
    };
    let ((cursors, answered, live_before), ()) = tokio::join!(reading, adding);
    assert!(answered && live_before <= 30);
    assert_eq!(cursors, (start + 1..=start + 60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_hears_the_sessions_it_asked_for() {
    let world = World::new().await;
    let mut client = world.jsonrpc().await;
    let asked = client
        .rpc("events.subscribe", json!({ "sessionKey": "b" }))
        .await;
    assert_eq!(asked["result"]["subscribed"], true);
    world.send("a", "not for you").await;
    world.send("b", "for you").await;
    let heard = client.until(|value| value["method"] == "event").await;
    assert_eq!(heard["params"]["sessionKey"], "agent:main:b");
    let off = client
        .rpc("events.subscribe", json!({ "all": false }))
        .await;
    assert_eq!(off["result"]["subscribed"], false);
    world.send("b", "nobody listens").await;
    let next = client.rpc("health", json!({})).await;
    assert_eq!(next["result"]["ok"], true);
    let over_http = world.rpc("events.subscribe", json!({})).await;
    assert_eq!(over_http["error"]["code"], -32600);
}

#[tokio::test]
async fn batches_and_notifications_work_over_a_websocket_too() {
    let world = World::new().await;
    let mut client = world.jsonrpc().await;
    client.say(json!([{ "jsonrpc": "2.0", "id": 1, "method": "health" }, { "jsonrpc": "2.0", "method": "status" }, 7])).await;
    let answers = client.until(Value::is_array).await;
    assert_eq!(answers.as_array().unwrap().len(), 2);
    client
        .say(json!({ "jsonrpc": "2.0", "method": "health" }))
        .await;
    assert_eq!(
        client.rpc("agents.list", json!({})).await["result"]["scope"],
        "per-sender"
    );
}

#[tokio::test]
async fn stopping_says_so_and_ends_waiting_calls() {
    let mut world = World::new().await;
    let run = world.send("main", "long").await;
    let mut rpc = world.jsonrpc().await;
    let (mut frames, _) = world.frames(4, &["operator.read"]).await;
    let wait = json!({ "runId": run, "timeoutMs": 60_000 });
    rpc.say(json!({ "jsonrpc": "2.0", "id": 1, "method": "agent.wait", "params": wait }))
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    world.stop.cancel();
    let (code, _, said) = rpc.closed().await;
    assert_eq!(code, 1012);
    assert!(said.iter().any(|value| value["method"] == "shutdown"));
    let (code, _, said) = frames.closed().await;
    assert_eq!(code, 1012);
    assert!(said.iter().any(|value| value["event"] == "shutdown"));
    drop((rpc, frames));
    let served = tokio::time::timeout(
        std::time::Duration::from_secs(5),
        world.served.take().unwrap(),
    )
    .await;
    served.unwrap().unwrap().unwrap();
}
