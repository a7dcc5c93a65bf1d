//! JSON-RPC over HTTP: the envelope to the letter, and the methods.

use serde_json::{Value, json};

use adjutant_domain::approval::{Approval, ApprovalState};
use adjutant_domain::id::{ApprovalId, CallId};
use adjutant_domain::message::Part;
use adjutant_domain::run::{Entry, Signal, Wake};
use adjutant_domain::tool::ActionClass;
use adjutant_ports::store::Claim;

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
    let history = world
        .ok("chat.history", json!({ "sessionKey": "main" }))
        .await;
    let texts: Vec<&Value> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["content"][0]["text"])
        .collect();
    assert_eq!(texts, ["hello there", "general greetings"]);
    assert_eq!(history["sessionKey"], "main");
    let same = world
        .ok("chat.history", json!({ "sessionKey": "agent:main:main" }))
        .await;
    assert_eq!(same["messages"], history["messages"]);
}

#[tokio::test]
async fn every_malformed_envelope_gets_its_exact_code() {
    let world = World::new().await;
    let cases: [(&[u8], i64); 12] = [
        (
            b"{\"jsonrpc\": \"2.0\", \"method\": \"health, \"params\": \"bar\", \"baz]",
            -32700,
        ),
        (b"", -32700),
        (b"\"\xff\xfe\"", -32700),
        (
            br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"health"}"#,
            -32700,
        ),
        (b"[]", -32600),
        (b"1", -32600),
        (br#"{"jsonrpc":"2.0","method":1,"params":"bar"}"#, -32600),
        (br#"{"jsonrpc":"1.0","id":1,"method":"health"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":{},"method":"health"}"#, -32600),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"no.such.method"}"#,
            -32601,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"health","params":[1]}"#,
            -32602,
        ),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"health","params":{"x":1}}"#,
            -32602,
        ),
    ];
    for (body, code) in cases {
        let (status, text) = world.post(body).await;
        let envelope: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status, 200, "{text}");
        assert_eq!(envelope["error"]["code"], code, "{text}");
        assert_eq!(envelope["jsonrpc"], "2.0");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"health","params":{}{}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let (_, text) = world.post(deep.as_bytes()).await;
    assert!(
        text.contains("-32700") && text.contains("nested deeper than 64"),
        "{text}"
    );
    world.assert_healthy().await;
}

#[tokio::test]
async fn our_errors_share_one_number_and_say_what_they_are() {
    let world = World::new().await;
    let answer = world
        .rpc(
            "threads.show",
            json!({ "threadId": "thr_00000000000000000000000000" }),
        )
        .await;
    assert_eq!(answer["error"]["code"], -32000);
    assert_eq!(answer["error"]["data"]["code"], "NOT_FOUND");
    assert_eq!(answer["error"]["data"]["retryable"], false);
    let answer = world
        .rpc("chat.send", json!({ "sessionKey": "main", "message": "x" }))
        .await;
    let message = "invalid chat.send params: must have required property 'idempotencyKey'";
    assert_eq!(answer["error"]["message"], message);
    let attached =
        json!({ "sessionKey": "main", "message": "x", "idempotencyKey": "a", "attachments": [{}] });
    assert_eq!(
        world.rpc("chat.send", attached).await["error"]["code"],
        -32602
    );
}

