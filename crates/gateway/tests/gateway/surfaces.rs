//! What frames clients of other programs rely on besides runs: events by scope, sessions, questions, honest refusals.

use serde_json::{Value, json};

use adjutant_domain::run::{Entry, Signal};

use crate::rpc::ask;
use crate::world::{Client, TOKEN, World, connect};

const READ: [&str; 1] = ["operator.read"];

/// A surface that is listed among those present.
async fn surface(world: &World, scopes: &[&str]) -> Client {
    let mut hello = connect(3, TOKEN, scopes);
    hello["params"]["client"] = json!({
        "id": "gateway-client", "displayName": "a terminal", "version": "1", "platform": "linux", "mode": "ui",
    });
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    client.say(hello).await;
    assert_eq!(client.next().await["ok"], true);
    client
}

async fn event(client: &mut Client, name: &str) -> Value {
    client.until(|value| value["event"] == name).await
}

#[tokio::test]
async fn who_comes_and_goes_is_told_to_those_who_may_read() {
    // covers: S11
    let world = World::new().await;
    let (mut reader, _) = world.frames(4, &READ).await;
    let (mut other, _) = world.frames(4, &["operator.pairing"]).await;
    let mut guest = surface(&world, &READ).await;
    let came = event(&mut reader, "presence").await;
    assert!(came["stateVersion"]["presence"].as_u64().unwrap() > 0);
    let present = came["payload"]["presence"].as_array().unwrap();
    assert_eq!(present[0]["mode"], "gateway");
    assert!(present.iter().any(|entry| entry["host"] == "a terminal"));
    let listed = guest.req("system-presence", json!({})).await;
    assert_eq!(listed["payload"].as_array().unwrap().len(), present.len());
    guest.hang_up(1001).await;
    drop(guest);
    let left = event(&mut reader, "presence").await;
    assert_eq!(left["payload"]["presence"].as_array().unwrap().len(), 1);
    // The other one has heard nothing of it: the first thing it hears is its answer.
    other
        .say(json!({ "type": "req", "id": "x", "method": "health" }))
        .await;
    assert_eq!(
        other.next().await["error"]["message"],
        "missing scope: operator.read"
    );
}

