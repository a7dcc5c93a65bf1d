//! Nodes over real sockets: asked, allowed, armed, away, and lying.

use serde_json::{Value, json};

use crate::key::{Ask, Key};
use crate::world::{Client, World};

const WHICH: &str = "system.which";

/// A node that was let in by an operator, connected.
async fn seat(world: &World, key: &Key, commands: &[&'static str]) -> Client {
    let ask = Ask::node(commands);
    match world.device(key, &ask).await {
        crate::key::Ended::In(client, _) => *client,
        crate::key::Ended::Out { error, .. } => {
            let id = &error["details"]["requestId"];
            world
                .ok("device.pair.approve", json!({ "requestId": id }))
                .await;
            world.device(key, &ask).await.hello().0
        }
    }
}

/// The next request to a node.
async fn asked(node: &mut Client) -> Value {
    loop {
        let frame = node.next().await;
        if frame["event"] == "node.invoke.request" {
            assert!(frame["seq"].is_null(), "aimed at one socket: no number");
            return frame["payload"].clone();
        }
    }
}

/// What the gateway says to an answer of a node.
async fn answer(node: &mut Client, params: Value) -> Value {
    node.say(
        json!({ "type": "req", "id": "r1", "method": "node.invoke.result", "params": params }),
    )
    .await;
    loop {
        let frame = node.next().await;
        if frame["type"] == "res" && frame["id"] == "r1" {
            return frame;
        }
    }
}

fn done(request: &Value, payload: &Value) -> Value {
    json!({ "id": request["id"], "nodeId": request["nodeId"], "ok": true, "payloadJSON": payload.to_string() })
}

fn invoke(key: &Key, command: &str, params: Value, idempotency: &str) -> Value {
    json!({
        "nodeId": key.id(), "command": command, "params": params, "timeoutMs": 20_000, "idempotencyKey": idempotency,
    })
}

async fn refused(world: &World, params: Value) -> Value {
    let envelope = world.rpc("node.invoke", params).await;
    assert!(envelope.get("result").is_none(), "{envelope}");
    envelope["error"].clone()
}

#[tokio::test]
async fn a_node_is_asked_and_what_it_says_arrives_in_the_recorded_shape() {
    let world = World::new().await;
    let key = Key::new("node");
    let mut node = seat(&world, &key, &[WHICH, "device.info"]).await;
    let params = invoke(&key, WHICH, json!({ "bins": ["uname"] }), "k1");
    let (told, ()) = tokio::join!(world.ok("node.invoke", params.clone()), async {
        let request = asked(&mut node).await;
        assert_eq!(request["command"], WHICH);
        assert_eq!(request["paramsJSON"], r#"{"bins":["uname"]}"#);
        assert!(request["timeoutMs"].as_u64().is_some_and(|it| it <= 20_000));
        let taken = answer(&mut node, done(&request, &json!({ "bins": {} }))).await;
        assert_eq!(taken["payload"], json!({ "ok": true }));
    });
    assert_eq!(
        told,
        json!({
            "ok": true, "nodeId": key.id(), "command": WHICH, "payload": { "bins": {} }, "payloadJSON": r#"{"bins":{}}"#,
        })
    );
    // The same key is the same request: the node is not asked again.
    assert_eq!(world.ok("node.invoke", params).await, told);
    let other = invoke(&key, WHICH, json!({ "bins": ["other"] }), "k1");
    let error = refused(&world, other).await;
    assert_eq!(error["data"]["code"], "IDEMPOTENCY_MISMATCH");

    let list = world.ok("node.list", json!({})).await;
    let row = &list["nodes"][0];
    assert_eq!(
        (&row["connected"], &row["paired"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(row["commands"], json!(["device.info", WHICH]));
    assert_eq!(row["displayName"], "a box");
    let shown = world
        .ok("node.describe", json!({ "nodeId": "a box" }))
        .await;
    assert_eq!(shown["nodeId"], key.id());
    drop(node);
}

#[tokio::test]
async fn a_request_survives_a_lost_connection() {
    // covers: R5
    let world = World::new().await;
    let key = Key::new("node");
    let mut node = seat(&world, &key, &[WHICH]).await;
    let params = invoke(&key, WHICH, json!({ "bins": [] }), "k1");
    let (told, ()) = tokio::join!(world.ok("node.invoke", params), async {
        let first = asked(&mut node).await;
        drop(node);
        let mut node = seat(&world, &key, &[WHICH]).await;
        let again = asked(&mut node).await;
        assert_eq!(
            (&again["id"], &again["idempotencyKey"]),
            (&first["id"], &first["idempotencyKey"])
        );
        answer(&mut node, done(&again, &json!(1))).await;
    });
    assert_eq!(told["payload"], 1);
}

#[tokio::test]
async fn what_acts_is_given_twice_only_to_a_node_that_remembers_its_keys() {
    // covers: R4
    let world = World::new().await;
    let key = Key::new("node");
    let mut node = seat(&world, &key, &["system.run", "device.info"]).await;
    let mut params = invoke(&key, "system.run", json!({ "command": ["true"] }), "acts");
    params["timeoutMs"] = json!(3_000);
    let (error, ()) = tokio::join!(refused(&world, params), async {
        assert_eq!(asked(&mut node).await["command"], "system.run");
        drop(node);
        let mut node = seat(&world, &key, &["system.run", "device.info"]).await;
        let look = invoke(&key, "device.info", json!({}), "looks");
        let (_, ()) = tokio::join!(world.ok("node.invoke", look), async {
            let request = asked(&mut node).await;
            assert_eq!(
                request["command"], "device.info",
                "it might be carried out twice"
            );
            answer(&mut node, done(&request, &json!({}))).await;
        });
    });
    assert_eq!(error["message"], "node invoke timed out");
}

#[tokio::test]
async fn a_node_that_is_away_is_waited_for_only_if_the_caller_says_so() {
    let world = World::new().await;
    let key = Key::new("node");
    let node = seat(&world, &key, &[WHICH]).await;
    drop(node);
    let away = async || {
        let list = world.ok("node.list", json!({})).await;
        list["nodes"][0]["connected"] == false
    };
    while !away().await {
        tokio::task::yield_now().await;
    }
    let mut params = invoke(&key, WHICH, json!({}), "k1");
    let error = refused(&world, params.clone()).await;
    assert_eq!(error["message"], "node not connected");
    assert_eq!(error["data"]["details"]["code"], "NOT_CONNECTED", "{error}");
    params["queue"] = json!(true);
    let (told, ()) = tokio::join!(world.ok("node.invoke", params), async {
        let mut node = seat(&world, &key, &[WHICH]).await;
        let request = asked(&mut node).await;
        answer(&mut node, done(&request, &json!("late but here"))).await;
    });
    assert_eq!(told["payload"], "late but here");
    let unknown = invoke(&Key::new("nobody"), WHICH, json!({}), "k2");
    assert_eq!(
        refused(&world, unknown).await["message"],
        "node not connected"
    );
}

#[tokio::test]
async fn a_camera_is_asked_only_while_it_is_armed() {
    let world = World::with(|config| config.nodes.deny.push("camera.clip".to_owned())).await;
    let key = Key::new("phone");
    let mut node = seat(&world, &key, &["camera.snap", "camera.clip"]).await;
    let snap = |n: u32| invoke(&key, "camera.snap", json!({}), &format!("snap-{n}"));
    let error = refused(&world, snap(1)).await;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("node command not allowed"),
        "{error}"
    );
    let details = &error["data"]["details"];
    assert_eq!(
        (&details["reason"], &details["group"]),
        (&json!("not-armed"), &json!("camera"))
    );

    let arm = json!({ "group": "camera", "nodeId": key.id(), "durationMs": 60_000, "uses": 1 });
    let lease = world.ok("node.lease.arm", arm).await;
    assert_eq!(lease["usesLeft"], 1);
    let (told, ()) = tokio::join!(world.ok("node.invoke", snap(2)), async {
        // Nothing came before: what was refused was never forwarded.
        let request = asked(&mut node).await;
        assert_eq!(request["idempotencyKey"], "snap-2");
        answer(&mut node, done(&request, &json!({ "format": "jpg" }))).await;
    });
    assert_eq!(told["payload"]["format"], "jpg");
    let error = refused(&world, snap(3)).await;
    assert_eq!(
        error["data"]["details"]["reason"], "not-armed",
        "its uses are spent"
    );
    let clip = invoke(&key, "camera.clip", json!({}), "clip");
    world
        .ok("node.lease.arm", json!({ "group": "camera" }))
        .await;
    let error = refused(&world, clip).await;
    assert_eq!(
        error["data"]["details"]["reason"], "denied",
        "a lease never helps against it"
    );
    let left = world.ok("node.lease.end", json!({})).await;
    assert_eq!(left["leases"], json!([]));
    for bad in [
        json!({ "group": "camera", "durationMs": 5 }),
        json!({ "group": "shell" }),
        json!({ "group": "camera", "uses": 0 }),
    ] {
        assert!(
            world
                .rpc("node.lease.arm", bad)
                .await
                .get("error")
                .is_some()
        );
    }
}

#[tokio::test]
async fn what_a_node_adds_is_held_back_until_it_is_approved() {
    // covers: S13
    let world = World::new().await;
    let key = Key::new("node");
    // Approved by a person: who was let in without a question has to be paired anew for more.
    drop(seat(&world, &key, &[WHICH, "camera.list"]).await);
    let mut node = seat(&world, &key, &[WHICH, "camera.list", "system.run"]).await;
    let run = |n: &str| invoke(&key, "system.run", json!({ "command": ["true"] }), n);
    let error = refused(&world, run("k1")).await;
    assert_eq!(
        error["data"]["details"]["reason"], "not-approved",
        "{error}"
    );
    let page = world.ok("node.pair.list", json!({})).await;
    let pending = &page["pending"][0];
    assert_eq!(pending["newCommands"], json!(["system.run"]));
    assert_eq!(
        pending["requiredApproveScopes"],
        json!(["operator.pairing", "operator.admin"])
    );

    // Somebody without admin cannot approve a shell.
    let pairing = Ask::operator(&["operator.pairing"]);
    let (mut helper, _) = world.device(&Key::new("helper"), &pairing).await.hello();
    let approve = json!({ "requestId": pending["requestId"] });
    helper
        .say(json!({ "type": "req", "id": "a", "method": "node.pair.approve", "params": approve }))
        .await;
    let refused_reply = loop {
        let frame = helper.next().await;
        if frame["id"] == "a" {
            break frame;
        }
    };
    assert_eq!(
        refused_reply["error"]["code"], "FORBIDDEN",
        "{refused_reply}"
    );

    let done_ = world.ok("node.pair.approve", approve.clone()).await;
    assert_eq!(
        done_["node"]["commands"],
        json!(["camera.list", "system.run", WHICH])
    );
    let resolved = loop {
        let frame = node.next().await;
        if frame["event"] == "node.pair.resolved" {
            break frame["payload"].clone();
        }
    };
    assert_eq!(resolved["decision"], "approved");
    let (told, ()) = tokio::join!(world.ok("node.invoke", run("k2")), async {
        let request = asked(&mut node).await;
        answer(&mut node, done(&request, &json!(0))).await;
    });
    assert_eq!(told["payload"], 0);
    assert!(
        world
            .rpc("node.pair.approve", approve)
            .await
            .get("error")
            .is_some(),
        "answered before"
    );
}

#[tokio::test]
async fn only_who_may_approve_can_say_that_a_program_was_approved() {
    // covers: S31
    let world = World::new().await;
    let key = Key::new("node");
    let mut node = seat(&world, &key, &["system.run"]).await;
    let params = json!({ "command": ["true"], "approved": true, "approvalDecision": "allow-once" });
    let mut expected = vec![];
    for (scopes, says) in [
        (vec!["operator.write"], false),
        (vec!["operator.write", "operator.approvals"], true),
    ] {
        let ask = Ask::operator(&scopes);
        let (mut operator, _) = world.device(&Key::new("operator"), &ask).await.hello();
        let name = format!("k{says}");
        let request = json!({
            "type": "req", "id": "i", "method": "node.invoke", "params": invoke(&key, "system.run", params.clone(), &name),
        });
        operator.say(request).await;
        let request = asked(&mut node).await;
        let given: Value = serde_json::from_str(request["paramsJSON"].as_str().unwrap()).unwrap();
        expected.push((given["approved"] == true, says));
        answer(&mut node, done(&request, &json!(0))).await;
    }
    assert!(
        expected.iter().all(|(given, says)| given == says),
        "{expected:?}"
    );
}

#[tokio::test]
async fn a_lying_node_gets_nothing_and_changes_nothing() {
    // covers: D9
    let world = World::new().await;
    let (key, other_key) = (Key::new("liar"), Key::new("honest"));
    let mut liar = seat(&world, &key, &[WHICH]).await;
    let mut honest = seat(&world, &other_key, &[WHICH]).await;
    let params = invoke(&other_key, WHICH, json!({}), "k1");
    let (told, ()) = tokio::join!(world.ok("node.invoke", params), async {
        let request = asked(&mut honest).await;
        // Somebody else's request, under the other's name and under its own.
        let foreign = answer(&mut liar, done(&request, &json!("lie"))).await;
        assert_eq!(foreign["error"]["message"], "nodeId mismatch");
        let mut own = done(&request, &json!("lie"));
        own["nodeId"] = json!(key.id());
        assert_eq!(answer(&mut liar, own).await["payload"]["ignored"], true);
        for id in ["inv_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense", ""] {
            let unknown = json!({ "id": id, "nodeId": key.id(), "ok": true });
            assert_eq!(
                answer(&mut liar, unknown).await["payload"]["ignored"],
                true,
                "{id}"
            );
        }
        answer(&mut honest, done(&request, &json!("truth"))).await;
        // Twice is once.
        let twice = answer(&mut honest, done(&request, &json!("changed"))).await;
        assert_eq!(twice["payload"]["ignored"], true);
    });
    assert_eq!(told["payload"], "truth");

    // An answer that is no JSON is a failure of the node.
    let params = invoke(&key, WHICH, json!({}), "k2");
    let (error, ()) = tokio::join!(refused(&world, params), async {
        let request = asked(&mut liar).await;
        let odd =
            json!({ "id": request["id"], "nodeId": key.id(), "ok": true, "payloadJSON": "{oops" });
        answer(&mut liar, odd).await;
    });
    assert_eq!(
        error["data"]["details"]["nodeError"]["code"], "INVALID_RESULT",
        "{error}"
    );

    // Operators' methods are closed to it, and a node never invokes another (ND-8).
    liar.say(json!({ "type": "req", "id": "x", "method": "node.invoke", "params": invoke(&other_key, WHICH, json!({}), "k3") }))
        .await;
    let closed = loop {
        let frame = liar.next().await;
        if frame["id"] == "x" {
            break frame;
        }
    };
    assert_eq!(closed["error"]["message"], "unauthorized role: node");
    world.assert_healthy().await;
}

#[tokio::test]
async fn a_node_that_says_nothing_is_given_up_and_is_too_late_afterwards() {
    let world = World::new().await;
    let key = Key::new("node");
    let mut node = seat(&world, &key, &[WHICH]).await;
    let mut params = invoke(&key, WHICH, json!({}), "k1");
    params["timeoutMs"] = json!(1_000);
    let error = refused(&world, params.clone()).await;
    assert_eq!(error["message"], "node invoke timed out");
    let request = asked(&mut node).await;
    let late = answer(&mut node, done(&request, &json!(1))).await;
    assert_eq!(late["payload"]["ignored"], true);
    assert_eq!(
        refused(&world, params).await["message"],
        "node invoke timed out",
        "the same key, the same end"
    );
}

#[tokio::test]
async fn a_second_connection_of_a_node_takes_the_place_of_the_first() {
    let world = World::new().await;
    let key = Key::new("node");
    let mut first = seat(&world, &key, &[WHICH]).await;
    let mut second = seat(&world, &key, &[WHICH]).await;
    let (code, reason, _) = first.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1008, "replaced by a newer connection")
    );
    let params = invoke(&key, WHICH, json!({}), "k1");
    let (told, ()) = tokio::join!(world.ok("node.invoke", params), async {
        let request = asked(&mut second).await;
        answer(&mut second, done(&request, &json!(2))).await;
    });
    assert_eq!(told["payload"], 2);
}

#[tokio::test]
async fn the_calls_of_a_current_node_host_are_answered_as_it_expects() {
    let world = World::new().await;
    let key = Key::new("node");
    let mut node = seat(&world, &key, &[WHICH]).await;
    let calls = [
        (
            "node.event",
            json!({ "event": "node.host.stats", "payloadJSON": "{\"cpuCount\":2}" }),
        ),
        (
            "node.runnerInventory.update",
            json!({ "protocolFeatures": ["node-worker-supervisor-v6"], "workerHost": { "enabled": false } }),
        ),
        ("node.skills.update", json!({ "skills": [] })),
        ("node.pluginTools.update", json!({ "tools": [] })),
        ("skills.bins", json!({})),
        ("node.pending.pull", json!({})),
    ];
    let id = key.id();
    let expected = [
        json!({ "ok": true, "event": "node.host.stats", "handled": true }),
        json!({ "nodeId": id }),
        json!({ "nodeId": id, "skills": [] }),
        json!({ "nodeId": id, "tools": [] }),
        json!({ "bins": [] }),
        json!({ "nodeId": id, "actions": [] }),
    ];
    for ((method, params), expected) in calls.into_iter().zip(expected) {
        node.say(json!({ "type": "req", "id": method, "method": method, "params": params }))
            .await;
        let reply = loop {
            let frame = node.next().await;
            if frame["id"] == method {
                break frame;
            }
        };
        assert_eq!(reply["payload"], expected, "{reply}");
    }
    let list = world.ok("node.list", json!({})).await;
    assert_eq!(list["nodes"][0]["hostStats"]["cpuCount"], 2);
}