#[tokio::test]
async fn a_batch_is_answered_together_and_notifications_are_not_answered() {
    let world = World::new().await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": "a", "method": "health" },
        { "jsonrpc": "2.0", "method": "health" },
        { "foo": "boo" },
        { "jsonrpc": "2.0", "id": 5, "method": "no.such.method" },
        { "jsonrpc": "2.0", "id": null, "method": "agents.list" },
    ]);
    let (status, text) = world.post(batch.to_string().as_bytes()).await;
    let answers: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 200);
    assert_eq!(answers.len(), 4);
    assert_eq!(
        (&answers[0]["id"], &answers[0]["result"]["ok"]),
        (&json!("a"), &json!(true))
    );
    assert_eq!(
        (&answers[1]["id"], &answers[1]["error"]["code"]),
        (&Value::Null, &json!(-32600))
    );
    assert_eq!(
        (&answers[2]["id"], &answers[2]["error"]["code"]),
        (&json!(5), &json!(-32601))
    );
    assert_eq!(answers[3]["result"]["defaultId"], "main");

    let quiet = json!([{ "jsonrpc": "2.0", "method": "health" }, { "jsonrpc": "2.0", "method": "no.such" }]);
    assert_eq!(
        world.post(quiet.to_string().as_bytes()).await,
        (204, String::new())
    );
    let note = json!({ "jsonrpc": "2.0", "method": "memory.add", "params": { "text": "noted" } });
    assert_eq!(world.post(note.to_string().as_bytes()).await.0, 204);
    let listed = world.ok("memory.list", json!({})).await;
    assert_eq!(listed["memories"][0]["text"], "noted");
    let many = vec![json!({ "jsonrpc": "2.0", "id": 1, "method": "health" }); 300];
    let (_, text) = world.post(json!(many).to_string().as_bytes()).await;
    assert!(text.contains("-32600"), "{text}");
}

