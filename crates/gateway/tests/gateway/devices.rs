//! Devices over real sockets: proof, pairing, tokens, roles.

use serde_json::{Value, json};

use crate::key::{Ask, Ended, Key};
use crate::world::{PROXY, TOKEN, World};

const READ: &str = "operator.read";
const WRITE: &str = "operator.write";
const ADMIN: &str = "operator.admin";
const PAIRING: &str = "operator.pairing";

/// A world whose proxy on loopback is trusted, so that tests can come from afar.
async fn world() -> World {
    World::with(|config| config.trusted_proxies.push(PROXY.into())).await
}

fn token_of(hello: &Value) -> String {
    hello["auth"]["deviceToken"].as_str().unwrap().to_owned()
}

async fn approve(world: &World, error: &Value) -> Value {
    let id = &error["details"]["requestId"];
    world
        .ok("device.pair.approve", json!({ "requestId": id }))
        .await
}

#[tokio::test]
async fn an_operator_on_this_machine_with_the_token_is_let_in_without_a_question() {
    // covers: S13, D5
    let world = World::new().await;
    let key = Key::new("cli");
    for (protocol, version) in [(3, 2), (3, 3), (4, 3), (4, 2)] {
        let ask = Ask {
            protocol,
            version,
            ..Ask::operator(&[READ])
        };
        let (_client, hello) = world.device(&key, &ask).await.hello();
        assert_eq!(hello["auth"]["scopes"], json!([READ]));
        assert_eq!(token_of(&hello).len(), 43);
        assert!(hello["auth"]["issuedAtMs"].is_i64());
    }
    // More scopes under the same conditions: silently, too.
    let (_client, hello) = world
        .device(&key, &Ask::operator(&[WRITE, PAIRING]))
        .await
        .hello();
    assert_eq!(hello["auth"]["scopes"], json!([WRITE, PAIRING]));
    let list = world.ok("device.pair.list", json!({})).await;
    assert_eq!(list["paired"][0]["deviceId"], key.id());
    assert_eq!(list["paired"][0]["approvedVia"], "silent");
    assert_eq!(list["paired"][0]["connected"], true);
    assert!(!list.to_string().contains(&token_of(&hello)));
}

#[tokio::test]
async fn the_same_token_is_told_again_until_it_is_replaced() {
    let world = World::new().await;
    let key = Key::new("cli");
    let ask = Ask::operator(&[READ]);
    let first = token_of(&world.device(&key, &ask).await.hello().1);
    let second = token_of(&world.device(&key, &ask).await.hello().1);
    assert_eq!(first, second);
    for auth in [
        json!({ "token": first }),
        json!({ "deviceToken": first }),
        json!({ "token": first, "deviceToken": first }),
    ] {
        let ask = ask.clone().with(auth);
        assert_eq!(token_of(&world.device(&key, &ask).await.hello().1), first);
    }
    let store = std::fs::read(world.dir.path().join("adjutant.db")).unwrap_or_default();
    assert!(!store.windows(43).any(|window| window == first.as_bytes()));
}

#[tokio::test]
async fn whoever_is_not_plainly_the_owner_on_this_machine_must_be_approved() {
    // covers: S13, S5
    let world = world().await;
    let own = format!("http://{}", world.address);
    let cases: [(&str, Ask); 4] = [
        ("from afar", Ask::operator(&[READ]).afar("192.0.2.7")),
        (
            "a command from a page",
            Ask {
                headers: vec![("origin", own.clone())],
                ..Ask::operator(&[READ])
            },
        ),
        ("a machine with a shell", Ask::node(&["system.run"])),
        ("a machine with a camera", Ask::node(&["camera.snap"])),
    ];
    for (name, ask) in cases {
        let error = world.device(&Key::new(name), &ask).await.error();
        assert_eq!(error["code"], "NOT_PAIRED", "{name}: {error}");
        assert_eq!(error["details"]["code"], "PAIRING_REQUIRED", "{name}");
    }
    let page = Ask {
        client: ("openclaw-control-ui", "webchat"),
        version: 2,
        headers: vec![("origin", own), ("cookie", "a=b".to_owned())],
        ..Ask::operator(&[READ])
    };
    world.device(&Key::new("page"), &page).await.hello();
    let off = World::with(|config| config.pairing.local_auto_approve = false).await;
    let error = off
        .device(&Key::new("cli"), &Ask::operator(&[READ]))
        .await
        .error();
    assert_eq!(error["code"], "NOT_PAIRED");
}

