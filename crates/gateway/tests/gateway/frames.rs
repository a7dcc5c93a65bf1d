//! The frame protocol: handshake, refusals, the two answers of `agent`, events as clients know them.

use serde_json::{Value, json};

use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::{Entry, FailKind, Outcome};

use crate::world::{TOKEN, World, connect};

const ALL: [&str; 4] = [
    "operator.read",
    "operator.write",
    "operator.admin",
    "operator.approvals",
];

#[tokio::test]
async fn hello_says_everything_that_clients_read() {
    let world = World::new().await;
    for protocol in [3, 4] {
        let (_client, hello) = world.frames(protocol, &ALL).await;
        assert_eq!(
            (&hello["type"], &hello["protocol"]),
            (&json!("hello-ok"), &json!(protocol))
        );
        assert!(hello["server"]["version"].is_string() && hello["server"]["connId"].is_string());
        assert_eq!(
            hello["snapshot"]["sessionDefaults"]["mainSessionKey"],
            "agent:main:main"
        );
        assert_eq!(hello["snapshot"]["health"]["ok"], true);
        assert_eq!(hello["policy"]["tickIntervalMs"], 30_000);
        assert_eq!(hello["auth"]["role"], "operator");
        let methods = hello["features"]["methods"].as_array().unwrap();
        assert!(
            methods.contains(&json!("chat.send")) && !methods.contains(&json!("events.subscribe"))
        );
    }
    let mut wide = connect(3, TOKEN, &[]);
    wide["params"]["maxProtocol"] = json!(9);
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    client.say(wide).await;
    assert_eq!(client.next().await["payload"]["protocol"], 4);
}

