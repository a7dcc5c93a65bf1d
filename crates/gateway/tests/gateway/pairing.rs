//! Who decides about devices, who hears of it, and what happens to connections whose credential is taken away.

use serde_json::{Value, json};

use crate::key::{Ask, Ended, Key};
use crate::world::{Client, PROXY, TOKEN, World, connect};

const READ: &str = "operator.read";
const WRITE: &str = "operator.write";
const ADMIN: &str = "operator.admin";
const PAIRING: &str = "operator.pairing";

async fn world() -> World {
    World::with(|config| config.trusted_proxies.push(PROXY.into())).await
}

async fn asks(world: &World, name: &str, ask: &Ask) -> Value {
    world.device(&Key::new(name), ask).await.error()["details"].clone()
}

fn refusal(answer: &Value) -> (&str, &str) {
    let error = &answer["error"];
    (
        error["code"].as_str().unwrap_or_default(),
        error["message"].as_str().unwrap_or_default(),
    )
}

#[tokio::test]
async fn an_approver_needs_the_pairing_scope_and_every_scope_that_is_granted() {
    // covers: S12, S13
    let world = world().await;
    let operator = asks(
        &world,
        "a",
        &Ask::operator(&[READ, WRITE]).afar("192.0.2.1"),
    )
    .await;
    let node = asks(&world, "b", &Ask::node(&["system.run"])).await;
    let approve = async |client: &mut Client, details: &Value| {
        let params = json!({ "requestId": details["requestId"] });
        client.req("device.pair.approve", params).await
    };
    let (mut reader, _) = world.frames(4, &[READ]).await;
    let answer = approve(&mut reader, &operator).await;
    assert_eq!(
        refusal(&answer),
        ("FORBIDDEN", "missing scope: operator.pairing")
    );
    let (mut pairer, _) = world.frames(4, &[PAIRING, READ]).await;
    let answer = approve(&mut pairer, &operator).await;
    let denied = ("INVALID_REQUEST", "device pairing approval denied");
    let missing = |answer: &Value| answer["error"]["details"]["missingScope"].clone();
    assert_eq!(refusal(&answer), denied);
    assert_eq!(missing(&answer), WRITE);
    let answer = approve(&mut pairer, &node).await;
    assert_eq!(refusal(&answer), denied);
    assert_eq!(missing(&answer), "operator.admin");
    let (mut writer, _) = world.frames(4, &[PAIRING, WRITE]).await;
    let answer = approve(&mut writer, &operator).await;
    assert_eq!(answer["payload"]["device"]["scopes"], json!([READ, WRITE]));
    let answer = approve(&mut writer, &operator).await;
    assert_eq!(refusal(&answer), ("INVALID_REQUEST", "unknown requestId"));
    let (mut admin, _) = world.frames(3, &[ADMIN]).await;
    let answer = approve(&mut admin, &node).await;
    assert_eq!(answer["payload"]["device"]["roles"], json!(["node"]));
}

#[tokio::test]
async fn a_device_cannot_approve_itself() {
    // covers: S13
    let world = world().await;
    let key = Key::new("own");
    let (mut own, _) = world.device(&key, &Ask::operator(&[ADMIN])).await.hello();
    let error = world
        .device(&key, &Ask::node(&["system.run"]))
        .await
        .error();
    let params = json!({ "requestId": error["details"]["requestId"] });
    let answer = own.req("device.pair.approve", params).await;
    assert_eq!(
        refusal(&answer),
        ("FORBIDDEN", "a device cannot approve itself")
    );
}

#[tokio::test]
async fn only_approvers_hear_of_requests_and_answers() {
    // covers: S11
    let world = world().await;
    let (mut pairer, _) = world.frames(4, &[PAIRING]).await;
    let (mut reader, _) = world.frames(4, &[READ, WRITE]).await;
    let details = asks(&world, "a", &Ask::node(&["camera.snap"])).await;
    let heard = pairer
        .until(|value| value["event"] == "device.pair.requested")
        .await;
    assert_eq!(heard["payload"]["requestId"], details["requestId"]);
    assert_eq!(heard["payload"]["fingerprint"], details["fingerprint"]);
    assert_eq!(heard["payload"]["commands"], json!(["camera.snap"]));
    let params = json!({ "requestId": details["requestId"] });
    let rejected = world.ok("device.pair.reject", params).await;
    assert_eq!(rejected["deviceId"], Key::new("a").id());
    let heard = pairer
        .until(|value| value["event"] == "device.pair.resolved")
        .await;
    assert_eq!(heard["payload"]["decision"], "rejected");
    let (_client, _) = world
        .device(&Key::new("b"), &Ask::operator(&[READ]))
        .await
        .hello();
    let heard = pairer
        .until(|value| value["event"] == "device.pair.resolved")
        .await;
    assert_eq!(heard["payload"]["decision"], "approved");
    reader
        .say(json!({ "type": "req", "id": "last", "method": "health" }))
        .await;
    let seen = reader.all_until(|value| value["id"] == "last").await;
    assert!(!seen.iter().any(|value| {
        value["event"]
            .as_str()
            .is_some_and(|name| name.starts_with("device."))
    }));
}