#[tokio::test]
async fn a_request_is_told_in_the_words_of_each_version_and_stays_the_same() {
    let world = world().await;
    let key = Key::new("box");
    let ask = Ask::node(&["system.run"]);
    let Ended::Out { reason, error, .. } = world.device(&key, &ask).await else {
        panic!("let in");
    };
    let details = &error["details"];
    assert_eq!(
        error["message"],
        "pairing required: device is not approved yet"
    );
    assert_eq!(details["reason"], "not-paired");
    assert_eq!(details["deviceId"], key.id());
    assert_eq!(details["requestedRole"], "node");
    assert_eq!(details["recommendedNextStep"], "wait_then_retry");
    assert_eq!(details["pairingCode"].as_str().unwrap().len(), 9);
    let id = details["requestId"].as_str().unwrap();
    assert!(reason.ends_with(&format!("(requestId: {id})")), "{reason}");
    let old = world.device(&key, &ask.clone().v3()).await.error();
    assert_eq!(old["message"], "pairing required");
    assert_eq!(old["details"]["requestId"], id);
    assert!(old["details"]["deviceId"].is_null());
    let list = world.ok("device.pair.list", json!({})).await;
    assert_eq!(list["pending"].as_array().unwrap().len(), 1);
    assert_eq!(list["pending"][0]["code"], details["pairingCode"]);
    assert_eq!(list["pending"][0]["commands"], json!(["system.run"]));
    let approved = approve(&world, &error).await;
    assert_eq!(approved["device"]["roles"], json!(["node"]));
    let (_node, hello) = world.device(&key, &ask).await.hello();
    assert_eq!(
        (&hello["auth"]["role"], &hello["auth"]["scopes"]),
        (&json!("node"), &json!([]))
    );
    // From now on its own token is enough, wherever it comes from.
    let own = ask
        .with(json!({ "deviceToken": token_of(&hello) }))
        .afar("192.0.2.7");
    world.device(&key, &own).await.hello();
}

#[tokio::test]
async fn a_proof_that_is_forged_replayed_or_stale_is_refused() {
    // covers: D4, D5
    let world = World::new().await;
    let (key, other) = (Key::new("cli"), Key::new("other"));
    let ask = Ask::operator(&[READ]);
    let begin = async || {
        let mut client = world.ws("/", &[]).await.unwrap();
        let challenge = client.next().await["payload"].clone();
        let nonce = challenge["nonce"].as_str().unwrap().to_owned();
        (client, nonce, challenge["ts"].as_i64().unwrap())
    };
    let (client, nonce, at) = begin().await;
    let mut frame = ask.frame();
    key.sign(&mut frame, 3, &nonce, at);
    let good = frame.clone();
    world.connect_with(client, frame).await.hello();
    let (client, ..) = begin().await;
    let replayed = world.connect_with(client, good).await;
    assert_eq!(replayed.detail(), "DEVICE_AUTH_NONCE_MISMATCH");
    let (client, nonce, at) = begin().await;
    let mut frame = ask.frame();
    other.sign(&mut frame, 3, &nonce, at);
    frame["params"]["device"]["id"] = json!(key.id());
    frame["params"]["device"]["publicKey"] = json!(key.public());
    let forged = world.connect_with(client, frame).await;
    assert_eq!(forged.detail(), "DEVICE_AUTH_SIGNATURE_INVALID");
    let (client, nonce, at) = begin().await;
    let mut frame = ask.frame();
    key.sign(&mut frame, 3, &nonce, at - 121_000);
    let stale = world.connect_with(client, frame).await;
    assert_eq!(stale.detail(), "DEVICE_AUTH_SIGNATURE_EXPIRED");
    let (client, nonce, at) = begin().await;
    let mut frame = ask.frame();
    key.sign(&mut frame, 3, &nonce, at);
    frame["params"]["scopes"] = json!([ADMIN]);
    let climbing = world.connect_with(client, frame).await;
    assert_eq!(climbing.detail(), "DEVICE_AUTH_SIGNATURE_INVALID");
}

#[tokio::test]
async fn a_signature_without_a_nonce_is_believed_once_and_on_this_machine_only() {
    // covers: D4
    let world = world().await;
    let key = Key::new("january");
    let ask = Ask {
        version: 1,
        ..Ask::operator(&[READ]).v3()
    };
    let mut client = world.ws("/", &[]).await.unwrap();
    let at = client.next().await["payload"]["ts"].as_i64().unwrap();
    let mut frame = ask.frame();
    key.sign(&mut frame, 1, "", at);
    world.connect_with(client, frame.clone()).await.hello();
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    let again = world.connect_with(client, frame).await;
    assert_eq!(again.detail(), "DEVICE_AUTH_NONCE_REQUIRED");
    let remote = world.device(&key, &ask.afar("192.0.2.7")).await;
    assert_eq!(remote.detail(), "DEVICE_AUTH_NONCE_REQUIRED");
}

