//! Dialling, proving, waiting, serving, coming back.

use adjutant_node::{Config, Fingerprint, NodeError, Phase, read_status};
use serde_json::{Value, json};

use super::gateway::{Gateway, Seat, soon, start, start_pinned};

fn approved(argv: &[&str]) -> Value {
    json!({ "command": argv, "approved": true, "approvalDecision": "allow-once" })
}

#[tokio::test]
async fn a_node_says_what_it_is_and_answers_what_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let node = start(
        folder.path(),
        &gateway.url("ws"),
        Some("shared"),
        Config::default(),
    )
    .await;
    let mut seat = gateway.welcome().await;
    let params = seat.connect["params"].clone();
    assert_eq!(params["role"], "node");
    assert_eq!(params["scopes"], json!([]));
    assert_eq!(
        (&params["client"]["id"], &params["client"]["mode"]),
        (&json!("node-host"), &json!("node"))
    );
    assert_eq!(
        (&params["minProtocol"], &params["maxProtocol"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(params["permissions"], json!({ "invoke.keyed": true }));
    assert_eq!(params["auth"], json!({ "token": "shared" }));
    let commands: Vec<&str> = params["commands"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(commands.contains(&"system.which") && commands.contains(&"device.info"));
    assert!(
        !commands.contains(&"location.get"),
        "there is no source for a location"
    );

    let which = seat
        .invoke("k1", "system.which", json!({ "bins": ["sh"] }))
        .await
        .unwrap();
    assert!(which["bins"]["sh"].is_string());
    let ran = seat
        .invoke("k2", "system.run", approved(&["echo", "hi"]))
        .await
        .unwrap();
    assert_eq!(ran["stdout"], "hi\n");
    let unknown = seat
        .invoke("k3", "camera.erase", json!({}))
        .await
        .unwrap_err();
    assert_eq!(unknown["code"], "UNSUPPORTED");

    assert_eq!(
        node.until(|it| matches!(it, Phase::Connected { .. })).await,
        Phase::Connected { protocol: 4 }
    );
    let status = read_status(folder.path()).unwrap().unwrap();
    assert_eq!(status.node_id, seat.node_id);
    node.end().await.unwrap();
    assert_eq!(
        read_status(folder.path()).unwrap().unwrap().phase,
        Phase::Stopped
    );
}

#[tokio::test]
async fn a_command_whose_answer_was_lost_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let counter = folder.path().join("counter");
    let script = format!("echo x >> {0}; wc -l < {0}", counter.display());
    let gateway = Gateway::open().await;
    let node = start(folder.path(), &gateway.url("ws"), None, Config::default()).await;
    let mut seat = gateway.welcome().await;
    seat.ask(
        "first",
        "same-key",
        "system.run",
        approved(&["sh", "-c", &script]),
    )
    .await;
    // The connection goes before the answer can be heard.
    drop(seat);
    let mut seat = gateway.welcome().await;
    seat.ask(
        "second",
        "same-key",
        "system.run",
        approved(&["sh", "-c", &script]),
    )
    .await;
    let (id, outcome) = seat.result().await;
    assert_eq!(id, "second");
    assert_eq!(outcome.unwrap()["stdout"].as_str().unwrap().trim(), "1");
    node.end().await.unwrap();

    // Another process, the same folder.
    let _node = start(folder.path(), &gateway.url("ws"), None, Config::default()).await;
    let mut seat = gateway.welcome().await;
    let again = seat
        .invoke("same-key", "system.run", approved(&["sh", "-c", &script]))
        .await;
    assert_eq!(again.unwrap()["stdout"].as_str().unwrap().trim(), "1");
    assert_eq!(
        std::fs::read_to_string(&counter).unwrap().lines().count(),
        1
    );
    let other = seat
        .invoke("same-key", "system.run", approved(&["true"]))
        .await
        .unwrap_err();
    assert_eq!(other["code"], "IDEMPOTENCY_MISMATCH");
}

#[tokio::test]
async fn a_node_waits_to_be_admitted_and_then_uses_its_own_token() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let node = start(
        folder.path(),
        &gateway.url("ws"),
        Some("shared"),
        Config::default(),
    )
    .await;
    for _ in 0..2 {
        let details = json!({ "code": "PAIRING_REQUIRED", "requestId": "r-1" });
        gateway
            .seat()
            .await
            .refuse("NOT_PAIRED", "pairing required", details)
            .await;
    }
    let waits = node.until(|it| matches!(it, Phase::Pairing { .. })).await;
    assert_eq!(
        waits,
        Phase::Pairing {
            request_id: Some("r-1".to_owned())
        }
    );
    let seat = gateway.welcome().await;
    assert_eq!(seat.connect["params"]["auth"]["token"], "shared");
    drop(seat);
    let seat = gateway.seat().await;
    assert_eq!(seat.connect["params"]["auth"]["token"], "own-token");
    // The gateway forgot it: the shared one is shown again.
    let details = json!({ "code": "AUTH_DEVICE_TOKEN_MISMATCH" });
    seat.refuse(
        "INVALID_REQUEST",
        "unauthorized: device token mismatch",
        details,
    )
    .await;
    assert_eq!(
        gateway.seat().await.connect["params"]["auth"]["token"],
        "shared"
    );
}

#[tokio::test]
async fn a_refusal_that_waiting_cannot_change_ends_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let node = start(
        folder.path(),
        &gateway.url("ws"),
        Some("wrong"),
        Config::default(),
    )
    .await;
    let details = json!({ "code": "AUTH_TOKEN_MISMATCH" });
    let message = "unauthorized: gateway token mismatch";
    gateway
        .seat()
        .await
        .refuse("INVALID_REQUEST", message, details)
        .await;
    let error = node.ended().await.unwrap_err();
    assert!(
        matches!(error, NodeError::Refused { ref code, .. } if code == "AUTH_TOKEN_MISMATCH"),
        "{error}"
    );
}