#[tokio::test]
async fn a_code_is_as_good_as_the_name_and_five_wrong_ones_end_every_request() {
    // covers: S13
    let world = world().await;
    let first = asks(&world, "a", &Ask::operator(&[READ]).afar("192.0.2.1")).await;
    let code = first["pairingCode"].as_str().unwrap().to_lowercase();
    let approved = world
        .ok("device.pair.approve", json!({ "code": code }))
        .await;
    assert_eq!(approved["device"]["deviceId"], Key::new("a").id());
    let second = asks(&world, "b", &Ask::operator(&[READ]).afar("192.0.2.1")).await;
    for _ in 0..5 {
        let answer = world
            .rpc("device.pair.approve", json!({ "code": "0000-0000" }))
            .await;
        assert_eq!(answer["error"]["data"]["code"], "NOT_FOUND", "{answer}");
    }
    let right = json!({ "code": second["pairingCode"] });
    let answer = world.rpc("device.pair.approve", right).await;
    assert_eq!(answer["error"]["data"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn what_is_revoked_ends_at_once_and_comes_back_by_a_person_only() {
    // covers: S14
    let world = World::new().await;
    let key = Key::new("laptop");
    let ask = Ask::operator(&[READ]);
    let (mut live, hello) = world.device(&key, &ask).await.hello();
    let (mut other, _) = world.device(&Key::new("other"), &ask).await.hello();
    let began = std::time::Instant::now();
    let params = json!({ "deviceId": key.id(), "role": "operator" });
    let revoked = world.ok("device.token.revoke", params.clone()).await;
    assert!(revoked["revokedAtMs"].is_i64());
    let (code, reason, _) = live.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (4001, "device credentials changed")
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(other.req("health", json!({})).await["ok"], true);
    let own = ask
        .clone()
        .with(json!({ "deviceToken": hello["auth"]["deviceToken"] }));
    let refused = world.device(&key, &own).await;
    assert_eq!(refused.detail(), "AUTH_DEVICE_TOKEN_MISMATCH");
    // Not even the gateway token on this machine brings it back, nor does rotating it.
    let error = world.device(&key, &ask).await.error();
    assert_eq!(error["message"], "pairing required: device was revoked");
    let rotated = world.rpc("device.token.rotate", params).await;
    assert_eq!(rotated["error"]["data"]["code"], "CONFLICT");
    let id = json!({ "requestId": error["details"]["requestId"] });
    world.ok("device.pair.approve", id).await;
    world.device(&key, &ask).await.hello();
}

#[tokio::test]
async fn a_rotated_token_is_told_once_and_the_old_one_is_void() {
    // covers: S14
    let world = World::new().await;
    let key = Key::new("laptop");
    let ask = Ask::operator(&[READ, PAIRING]);
    let (mut live, hello) = world.device(&key, &ask).await.hello();
    let params = json!({ "deviceId": key.id(), "role": "operator", "idempotencyKey": "r1" });
    // A device that replaces its own token hears the answer before it is cut.
    let answer = live.req("device.token.rotate", params.clone()).await;
    let token = answer["payload"]["token"].as_str().unwrap().to_owned();
    assert_eq!(live.closed().await.0, 4001);
    let again = world.ok("device.token.rotate", params).await;
    assert!(again["token"].is_null() && again["rotatedAtMs"].is_i64());
    let with = async |token: &Value| {
        let ask = ask.clone().with(json!({ "deviceToken": token }));
        world.device(&key, &ask).await
    };
    let old = with(&hello["auth"]["deviceToken"]).await;
    assert_eq!(old.detail(), "AUTH_DEVICE_TOKEN_MISMATCH");
    with(&json!(token)).await.hello();
    // Narrowed to less than the device may do: asking for more with it is an error, not a request.
    let narrow = json!({ "deviceId": key.id(), "role": "operator", "scopes": [READ] });
    let narrow = world.ok("device.token.rotate", narrow).await;
    let refused = with(&narrow["token"]).await;
    assert_eq!(refused.detail(), "AUTH_SCOPE_MISMATCH");
    let beyond = json!({ "deviceId": key.id(), "role": "operator", "scopes": [ADMIN] });
    let beyond = world.rpc("device.token.rotate", beyond).await;
    assert_eq!(beyond["error"]["data"]["code"], "INVALID_PARAMS");
}

#[tokio::test]
async fn a_removed_device_is_cut_and_unknown() {
    // covers: S14
    let world = world().await;
    let key = Key::new("laptop");
    let (mut live, hello) = world.device(&key, &Ask::operator(&[READ])).await.hello();
    let params = json!({ "deviceId": key.id() });
    world.ok("device.pair.remove", params.clone()).await;
    assert_eq!(live.closed().await.0, 4001);
    let own = Ask::operator(&[READ]).with(json!({ "deviceToken": hello["auth"]["deviceToken"] }));
    let refused = world.device(&key, &own).await;
    assert_eq!(refused.detail(), "AUTH_DEVICE_TOKEN_MISMATCH");
    let twice = world.rpc("device.pair.remove", params).await;
    assert_eq!(twice["error"]["message"], "unknown deviceId");
}

#[tokio::test]
async fn a_second_connection_of_a_node_takes_the_place_of_the_first() {
    let world = World::new().await;
    let key = Key::new("harmless");
    let ask = Ask::node(&["canvas.present"]);
    let (mut first, _) = world.device(&key, &ask).await.hello();
    let (mut second, _) = world.device(&key, &ask).await.hello();
    let (code, reason, _) = first.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1008, "replaced by a newer connection")
    );
    let answer = second.req("health", json!({})).await;
    assert_eq!(answer["error"]["message"], "unauthorized role: node");
}

#[tokio::test]
async fn a_setup_code_lets_one_device_in_once_with_what_its_maker_has() {
    // covers: S12, S13
    use base64::Engine as _;
    let world = world().await;
    let made = world
        .ok(
            "device.setup.code",
            json!({ "roles": ["operator", "node"], "url": "wss://box.example" }),
        )
        .await;
    let text = made["setupCode"].as_str().unwrap();
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap();
    let code: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(code["url"], "wss://box.example");
    let (phone, second) = (Key::new("phone"), Key::new("second"));
    let ask = Ask::node(&["camera.snap"])
        .with(json!({ "bootstrapToken": code["bootstrapToken"] }))
        .afar("192.0.2.7");
    let (_client, hello) = world.device(&phone, &ask).await.hello();
    let other = &hello["auth"]["deviceTokens"][0];
    assert_eq!(
        (&other["role"], &other["scopes"]),
        (&json!("operator"), &json!([READ, WRITE]))
    );
    let operator = Ask::operator(&[READ, WRITE])
        .with(json!({ "deviceToken": other["deviceToken"] }))
        .afar("192.0.2.7");
    world.device(&phone, &operator).await.hello();
    let used = world.device(&second, &ask).await;
    assert_eq!(used.detail(), "AUTH_BOOTSTRAP_TOKEN_INVALID");
    let (mut pairer, _) = world.frames(4, &[PAIRING, READ]).await;
    let answer = pairer.req("device.setup.code", json!({})).await;
    assert_eq!(
        refusal(&answer),
        ("FORBIDDEN", "missing scope: operator.write")
    );
    let plain = json!({ "url": "ws://box.example" });
    let answer = world.rpc("device.setup.code", plain).await;
    assert_eq!(answer["error"]["data"]["code"], "INVALID_PARAMS");
}

#[tokio::test]
async fn guessing_locks_the_source_but_neither_paired_devices_nor_the_socket_file() {
    // covers: S7
    let world = World::new().await;
    let key = Key::new("laptop");
    let (_client, hello) = world.device(&key, &Ask::operator(&[READ])).await.hello();
    let mut last = Value::Null;
    for n in 0..12 {
        let guess = format!("guess-guess-guess-guess-guess-guess-{n}");
        let mut client = world.ws("/", &[]).await.unwrap();
        client.next().await;
        let Ended::Out { error, .. } = world.connect_with(client, connect(4, &guess, &[])).await
        else {
            panic!("let in");
        };
        last = error;
    }
    assert_eq!(last["details"]["code"], "AUTH_RATE_LIMITED");
    let shared = Ask::operator(&[READ]);
    let locked = world.device(&key, &shared).await;
    assert_eq!(locked.detail(), "AUTH_RATE_LIMITED");
    // What this device shows is compared with its own token only, and that class is not locked.
    let own = shared.with(json!({ "deviceToken": hello["auth"]["deviceToken"] }));
    world.device(&key, &own).await.hello();
    let socket = world.dir.path().join("gateway.sock");
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"device.pair.list"}"#;
    let request = format!(
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(&key.id()), "{answer}");
    assert!(!answer.contains(TOKEN));
}