#[tokio::test]
async fn a_device_token_is_worth_nothing_without_its_device_its_role_and_its_time() {
    // covers: D5, S14
    let world = World::new().await;
    let (key, thief) = (Key::new("cli"), Key::new("thief"));
    let ask = Ask::operator(&[READ]);
    let (_client, hello) = world.device(&key, &ask).await.hello();
    let stolen = ask.clone().with(json!({ "deviceToken": token_of(&hello) }));
    let refused = world.device(&thief, &stolen).await;
    assert_eq!(refused.detail(), "AUTH_DEVICE_TOKEN_MISMATCH");
    let mut bare = world.ws("/", &[]).await.unwrap();
    bare.next().await;
    let refused = world.connect_with(bare, stolen.frame()).await;
    assert_eq!(refused.detail(), "AUTH_DEVICE_TOKEN_MISMATCH");
    let as_node = Ask::node(&[]).with(stolen.auth.clone());
    let refused = world.device(&key, &as_node).await;
    assert_eq!(refused.detail(), "AUTH_DEVICE_TOKEN_MISMATCH");
    let bearer = format!("Authorization: Bearer {}", token_of(&hello));
    let json_body = "Content-Type: application/json";
    let (status, _) = world
        .http("POST", "/rpc", &[&bearer, json_body], b"{}")
        .await;
    assert_eq!(status, 401);
    world.device(&key, &stolen).await.hello();
}

#[tokio::test]
async fn a_device_token_gives_what_was_decided_and_more_is_asked_of_a_person() {
    // covers: S10, S13
    let world = world().await;
    let key = Key::new("phone");
    let (_client, hello) = world.device(&key, &Ask::operator(&[READ])).await.hello();
    let own = json!({ "deviceToken": token_of(&hello) });
    let more = Ask::operator(&[READ, ADMIN]).with(own.clone());
    let error = world.device(&key, &more).await.error();
    assert_eq!(error["details"]["reason"], "scope-upgrade");
    assert_eq!(error["details"]["approvedScopes"], json!([READ]));
    approve(&world, &error).await;
    // The token it holds still works: it has no other way in.
    let (_client, hello) = world.device(&key, &more).await.hello();
    assert_eq!(hello["auth"]["scopes"], json!([READ, ADMIN]));
    let moved = Ask {
        platform: "darwin",
        ..Ask::operator(&[READ])
    };
    let error = world.device(&key, &moved).await.error();
    assert_eq!(error["details"]["reason"], "metadata-upgrade");
    let fewer = Ask::operator(&[READ]).with(own);
    let (mut client, hello) = world.device(&key, &fewer).await.hello();
    assert_eq!(hello["auth"]["scopes"], json!([READ]));
    let answer = client.req("config.set", json!({})).await;
    assert_eq!(answer["error"]["details"]["code"], "MISSING_SCOPE");
}

#[tokio::test]
async fn nodes_and_operators_keep_to_their_own_methods() {
    // covers: S11, D6
    let world = World::new().await;
    let key = Key::new("harmless");
    let (mut node, _) = world
        .device(&key, &Ask::node(&["canvas.present"]))
        .await
        .hello();
    for n in 0..10 {
        let answer = node.req("health", json!({})).await;
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{n}");
        assert_eq!(answer["error"]["message"], "unauthorized role: node");
    }
    node.say(json!({ "type": "req", "id": "x", "method": "no.such", "params": {} }))
        .await;
    let (code, reason, _) = node.closed().await;
    assert_eq!((code, reason.as_str()), (1008, "unauthorized role"));
}

#[tokio::test]
async fn a_flood_of_requests_ends_at_three_per_source_and_the_gateway_stays_well() {
    // covers: S13, S8
    let world = world().await;
    let mut codes = Vec::new();
    for n in 0..6 {
        let ask = Ask::operator(&[READ]).afar("192.0.2.7");
        let error = world
            .device(&Key::new(&format!("d{n}")), &ask)
            .await
            .error();
        codes.push(error["details"]["code"].as_str().unwrap().to_owned());
    }
    assert_eq!(codes[..3], ["PAIRING_REQUIRED"; 3]);
    assert_eq!(codes[3..], ["PAIRING_LIMIT"; 3]);
    let elsewhere = Ask::operator(&[READ]).afar("198.51.100.1");
    let error = world.device(&Key::new("else"), &elsewhere).await.error();
    assert_eq!(error["details"]["code"], "PAIRING_REQUIRED");
    world
        .device(&Key::new("cli"), &Ask::operator(&[READ]))
        .await
        .hello();
    world.assert_healthy().await;
    assert!(TOKEN.len() > 31);
}

#[tokio::test]
async fn a_device_is_present_once_however_many_connections_it_has() {
    let world = World::new().await;
    let key = Key::new("desk");
    let surface = Ask {
        client: ("gateway-client", "ui"),
        ..Ask::operator(&[READ])
    };
    let (_one, _) = world.device(&key, &surface).await.hello();
    let (_two, _) = world.device(&key, &surface).await.hello();
    let (_node, _) = world.device(&key, &Ask::node(&[])).await.hello();
    let present = world.ok("system-presence", json!({})).await;
    let own: Vec<&Value> = present
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["deviceId"] == key.id())
        .collect();
    assert_eq!(own.len(), 1, "{present}");
    assert_eq!(own[0]["roles"], json!(["node", "operator"]));
}