#[tokio::test]
async fn messages_of_one_batch_are_queued_in_their_order() {
    let world = World::new().await;
    let batch: Vec<Value> = (0..20)
        .map(|n| {
            json!({ "jsonrpc": "2.0", "id": n, "method": "chat.send", "params": {
                "sessionKey": if n % 2 == 0 { "main" } else { "agent:main:main" },
                "message": format!("m{n}"), "idempotencyKey": format!("k{n}"),
            } })
        })
        .collect();
    world.post(json!(batch).to_string().as_bytes()).await;
    let history = world
        .ok("chat.history", json!({ "sessionKey": "main" }))
        .await;
    let texts: Vec<&str> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["content"][0]["text"].as_str())
        .collect();
    assert_eq!(texts, (0..20).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeated_key_gives_the_same_run_and_another_body_is_refused() {
    // covers: R5
    let world = World::new().await;
    let body = json!({ "sessionKey": "main", "message": "once", "idempotencyKey": "same" });
    assert_eq!(
        world.ok("chat.send", body.clone()).await["status"],
        "started"
    );
    assert_eq!(
        world.ok("chat.send", body.clone()).await,
        json!({ "runId": "same", "status": "in_flight" })
    );
    let other = json!({ "sessionKey": "main", "message": "twice", "idempotencyKey": "same" });
    assert_eq!(
        world.rpc("chat.send", other).await["error"]["data"]["code"],
        "IDEMPOTENCY_MISMATCH"
    );
    world.work("done").await;
    assert_eq!(
        world.ok("chat.send", body).await,
        json!({ "runId": "same", "status": "ok" })
    );
    assert_eq!(
        world.ok("runs.list", json!({})).await["runs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let add = json!({ "text": "a fact", "idempotencyKey": "m1" });
    let first = world.ok("memory.add", add.clone()).await;
    assert_eq!(world.ok("memory.add", add).await, first);
    let clash = world
        .rpc(
            "memory.add",
            json!({ "text": "another", "idempotencyKey": "m1" }),
        )
        .await;
    assert_eq!(clash["error"]["data"]["code"], "IDEMPOTENCY_MISMATCH");
    assert_eq!(
        world.ok("memory.list", json!({})).await["memories"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn waiting_is_honest_about_runs_that_are_not_over_or_not_there() {
    let world = World::new().await;
    let unknown = world
        .ok("agent.wait", json!({ "runId": "nope", "timeoutMs": 50 }))
        .await;
    assert_eq!(
        (&unknown["status"], &unknown["state"]),
        (&json!("timeout"), &json!("unknown"))
    );
    let run = world.send("main", "hello").await;
    let queued = world
        .ok("agent.wait", json!({ "runId": run, "timeoutMs": 10 }))
        .await;
    assert_eq!(
        (&queued["status"], &queued["state"]),
        (&json!("timeout"), &json!("queued"))
    );
    let claim = world.claim().await;
    let running = world
        .ok("agent.wait", json!({ "runId": run, "timeoutMs": 10 }))
        .await;
    assert_eq!(running["state"], "running");
    let aborted = world
        .ok("chat.abort", json!({ "sessionKey": "main" }))
        .await;
    assert_eq!(
        aborted,
        json!({ "ok": true, "aborted": true, "runIds": [run] })
    );
    assert_eq!(
        world
            .store
            .extend(claim.run.id, claim.fence, std::time::Duration::from_secs(9))
            .await
            .unwrap()
            .len(),
        1
    );
    let other = world
        .rpc("chat.abort", json!({ "sessionKey": "other", "runId": run }))
        .await;
    assert_eq!(other["error"]["code"], -32600);
    let none = world
        .ok(
            "chat.abort",
            json!({ "sessionKey": "main", "runId": "nope" }),
        )
        .await;
    assert_eq!(none["aborted"], false);
    let stop = json!({ "sessionKey": "main", "message": " /STOP ", "idempotencyKey": "s" });
    assert_eq!(world.ok("chat.send", stop).await["status"], "aborted");
}

#[tokio::test]
async fn a_session_lives_is_continued_elsewhere_and_ends() {
    let world = World::new().await;
    let made = world
        .ok("sessions.create", json!({ "key": "a", "label": "first" }))
        .await;
    let thread = made["entry"]["threadId"].clone();
    let run = world.send("a", "remember the milk").await;
    world.work("noted").await;
    world.ok("agent.wait", json!({ "runId": run })).await;
    let second = world
        .ok("sessions.create", json!({ "key": "b", "threadId": thread }))
        .await;
    assert_eq!(second["entry"]["threadId"], thread);
    let resumed = world.ok("sessions.resume", json!({ "key": "b" })).await;
    assert_eq!(resumed["messages"].as_array().unwrap().len(), 2);
    assert_eq!(
        world
            .ok("sessions.resolve", json!({ "label": "first" }))
            .await["key"],
        "agent:main:a"
    );
    world
        .ok("sessions.patch", json!({ "key": "b", "expiresInMs": 0 }))
        .await;
    let expired = world.rpc("sessions.resume", json!({ "key": "b" })).await;
    assert_eq!(expired["error"]["data"]["code"], "EXPIRED");
    let send = json!({ "sessionKey": "b", "message": "x", "idempotencyKey": "late" });
    assert_eq!(
        world.rpc("chat.send", send).await["error"]["data"]["code"],
        "EXPIRED"
    );
    let history = world.ok("chat.history", json!({ "sessionKey": "b" })).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 2);
    world.ok("sessions.reset", json!({ "key": "b" })).await;
    let resumed = world.ok("sessions.resume", json!({ "key": "b" })).await;
    assert_eq!(resumed["messages"], json!([]));
    let found = world.ok("threads.search", json!({ "query": "milk" })).await;
    assert_eq!(found["hits"][0]["threadId"], thread);
    let exported = world
        .ok("threads.export", json!({ "threadId": thread }))
        .await;
    assert!(
        exported["text"]
            .as_str()
            .unwrap()
            .contains("remember the milk")
    );
    let gone = world
        .ok(
            "sessions.delete",
            json!({ "key": "a", "deleteTranscript": true }),
        )
        .await;
    assert_eq!(
        (&gone["deleted"], &gone["archived"]),
        (&json!(true), &json!([]))
    );
    let listed = world.ok("sessions.list", json!({})).await;
    assert_eq!(
        (&listed["count"], &listed["totalCount"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn agents_are_made_at_the_lowest_trust_and_edits_do_not_overwrite_each_other() {
    let world = World::new().await;
    let file = json!({ "name": "helper", "display_name": "Helper", "system_prompt": "Help.", "limits": { "max_steps": 3 } });
    let made = world.ok("agents.create", json!({ "agent": file })).await;
    assert_eq!(made["agent"]["trustLevel"], 1);
    assert_eq!(made["agent"]["limits"]["maxSteps"], 3);
    let again = world
        .rpc("agents.create", json!({ "agent": { "name": "helper" } }))
        .await;
    assert_eq!(again["error"]["data"]["code"], "CONFLICT");
    let raised = world
        .rpc(
            "agents.update",
            json!({ "agent": { "name": "helper", "trustLevel": 5 } }),
        )
        .await;
    assert_eq!(raised["error"]["code"], -32602);
    let trusted = world
        .ok("agents.trust", json!({ "agentId": "helper", "level": 4 }))
        .await;
    assert_eq!(trusted["agent"]["trustLevel"], 4);
    let stale =
        json!({ "agent": { "name": "helper", "description": "x" }, "revision": made["revision"] });
    assert_eq!(
        world.rpc("agents.update", stale).await["error"]["data"]["code"],
        "CONFLICT"
    );
    let auto = json!({ "agent": { "name": "a2", "approvalPolicy": "auto" } });
    assert_eq!(
        world.rpc("agents.create", auto).await["error"]["code"],
        -32602
    );
    let caps = world
        .ok(
            "budget.limits.set",
            json!({ "agentId": "helper", "scope": "day", "limitMicros": 5 }),
        )
        .await;
    assert_eq!(caps["inForce"], json!({ "dayMicros": 5 }));
    let audit = world.ok("audit.list", json!({})).await;
    let actions: Vec<&str> = audit["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["action"].as_str())
        .collect();
    assert_eq!(
        actions,
        [
            "budget.limit",
            "agent.update",
            "agent.trust",
            "agent.create"
        ]
    );
    assert_eq!(
        world
            .ok("agents.delete", json!({ "agentId": "helper" }))
            .await["deleted"],
        true
    );
}

#[tokio::test]
async fn secrets_in_settings_are_masked_and_a_mask_is_not_saved() {
    // covers: S46
    let world = World::new().await;
    let shown = world.ok("config.get", json!({})).await;
    assert!(!shown.to_string().contains("hunter2"));
    let saved = world
        .rpc(
            "config.set",
            json!({ "key": "gateway", "value": shown["config"]["gateway"] }),
        )
        .await;
    assert_eq!(saved["error"]["code"], -32602);
    let typo = world
        .rpc("config.get", json!({ "key": "gateway.prot" }))
        .await;
    assert!(
        typo["error"]["message"]
            .as_str()
            .unwrap()
            .contains("gateway.port")
    );
}

#[tokio::test]
async fn more_requests_than_the_rate_allows_are_told_when_to_come_back() {
    let world = World::with(|config| {
        config.rate.burst = 2;
        config.rate.requests_per_minute = 6;
    })
    .await;
    world.send("a", "1").await;
    world.send("b", "2").await;
    let body = json!({ "sessionKey": "c", "message": "3", "idempotencyKey": "k3" });
    let answer = world.rpc("chat.send", body).await;
    assert_eq!(answer["error"]["data"]["code"], "RATE_LIMITED");
    let ms = answer["error"]["data"]["retryAfterMs"].as_u64().unwrap();
    assert!((1..=10_000).contains(&ms), "{ms}");
    world.assert_healthy().await;
}

#[tokio::test]
async fn the_document_of_the_interface_lists_every_method() {
    let world = World::new().await;
    let document = world.ok("rpc.discover", json!({})).await;
    assert_eq!(document["openrpc"], "1.3.2");
    let listed: Vec<&str> = document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["name"].as_str())
        .collect();
    let table: Vec<&str> = adjutant_protocol::specs().map(|spec| spec.name).collect();
    assert_eq!(listed, table);
}

#[tokio::test]
async fn a_run_can_be_read_and_explained() {
    let world = World::new().await;
    let run = world.send("main", "why?").await;
    world.work("because").await;
    world.ok("agent.wait", json!({ "runId": run })).await;
    let log = world.ok("runs.log", json!({ "runId": run })).await;
    let kinds: Vec<&str> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["entry"]["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "accepted",
            "claimed",
            "model_asked",
            "model_replied",
            "finished"
        ]
    );
    let why = world.ok("trace.why", json!({ "runId": run })).await;
    assert_eq!(why["costMicros"], 42);
    assert!(
        why["steps"]
            .as_array()
            .unwrap()
            .iter()
            .any(|step| step["type"] == "model")
    );
    let spent = world
        .ok("budget.usage", json!({ "groupBy": "model" }))
        .await;
    assert_eq!(
        (&spent["rows"][0]["group"], &spent["total"]["usedMicros"]),
        (&json!("test/echo"), &json!(42))
    );
    assert_eq!(world.ok("verify.run", json!({})).await["ok"], true);
    let (status, text) = world.http("GET", "/metrics", &[], b"").await;
    assert_eq!(status, 401, "{text}");
    let token = format!("Authorization: Bearer {}", crate::world::TOKEN);
    let (status, text) = world.http("GET", "/metrics", &[&token], b"").await;
    assert!(
        status == 200 && text.contains("adjutant_rpc_requests_total"),
        "{text}"
    );
}

/// A run that asks whether it may write, as a worker would leave it.
pub(crate) async fn ask(world: &World, claim: &Claim) -> ApprovalId {
    let now = claim.log.last().unwrap().at;
    let call = CallId::mint(now, 7);
    let id = ApprovalId::mint(now, claim.run.id.as_u128() ^ 0x5555);
    let until = now.plus(std::time::Duration::from_secs(600));
    let (_, mut entries) = world.reply("");
    if let Some(Entry::ModelReplied { parts, .. }) = entries.last_mut() {
        *parts = vec![Part::ToolCall {
            call,
            wire_id: "w1".to_owned(),
            name: "file_write".to_owned(),
            args: json!({ "path": "a", "content": "b" }),
        }];
    }
    let approval = Approval {
        id,
        owner: claim.run.owner.clone(),
        run: claim.run.id,
        call,
        session: claim.run.session,
        session_key: claim.run.session_key.clone(),
        agent: claim.run.agent.clone(),
        tool: "file_write".to_owned(),
        class: ActionClass::Write,
        digest: "d".to_owned(),
        canonical: json!({ "path": "a" }),
        shown: "write 1 byte to a".to_owned(),
        reason: "first use".to_owned(),
        grant_key: None,
        state: ApprovalState::Open,
        created_at: now,
        expires_at: until,
        answered_by: None,
        choice: None,
    };
    entries.push(Entry::CallHeld {
        approval: Box::new(approval),
        trail: vec![],
    });
    entries.push(Entry::Parked {
        until: Wake::Approval { until },
    });
    world.append(claim, entries).await;
    id
}

#[tokio::test]
async fn a_question_is_shown_answered_once_and_reaches_the_run() {
    let world = World::new().await;
    let run = world.send("main", "write it").await;
    let id = ask(&world, &world.claim().await).await.to_string();
    let waited = world
        .ok("agent.wait", json!({ "runId": run, "timeoutMs": 20 }))
        .await;
    assert_eq!(
        (&waited["status"], &waited["state"]),
        (&json!("timeout"), &json!("waiting_approval"))
    );
    assert_eq!(waited["approvals"], json!([id]));
    let listed = world.ok("approvals.list", json!({})).await;
    assert_eq!(listed["approvals"][0]["shown"], "write 1 byte to a");
    let short = &id[id.len() - 6..];
    let vague = world
        .rpc(
            "approvals.resolve",
            json!({ "id": short, "decision": "for" }),
        )
        .await;
    assert_eq!(vague["error"]["code"], -32602);
    let answered = world
        .ok(
            "approvals.resolve",
            json!({ "id": short, "decision": "allow-once" }),
        )
        .await;
    assert_eq!(answered["approval"]["state"], "allowed");
    assert_eq!(answered["approval"]["answeredBy"], "http:token");
    let late = world
        .rpc("approvals.resolve", json!({ "id": id, "decision": "deny" }))
        .await;
    assert_eq!(late["error"]["data"]["code"], "CONFLICT");
    assert_eq!(
        world.ok("approvals.list", json!({})).await["approvals"],
        json!([])
    );
    assert_eq!(
        world.ok("approvals.history", json!({})).await["approvals"][0]["id"],
        id
    );
    let again = world.claim().await;
    assert_eq!(again.run.name(), run);
    assert!(
        again
            .signals
            .iter()
            .any(|signal| matches!(signal, Signal::Answer { .. })),
        "{:?}",
        again.signals
    );
    let audit = world.ok("audit.list", json!({ "limit": 1 })).await;
    assert!(audit["records"][0]["by"] == "http:token", "{audit}");
}