#[tokio::test]
async fn a_newer_health_report_is_told_after_it_was_asked_for() {
    let world = World::new().await;
    let (mut one, hello) = world.frames(4, &READ).await;
    let (mut two, _) = world.frames(4, &READ).await;
    world.send("somewhere new", "hi").await;
    let before = hello["snapshot"]["stateVersion"]["health"]
        .as_u64()
        .unwrap();
    // A report that is younger than a moment is not made anew: ask until it is.
    loop {
        let report = one.req("health", json!({})).await;
        if report["payload"]["sessions"]["count"] == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let newer = |frame: &Value| frame["stateVersion"]["health"].as_u64() > Some(before);
    let told = two
        .until(|frame| frame["event"] == "health" && newer(frame))
        .await;
    assert_eq!(told["payload"]["ok"], true);
}

#[tokio::test]
async fn a_missing_scope_is_said_in_the_words_of_each_version_and_before_existence() {
    // covers: S11
    let world = World::new().await;
    for (protocol, code) in [(3, "INVALID_REQUEST"), (4, "FORBIDDEN")] {
        let (mut client, _) = world.frames(protocol, &READ).await;
        let refused = client.req("no.such.method", json!({})).await;
        assert_eq!(refused["error"]["code"], code);
        assert_eq!(refused["error"]["message"], "missing scope: operator.admin");
        assert_eq!(
            refused["error"]["details"],
            json!({ "code": "MISSING_SCOPE", "missingScope": "operator.admin", "requiredScopes": ["operator.admin"] })
        );
        let (mut admin, _) = world.frames(protocol, &["operator.admin"]).await;
        let unknown = admin.req("no.such.method", json!({})).await;
        assert_eq!(
            unknown["error"]["message"],
            "unknown method: no.such.method"
        );
        assert_eq!(unknown["error"]["code"], "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn whoever_may_not_read_learns_from_hello_only_that_the_gateway_works() {
    // covers: S11
    let world = World::new().await;
    world.send("private matters", "x").await;
    world.ok("health", json!({})).await;
    let (_client, hello) = world.frames(4, &["operator.pairing"]).await;
    assert_eq!(hello["snapshot"]["health"]["ok"], true);
    assert_eq!(hello["snapshot"]["presence"], json!([]));
    assert!(!hello.to_string().contains("private matters"));
    let (_client, hello) = world.frames(4, &READ).await;
    assert_eq!(hello["snapshot"]["presence"][0]["mode"], "gateway");
}

#[tokio::test]
async fn a_wrong_parameter_is_named_with_its_place_and_a_wrong_frame_keeps_the_connection() {
    // covers: D7
    let world = World::new().await;
    let (mut client, _) = world.frames(3, &["operator.admin"]).await;
    let wrong = client
        .req(
            "chat.history",
            json!({ "sessionKey": "main", "limit": "many" }),
        )
        .await;
    let message = wrong["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("invalid chat.history params: at /limit: "),
        "{message}"
    );
    let missing = client
        .req("chat.send", json!({ "sessionKey": "main", "message": "x" }))
        .await;
    assert_eq!(
        missing["error"]["message"],
        "invalid chat.send params: must have required property 'idempotencyKey'"
    );
    let odd = client.req("agents.list", json!({ "color": "red" })).await;
    assert!(
        odd["error"]["message"]
            .as_str()
            .unwrap()
            .contains("unexpected property 'color'")
    );
    let frames = [
        (
            json!({ "type": "req", "id": "a", "method": "health", "color": 1 }),
            "a",
        ),
        (json!({ "type": "req", "method": "health" }), "invalid"),
        (json!([]), "invalid"),
    ];
    for (frame, id) in frames {
        client.say(frame).await;
        let refused = client.next().await;
        assert_eq!(
            (&refused["type"], &refused["id"]),
            (&json!("res"), &json!(id))
        );
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("invalid request frame:"), "{message}");
    }
    assert_eq!(client.req("health", json!({})).await["ok"], true);
}

#[tokio::test]
async fn requests_that_follow_connect_at_once_are_answered_after_hello_in_order() {
    let world = World::new().await;
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    client.say(connect(4, TOKEN, &READ)).await;
    for n in 0..15 {
        client
            .say(json!({ "type": "req", "id": n.to_string(), "method": "agents.list" }))
            .await;
    }
    assert_eq!(client.next().await["payload"]["type"], "hello-ok");
    let mut answered = Vec::new();
    while answered.len() < 15 {
        let frame = client.next().await;
        if frame["type"] == "res" {
            assert_eq!(frame["ok"], true);
            answered.push(frame["id"].as_str().unwrap().parse::<u32>().unwrap());
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..15).collect::<Vec<_>>());
}

#[tokio::test]
async fn sessions_are_told_to_whoever_subscribed_and_to_nobody_else() {
    let world = World::new().await;
    let (mut all, _) = world.frames(4, &["operator.write"]).await;
    let (mut one, _) = world.frames(4, &READ).await;
    let (mut none, _) = world.frames(4, &READ).await;
    let subscribed = all.req("sessions.subscribe", json!({})).await;
    assert_eq!(subscribed["payload"], json!({ "subscribed": true }));
    let with_list = all.req("sessions.subscribe", json!({ "limit": 5 })).await;
    assert!(with_list["payload"]["list"]["sessions"].is_array());
    let asked = json!({ "key": "b", "includeApprovals": true });
    let followed = one.req("sessions.messages.subscribe", asked).await;
    assert_eq!(
        followed["payload"],
        json!({ "subscribed": true, "key": "agent:main:b" })
    );
    world.send("a", "for a").await;
    world.work("answer a").await;
    world.send("b", "for b").await;
    world.work("answer b").await;
    let heard = all
        .all_until(|f| {
            f["payload"]["sessionKey"] == "agent:main:b" && f["payload"]["phase"] == "end"
        })
        .await;
    let words: Vec<&str> = heard
        .iter()
        .filter(|frame| frame["event"] == "session.message")
        .map(|frame| {
            frame["payload"]["message"]["content"][0]["text"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(words, ["for a", "answer a", "for b", "answer b"]);
    let row = &heard.last().unwrap()["payload"]["session"];
    assert_eq!(
        (&row["key"], &row["hasActiveRun"]),
        (&json!("agent:main:b"), &json!(false))
    );
    let heard = one
        .all_until(|frame| frame["payload"]["phase"] == "end")
        .await;
    assert!(
        heard
            .iter()
            .filter(
                |frame| frame["event"] == "sessions.changed" || frame["event"] == "session.message"
            )
            .all(|frame| frame["payload"]["sessionKey"] == "agent:main:b")
    );
    let heard = none.all_until(|f| f["payload"]["state"] == "final").await;
    assert!(
        heard
            .iter()
            .all(|frame| frame["event"] != "sessions.changed")
    );
    all.req("sessions.unsubscribe", json!({})).await;
    let over_http = world.rpc("sessions.subscribe", json!({})).await;
    assert_eq!(over_http["error"]["data"]["code"], "INVALID_REQUEST");
}

#[tokio::test]
async fn a_question_of_an_agent_appears_to_other_programs_and_can_be_answered_there() {
    // covers: S31
    let world = World::new().await;
    let (mut reviewer, _) = world.frames(3, &["operator.approvals"]).await;
    let (mut reader, _) = world.frames(3, &READ).await;
    world.send("main", "write a").await;
    let claim = world.claim().await;
    let id = ask(&world, &claim).await.to_string();
    let asked = event(&mut reviewer, "exec.approval.requested").await;
    assert_eq!(asked["payload"]["id"], id);
    assert_eq!(asked["payload"]["request"]["command"], "write 1 byte to a");
    let listed = reviewer.req("exec.approval.list", json!({})).await;
    assert_eq!(listed["payload"][0]["id"], id);
    let view = reviewer.req("approval.get", json!({ "id": id })).await;
    assert_eq!(view["payload"]["approval"]["status"], "pending");
    // It must be asked each time, so a lasting answer is not on offer.
    let always = json!({ "id": id, "decision": "allow-always" });
    let refused = reviewer.req("exec.approval.resolve", always).await;
    assert_eq!(refused["error"]["code"], "INVALID_REQUEST");
    let bad = reviewer
        .req(
            "exec.approval.resolve",
            json!({ "id": id, "decision": "maybe" }),
        )
        .await;
    assert_eq!(bad["error"]["message"], "invalid decision");
    let once = json!({ "id": id, "decision": "allow-once" });
    let answered = reviewer.req("exec.approval.resolve", once.clone()).await;
    assert_eq!(answered["payload"], json!({ "ok": true }));
    let again = reviewer.req("exec.approval.resolve", once).await;
    assert_eq!(again["error"]["message"], "unknown or expired approval id");
    let woken = world.claim().await;
    assert!(matches!(woken.signals.first(), Some(Signal::Answer { .. })));
    let view = reviewer.req("approval.get", json!({ "id": id })).await;
    assert_eq!(view["payload"]["approval"]["status"], "allowed");
    let refused = reader.req("exec.approval.list", json!({})).await;
    assert_eq!(
        refused["error"]["message"],
        "missing scope: operator.approvals"
    );
}

#[tokio::test]
async fn a_question_of_a_client_is_answered_by_another_and_the_asker_hears_it_once_or_twice() {
    // covers: S31
    let world = World::new().await;
    let (mut asker, _) = world.frames(3, &["operator.approvals"]).await;
    let (mut reviewer, _) = world.frames(4, &["operator.approvals"]).await;
    let question = |id: &str, two_phase: bool| {
        json!({ "type": "req", "id": id, "method": "exec.approval.request", "params": {
            "id": id, "command": "echo hi", "host": "node", "twoPhase": two_phase, "timeoutMs": 60_000,
        } })
    };
    asker.say(question("q1", false)).await;
    let asked = event(&mut reviewer, "exec.approval.requested").await;
    assert_eq!(asked["payload"]["request"]["command"], "echo hi");
    let yes = json!({ "id": "q1", "decision": "allow-always" });
    assert_eq!(reviewer.req("exec.approval.resolve", yes).await["ok"], true);
    let told = event(&mut asker, "exec.approval.resolved").await;
    assert_eq!(told["payload"]["decision"], "allow-always");
    let answer = asker.until(|frame| frame["type"] == "res").await;
    assert_eq!(answer["payload"]["decision"], "allow-always");

    asker.say(question("q2", true)).await;
    let first = asker.until(|frame| frame["type"] == "res").await;
    assert_eq!(first["payload"]["status"], "accepted");
    let no = json!({ "id": "q2", "kind": "exec", "decision": "deny" });
    let applied = reviewer.req("approval.resolve", no).await;
    assert_eq!(applied["payload"]["approval"]["status"], "denied");
    let second = asker.until(|frame| frame["type"] == "res").await;
    assert_eq!(
        (&second["id"], &second["payload"]["decision"]),
        (&json!("q2"), &json!("deny"))
    );
    let waited = asker
        .req("exec.approval.waitDecision", json!({ "id": "q2" }))
        .await;
    assert_eq!(waited["payload"]["decision"], "deny");

    let silent = json!({ "id": "q3", "command": "x", "timeoutMs": 1 });
    let nobody = asker.req("exec.approval.request", silent).await;
    assert_eq!(nobody["payload"]["decision"], Value::Null);
}

#[tokio::test]
async fn stop_words_stop_what_is_under_way_and_are_words_otherwise() {
    let world = World::new().await;
    let (mut client, _) = world.frames(4, &["operator.write"]).await;
    let send = |message: &str, key: &str| json!({ "sessionKey": "main", "message": message, "idempotencyKey": key });
    let word = client.req("chat.send", send("stop", "k1")).await;
    assert_eq!(word["payload"]["status"], "started");
    let claim = world.claim().await;
    let stopping = async {
        let stopped = client.req("chat.send", send("Stop", "k2")).await;
        assert_eq!(stopped["payload"]["aborted"], true);
        assert_eq!(stopped["payload"]["runIds"], json!(["k1"]));
        client
    };
    let cancelled = async {
        loop {
            let lease = std::time::Duration::from_secs(30);
            let signals = world
                .store
                .extend(claim.run.id, claim.fence, lease)
                .await
                .unwrap();
            if let Some(Signal::Cancel { by }) = signals.into_iter().next() {
                return by;
            }
            tokio::task::yield_now().await;
        }
    };
    let finish = async {
        let by = cancelled.await;
        world
            .append(
                &claim,
                vec![Entry::CancelAsked { by: by.clone() }, World::cancelled(by)],
            )
            .await;
    };
    let (_client, ()) = tokio::join!(stopping, finish);
}

#[tokio::test]
async fn an_abort_is_told_before_it_is_answered() {
    let world = World::new().await;
    let (mut client, _) = world.frames(3, &["operator.write"]).await;
    let run = world.send("main", "long").await;
    let claim = world.claim().await;
    world.pulse(&claim, "partial words");
    client
        .until(|frame| frame["payload"]["state"] == "delta")
        .await;
    let abort = json!({ "type": "req", "id": "a", "method": "chat.abort", "params": { "sessionKey": "main", "runId": run } });
    client.say(abort).await;
    let finish = async {
        loop {
            let lease = std::time::Duration::from_secs(30);
            let signals = world
                .store
                .extend(claim.run.id, claim.fence, lease)
                .await
                .unwrap();
            if let Some(Signal::Cancel { by }) = signals.into_iter().next() {
                let entries = vec![Entry::CancelAsked { by: by.clone() }, World::cancelled(by)];
                return world.append(&claim, entries).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let (heard, ()) = tokio::join!(client.all_until(|frame| frame["type"] == "res"), finish);
    let aborted = heard
        .iter()
        .find(|f| f["payload"]["state"] == "aborted")
        .unwrap();
    assert_eq!(aborted["payload"]["stopReason"], "rpc");
    assert_eq!(
        aborted["payload"]["message"]["content"][0]["text"],
        "partial words"
    );
    let answer = heard.last().unwrap();
    assert_eq!(
        answer["payload"],
        json!({ "ok": true, "aborted": true, "runIds": [run] })
    );
}

#[tokio::test]
async fn what_is_off_says_so_in_the_shape_that_clients_know() {
    let world = World::new().await;
    let (mut client, _) = world.frames(4, &["operator.admin"]).await;
    let empty = [
        (
            "cron.list",
            json!({ "limit": 20, "offset": 0 }),
            "/jobs",
            json!([]),
        ),
        (
            "cron.list",
            json!({ "limit": 20, "offset": 0 }),
            "/limit",
            json!(20),
        ),
        ("cron.status", json!({}), "/enabled", json!(false)),
        ("channels.status", json!({}), "/channelOrder", json!([])),
        ("skills.status", json!({}), "/skills", json!([])),
        ("last-heartbeat", json!({}), "", Value::Null),
        (
            "set-heartbeats",
            json!({ "enabled": false }),
            "/enabled",
            json!(false),
        ),
        ("voicewake.get", json!({}), "/triggers", json!([])),
        ("usage.status", json!({}), "/providers", json!([])),
        ("question.list", json!({}), "/questions", json!([])),
        ("exec.approvals.get", json!({}), "/exists", json!(false)),
        ("logs.tail", json!({}), "/lines", json!([])),
        (
            "users.prefs.get",
            json!({ "keys": ["a"] }),
            "/status",
            json!("no_durable_identity"),
        ),
    ];
    for (method, params, pointer, value) in empty {
        let answer = client.req(method, params).await;
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        let found = answer["payload"]
            .pointer(pointer)
            .cloned()
            .unwrap_or_default();
        assert_eq!(found, value, "{method}");
    }
    let refused = [
        ("wake", json!({ "mode": "now", "text": "x" }), "UNAVAILABLE"),
        ("system-event", json!({ "text": "x" }), "UNAVAILABLE"),
        ("set-heartbeats", json!({ "enabled": true }), "UNAVAILABLE"),
        (
            "send",
            json!({ "to": "x", "message": "y", "idempotencyKey": "k" }),
            "INVALID_REQUEST",
        ),
        (
            "poll",
            json!({ "to": "x", "question": "y", "options": ["a"], "idempotencyKey": "k" }),
            "INVALID_REQUEST",
        ),
        (
            "sessions.patch",
            json!({ "key": "main", "thinkingLevel": "high" }),
            "INVALID_REQUEST",
        ),
        ("cron.add", json!({}), "INVALID_REQUEST"),
    ];
    for (method, params, code) in refused {
        let answer = client.req(method, params).await;
        assert_eq!(answer["error"]["code"], code, "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_session_that_never_was_begins_with_its_reset() {
    let world = World::new().await;
    let (mut client, _) = world.frames(3, &["operator.admin"]).await;
    let reset = client
        .req("sessions.reset", json!({ "key": "agent:main:scratch" }))
        .await;
    assert_eq!(reset["payload"]["key"], "agent:main:scratch");
    assert!(reset["payload"]["entry"]["sessionId"].is_string());
    let stranger = client
        .req("sessions.reset", json!({ "key": "agent:nobody:x" }))
        .await;
    assert_eq!(stranger["error"]["details"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn a_changed_setting_is_told() {
    let world = World::new().await;
    let (mut client, _) = world.frames(4, &READ).await;
    world
        .ok("config.set", json!({ "key": "gateway.port", "value": 2 }))
        .await;
    let told = event(&mut client, "config.changed").await;
    assert_eq!(told["payload"]["keys"], json!(["gateway.port"]));
    let shown = client.req("config.get", json!({})).await;
    assert!(!shown.to_string().contains("hunter2"));
    assert_eq!(shown["payload"]["parsed"], shown["payload"]["config"]);
}

#[tokio::test]
async fn what_a_surface_shows_first_comes_in_one_answer() {
    let world = World::new().await;
    let (mut client, _) = world.frames(4, &["operator.write"]).await;
    world.send("main", "one").await;
    world.work("two").await;
    let shown = client
        .req(
            "chat.startup",
            json!({ "sessionKey": "main", "limit": 80, "maxBytes": 262_144 }),
        )
        .await;
    let shown = &shown["payload"];
    assert_eq!(shown["sessionKey"], "main");
    assert_eq!(shown["messages"].as_array().unwrap().len(), 2);
    assert_eq!(shown["sessionInfo"]["key"], "agent:main:main");
    assert_eq!(
        shown["agentsList"]["agents"][0]["model"]["primary"],
        "test/echo"
    );
    let older = client
        .req(
            "chat.history",
            json!({ "sessionKey": "main", "limit": 1, "offset": 1 }),
        )
        .await;
    assert_eq!(older["payload"]["messages"][0]["content"][0]["text"], "one");
    let preview = client
        .req("sessions.preview", json!({ "keys": ["main", "nowhere"] }))
        .await;
    assert_eq!(preview["payload"]["previews"][0]["items"][1]["text"], "two");
    assert_eq!(preview["payload"]["previews"][1]["status"], "missing");
    let cost = client.req("usage.cost", json!({ "days": 2 })).await;
    assert_eq!(cost["payload"]["totals"]["totalTokens"], 14);
    let name = client
        .req("agent.identity.get", json!({ "sessionKey": "main" }))
        .await;
    assert_eq!(
        name["payload"],
        json!({ "agentId": "main", "name": "Main", "avatar": "M" })
    );
}