#[tokio::test]
async fn whoever_does_not_begin_with_connect_is_shown_out() {
    // covers: D2
    let world =
        World::with(|config| config.handshake_timeout = adjutant_domain::time::Span::from_secs(1))
            .await;
    let shown_out = async |first: Option<Value>| {
        let mut client = world.ws("/", &[]).await.unwrap();
        client.next().await;
        if let Some(first) = first {
            client.say(first).await;
        }
        client.closed().await
    };
    let (code, _, said) = shown_out(Some(
        json!({ "type": "req", "id": "1", "method": "health" }),
    ))
    .await;
    assert_eq!(code, 1008);
    assert_eq!(
        said[0]["error"]["message"],
        "invalid handshake: first request must be connect"
    );
    let (code, _, said) = shown_out(Some(json!("hello"))).await;
    assert_eq!((code, said.len()), (1008, 0));
    let (code, _, said) = shown_out(Some(
        json!({ "type": "req", "id": "1", "method": "connect", "params": {} }),
    ))
    .await;
    assert_eq!(code, 1008);
    assert!(
        said[0]["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid connect params:")
    );
    let (code, _, said) = shown_out(Some(connect(9, TOKEN, &[]))).await;
    assert_eq!(
        (code, &said[0]["error"]["details"]["expectedProtocol"]),
        (1002, &json!(4))
    );
    let (code, _, said) =
        shown_out(Some(connect(4, "wrong-wrong-wrong-wrong-wrong-wrong", &[]))).await;
    assert_eq!(code, 1008);
    assert_eq!(said[0]["error"]["code"], "INVALID_REQUEST");
    assert_eq!(said[0]["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH");
    assert!(
        said[0]["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("unauthorized")
    );
    let (code, _, said) = shown_out(None).await;
    assert_eq!((code, said.len()), (1000, 0));
    let (mut client, _) = world.frames(3, &ALL).await;
    let again = client
        .req("connect", connect(3, TOKEN, &[])["params"].clone())
        .await;
    assert_eq!(
        again["error"]["message"],
        "connect is only valid as the first request"
    );
}

#[tokio::test]
async fn a_wrong_device_proof_is_refused_and_mixing_fields_does_not_help_guessing() {
    // covers: S7, D5
    let world = World::new().await;
    let mut with_device = connect(4, TOKEN, &ALL);
    with_device["params"]["device"] = json!({
        "id": "00", "publicKey": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg", "signature": "x", "signedAt": 1, "nonce": "n",
    });
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    client.say(with_device).await;
    let (code, _, said) = client.closed().await;
    assert_eq!(
        (code, &said[0]["error"]["details"]["reason"]),
        (1008, &json!("device-id-mismatch"))
    );
    let mut last = Value::Null;
    for n in 0..12 {
        let mut guess = connect(3, "", &ALL);
        let field = ["token", "password", "deviceToken"][n % 3];
        guess["params"]["auth"] =
            json!({ field: format!("guess-guess-guess-guess-guess-guess-{n}") });
        let mut client = world.ws("/", &[]).await.unwrap();
        client.next().await;
        client.say(guess).await;
        last = client.closed().await.2[0].clone();
    }
    assert_eq!(last["error"]["details"]["code"], "AUTH_RATE_LIMITED");
    assert!(last["error"]["retryAfterMs"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn agent_is_answered_twice_and_its_events_are_numbered_without_holes() {
    let world = World::new().await;
    let (mut client, _) = world.frames(3, &["operator.write"]).await;
    let params = json!({ "message": "ping", "agentId": "main", "deliver": false, "timeout": 600, "idempotencyKey": "K" });
    client
        .say(json!({ "type": "req", "id": "a", "method": "agent", "params": params }))
        .await;
    let accepted = client.until(|value| value["type"] == "res").await;
    assert_eq!(
        (
            &accepted["id"],
            &accepted["payload"]["status"],
            &accepted["payload"]["runId"]
        ),
        (&json!("a"), &json!("accepted"), &json!("K"))
    );
    let (frames, ()) = tokio::join!(
        client.all_until(|value| value["type"] == "res"),
        world.work("pong to you")
    );
    let end = frames.last().unwrap();
    assert_eq!(
        (&end["id"], &end["ok"], &end["payload"]["status"]),
        (&json!("a"), &json!(true), &json!("ok"))
    );
    assert_eq!(
        end["payload"]["result"]["payloads"],
        json!([{ "text": "pong to you", "mediaUrl": null }])
    );
    let agent: Vec<&Value> = frames
        .iter()
        .filter(|f| f["event"] == "agent")
        .map(|f| &f["payload"])
        .collect();
    let seqs: Vec<u64> = agent.iter().filter_map(|p| p["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        (&agent[0]["stream"], &agent[0]["data"]["phase"]),
        (&json!("lifecycle"), &json!("start"))
    );
    let said: Vec<&Value> = agent
        .iter()
        .copied()
        .filter(|p| p["stream"] == "assistant")
        .collect();
    assert_eq!(said.last().unwrap()["data"]["text"], "pong to you");
    let joined: String = said
        .iter()
        .filter_map(|p| p["data"]["delta"].as_str())
        .collect();
    assert_eq!(joined, "pong to you");
    let chat: Vec<&Value> = frames
        .iter()
        .filter(|f| f["event"] == "chat")
        .map(|f| &f["payload"])
        .collect();
    assert_eq!(chat[0]["state"], "delta");
    assert_eq!(chat[0]["deltaText"], "pong ");
    let last = chat.last().unwrap();
    assert_eq!(
        (&last["state"], &last["message"]["content"][0]["text"]),
        (&json!("final"), &json!("pong to you"))
    );
    let numbers: Vec<u64> = frames.iter().filter_map(|f| f["seq"].as_u64()).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let again = client.req("agent", json!({ "message": "ping", "agentId": "main", "deliver": false, "timeout": 600, "idempotencyKey": "K" })).await;
    assert_eq!(again["payload"]["status"], "ok");
    let clash = client.req("agent", json!({ "message": "x", "agentId": "other", "sessionKey": "agent:main:main", "idempotencyKey": "L" })).await;
    assert_eq!(clash["error"]["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn a_run_that_fails_ends_with_an_error_everywhere() {
    let world = World::new().await;
    let (mut client, _) = world.frames(4, &["operator.write"]).await;
    client.say(json!({ "type": "req", "id": "a", "method": "agent", "params": { "message": "x", "idempotencyKey": "F" } })).await;
    client.until(|value| value["type"] == "res").await;
    let claim = world.claim().await;
    let outcome = Outcome::Failed {
        kind: FailKind::MaxSteps,
        reason: "too many steps".to_owned(),
    };
    let cost = Cost::Priced {
        micros: Micros::ZERO,
    };
    world
        .append(
            &claim,
            vec![Entry::Finished {
                outcome,
                usage: Usage::default(),
                cost,
            }],
        )
        .await;
    let frames = client.all_until(|value| value["type"] == "res").await;
    let end = frames.last().unwrap();
    assert_eq!(
        (&end["ok"], &end["error"]["code"]),
        (&json!(false), &json!("UNAVAILABLE"))
    );
    assert_eq!(
        (&end["payload"]["status"], &end["payload"]["summary"]),
        (&json!("error"), &json!("too many steps"))
    );
    assert!(
        frames
            .iter()
            .any(|f| f["payload"]["data"]["phase"] == "error")
    );
    assert!(frames.iter().any(|f| f["payload"]["state"] == "error"
        && f["payload"]["errorMessage"] == "max_steps: too many steps"));
}

#[tokio::test]
async fn words_that_were_lost_on_the_way_are_said_with_the_whole_reply() {
    // covers: R13
    let world = World::new().await;
    let (mut client, _) = world.frames(4, &["operator.write"]).await;
    let sent = client
        .req(
            "chat.send",
            json!({ "sessionKey": "main", "message": "x", "idempotencyKey": "C" }),
        )
        .await;
    assert_eq!(
        sent["payload"],
        json!({ "runId": "C", "status": "started" })
    );
    let claim = world.claim().await;
    world.pulse(&claim, "the first half");
    let (message, mut entries) = world.reply("the first half and the second");
    entries.push(World::done(message));
    world.append(&claim, entries).await;
    let frames = client
        .all_until(|value| value["payload"]["state"] == "final")
        .await;
    let said: String = frames
        .iter()
        .filter(|f| f["payload"]["stream"] == "assistant")
        .filter_map(|f| f["payload"]["data"]["delta"].as_str())
        .collect();
    assert_eq!(said, "the first half and the second");
}

#[tokio::test]
async fn a_client_without_a_device_keeps_its_scopes_only_where_the_protocol_says() {
    // covers: S10
    let world = World::new().await;
    let scopes_of = async |protocol: u32, id: &str, mode: &str| {
        let mut hello = connect(protocol, TOKEN, &["operator.read"]);
        hello["params"]["client"]["id"] = json!(id);
        hello["params"]["client"]["mode"] = json!(mode);
        let mut client = world.ws("/", &[]).await.unwrap();
        client.next().await;
        client.say(hello).await;
        client.next().await["payload"]["auth"]["scopes"].clone()
    };
    assert_eq!(scopes_of(4, "cli", "cli").await, json!(["operator.read"]));
    assert_eq!(
        scopes_of(4, "gateway-client", "backend").await,
        json!(["operator.read"])
    );
    assert_eq!(scopes_of(4, "cli", "probe").await, json!([]));
    assert_eq!(
        scopes_of(3, "gateway-client", "ui").await,
        json!(["operator.read"])
    );
}

#[tokio::test]
async fn a_client_learns_from_the_history_that_what_it_sent_was_kept() {
    let world = World::new().await;
    let (mut page, _) = world.frames(4, &ALL).await;
    for key in ["k1", "k2"] {
        let params = json!({ "sessionKey": "main", "message": key, "idempotencyKey": key });
        page.req("chat.send", params).await;
        world.work("done").await;
    }
    let params = json!({ "sessionKey": "main", "inputRunIds": ["k2", "unknown"], "limit": 1000 });
    let history = page.req("chat.history", params).await;
    let messages = history["payload"]["messages"].as_array().unwrap();
    let marked: Vec<&Value> = messages
        .iter()
        .filter(|message| message.get("idempotencyKey").is_some())
        .collect();
    assert_eq!(marked.len(), 1, "{messages:?}");
    assert_eq!(marked[0]["idempotencyKey"], "k2:user");
    assert_eq!(marked[0]["role"], "user");
    let receipt =
        json!({ "runId": "k2", "state": "consumed", "consumedByEventId": marked[0]["id"] });
    assert_eq!(history["payload"]["inputReceipts"], json!([receipt]));
}