#[tokio::test]
async fn an_older_gateway_gets_the_older_signature() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let _node = start(folder.path(), &gateway.url("ws"), None, Config::default()).await;
    let first = gateway.seat().await;
    let signed = first.connect["params"]["device"]["signature"].clone();
    first
        .refuse("INVALID_REQUEST", "device signature invalid", json!({}))
        .await;
    // The seat has checked it: both lines verify, and they differ.
    let second = gateway.seat().await;
    assert_ne!(second.connect["params"]["device"]["signature"], signed);
}

#[tokio::test]
async fn a_request_for_another_node_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let _node = start(folder.path(), &gateway.url("ws"), None, Config::default()).await;
    let mut seat = gateway.welcome().await;
    let mine = std::mem::replace(&mut seat.node_id, "somebody-else".to_owned());
    seat.ask("a", "a", "system.which", json!({ "bins": [] }))
        .await;
    seat.node_id = mine;
    seat.say(json!("noise")).await;
    assert!(
        seat.invoke("b", "system.which", json!({ "bins": [] }))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_is_left_out_is_neither_offered_nor_done() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let config = Config {
        without: vec!["system.run".to_owned(), "device".to_owned()],
        ..Config::default()
    };
    let _node = start(folder.path(), &gateway.url("ws"), None, config).await;
    let mut seat = gateway.welcome().await;
    let offered = seat.connect["params"]["commands"].to_string();
    assert!(
        !offered.contains("\"system.run\"") && !offered.contains("device."),
        "{offered}"
    );
    let refused = seat
        .invoke("k", "system.run", approved(&["true"]))
        .await
        .unwrap_err();
    assert_eq!(refused["code"], "UNSUPPORTED");
}

#[tokio::test]
async fn an_answer_larger_than_the_frame_is_a_fault_and_not_a_broken_connection() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let _node = start(folder.path(), &gateway.url("ws"), None, Config::default()).await;
    let mut seat = gateway.seat().await;
    seat.let_in(64 << 10).await;
    let long = approved(&["seq", "1", "40000"]);
    let refused = seat.invoke("k", "system.run", long).await.unwrap_err();
    assert_eq!(refused["code"], "PAYLOAD_TOO_LARGE");
    assert!(
        seat.invoke("k2", "system.run", approved(&["true"]))
            .await
            .is_ok()
    );
}

// covers: S6
#[tokio::test]
async fn a_pinned_certificate_is_accepted_and_any_other_is_not() {
    let made = rcgen::generate_simple_self_signed(vec!["elsewhere.example".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let gateway = Gateway::open().await;
    let folders = [
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    ];
    let print = Fingerprint::parse(&adjutant_vault::digest(&certificate)).unwrap();
    let node = start_pinned(
        folders[0].path(),
        &gateway.url("wss"),
        None,
        Config::default(),
        Some(print),
    )
    .await;
    let stream = soon(acceptor.accept(gateway.stream().await)).await.unwrap();
    let mut seat = Seat::of(stream).await;
    seat.let_in(4 << 20).await;
    assert!(
        seat.invoke("k", "system.which", json!({ "bins": [] }))
            .await
            .is_ok()
    );
    drop(node);

    let other = Fingerprint::parse(&adjutant_vault::digest(b"another")).unwrap();
    for (folder, pinned) in folders[1..].iter().zip([Some(other), None]) {
        let gateway = Gateway::open().await;
        let node = start_pinned(
            folder.path(),
            &gateway.url("wss"),
            None,
            Config::default(),
            pinned,
        )
        .await;
        assert!(soon(acceptor.accept(gateway.stream().await)).await.is_err());
        node.until(|it| matches!(it, Phase::Connecting { reason: Some(_) }))
            .await;
    }
}
