//! Whoever was on the other side of the gateway while a conversation was recorded: the node that an operator asks, the
//! operator that asks a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::device;
use super::transcript::Line;
use crate::world::{Client, TOKEN, World};

/// What the recorded headless node runs.
const COMMANDS: [&str; 4] = [
    "system.execApprovals.get",
    "system.run",
    "system.run.prepare",
    "system.which",
];

/// Seats the node that the operator of this conversation asks, if there is one. It answers what the recorded one did.
pub(crate) async fn node(
    world: &Arc<World>,
    name: &str,
    lines: &[Line],
    ours: &mut BTreeMap<String, String>,
) -> Option<JoinHandle<()>> {
    let node_itself = |line: &Line| line.text("/params/role") == "node";
    if lines.iter().any(node_itself) {
        return None;
    }
    let named = |line: &Line| {
        let id = line.text("/params/nodeId").to_owned();
        (line.is_request() && id.len() == 64).then_some(id)
    };
    let approves = name.ends_with("nodes-approve");
    let recorded = lines.iter().find_map(named);
    let recorded = recorded.or_else(|| approves.then(|| "a node".to_owned()))?;
    ours.insert(recorded.clone(), device::id_of(&recorded));
    let mut answers = BTreeMap::new();
    for line in lines {
        let payload = &line.frame["payload"];
        if let (Some(command), Some(text)) =
            (payload["command"].as_str(), payload["payloadJSON"].as_str())
        {
            answers.insert(command.to_owned(), text.to_owned());
        }
    }
    let file = json!({ "path": "", "exists": false, "hash": "", "file": { "version": 1 } });
    answers.insert("system.execApprovals.get".to_owned(), file.to_string());
    let mut client = if approves {
        // Whoever lets a node in approves what it offers then; what it offers later waits.
        drop(seat(world, &recorded, &COMMANDS[..1]).await);
        seat(world, &recorded, &COMMANDS).await
    } else {
        let client = seat(world, &recorded, &COMMANDS).await;
        approve_surfaces(world).await;
        client
    };
    Some(tokio::spawn(async move {
        loop {
            let frame = client.next().await;
            if frame["event"] != "node.invoke.request" {
                continue;
            }
            let asked = &frame["payload"];
            let text = answers.get(asked["command"].as_str().unwrap_or_default());
            let result = json!({
                "id": asked["id"], "nodeId": asked["nodeId"], "ok": text.is_some(), "payloadJSON": text,
            });
            let answer = json!({
                "type": "req", "id": asked["id"], "method": "node.invoke.result", "params": result,
            });
            client.say(answer).await;
        }
    }))
}

/// Lets the node in and connects it.
async fn seat(world: &World, recorded: &str, commands: &[&str]) -> Client {
    for _ in 0..2 {
        let (client, answer) = knock(world, recorded, commands).await;
        if answer["ok"] == true {
            return client;
        }
        let request = &answer["error"]["details"]["requestId"];
        let approve = json!({ "requestId": request });
        world.ok("device.pair.approve", approve).await;
    }
    panic!("the node is not let in");
}

async fn knock(world: &World, recorded: &str, commands: &[&str]) -> (Client, Value) {
    let mut client = world.ws("/", &[]).await.unwrap();
    let challenge = client.next().await;
    let nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
    let mut params = json!({
        "minProtocol": 3, "maxProtocol": 3, "role": "node", "scopes": [], "caps": ["system"], "commands": commands,
        "client": {
            "id": "node-host", "displayName": "conform-node", "version": "2026.2.26", "platform": "linux", "mode": "node",
        },
        "auth": { "token": TOKEN }, "device": { "id": recorded },
    });
    device::prove(&mut params, &nonce, world.now());
    client
        .say(json!({ "type": "req", "id": "c", "method": "connect", "params": params }))
        .await;
    let answer = client.next().await;
    (client, answer)
}

/// Asks the question that this conversation answers, if it answers one.
pub(crate) async fn ask_before(world: &World, lines: &[Line]) {
    let has = |method: &str| lines.iter().find(|line| line.text("/method") == method);
    let (Some(answer), None) = (has("exec.approval.resolve"), has("exec.approval.request")) else {
        return;
    };
    let id = answer.text("/params/id").to_owned();
    // Shorter ones stand for questions that nobody asked.
    if id.len() < 36 {
        return;
    }
    let call = json!({ "id": id, "command": "echo hi-asked", "host": "node", "twoPhase": true });
    world.ok("exec.approval.request", call).await;
}

/// Gives the answer that somebody else gave, as soon as the question is there.
pub(crate) async fn answer(world: &World, recorded: &Value) {
    let answer = json!({ "id": recorded["id"], "decision": recorded["decision"] });
    for _ in 0..100 {
        let told = world.rpc("exec.approval.resolve", answer.clone()).await;
        if told.get("error").is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("nobody asked {}", recorded["id"]);
}

/// Approves whatever nodes offer.
pub(crate) async fn approve_surfaces(world: &World) {
    let open = world.ok("node.pair.list", json!({})).await;
    for request in open["pending"].as_array().unwrap() {
        let approve = json!({ "requestId": request["requestId"] });
        world.ok("node.pair.approve", approve).await;
    }
}

/// Asks the node of this conversation what it was asked.
pub(crate) fn invoke(world: &Arc<World>, recorded: &Value, ours: &BTreeMap<String, String>) {
    let node = recorded["nodeId"].as_str().unwrap();
    let node = ours
        .get(node)
        .cloned()
        .unwrap_or_else(|| device::id_of(node));
    let text = recorded["paramsJSON"].as_str().unwrap_or("null");
    let params: Value = serde_json::from_str(text).unwrap();
    let call = json!({
        "nodeId": node, "command": recorded["command"], "params": params, "timeoutMs": 15_000,
        "idempotencyKey": recorded["idempotencyKey"],
    });
    let world = Arc::clone(world);
    drop(tokio::spawn(
        async move { world.rpc("node.invoke", call).await },
    ));
}
