//! A certificate of the gateway's own, from the first start to a client on another machine.

use std::process::Output;

use serde_json::Value;

use crate::place::{Place, said};

const SELF_SIGNED: &str = "[gateway.tls]\nmode = 'self_signed'\n";

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

// covers: S6
#[test]
fn a_gateway_is_known_by_its_fingerprint_from_flag_and_configuration_and_by_nothing_else() {
    let home = Place::new(SELF_SIGNED);
    let away = Place::new("");
    let none = home.adjutant(&["gateway", "fingerprint"]);
    assert_eq!(none.status.code(), Some(3), "{}", said(&none));
    let (_gateway, address) = home.gateway();
    let url = format!("wss://{address}");
    let print = home.adjutant(&["gateway", "fingerprint"]);
    let print = String::from_utf8(print.stdout).unwrap().trim().to_owned();
    assert_eq!(print.len(), 64, "{print}");
    let state = json(&home.adjutant(&["gateway", "status", "--json"]));
    assert_eq!(state["tls"]["fingerprint"], *print);
    assert!(state["tls"]["validUntil"].is_number() || state["tls"]["validUntil"].is_string());

    let unknown = away.ask(&url, &home, &["status"]);
    assert_eq!(unknown.status.code(), Some(4), "{}", said(&unknown));
    assert!(said(&unknown).contains(&format!("--tls-fingerprint {print}")));
    let wrong = "0".repeat(64);
    let other = away.ask(&url, &home, &["--tls-fingerprint", &wrong, "status"]);
    assert_eq!(other.status.code(), Some(4), "{}", said(&other));
    assert!(said(&other).contains(&print) && said(&other).contains(&wrong));
    let pinned = away.ask(
        &url,
        &home,
        &["--tls-fingerprint", &print, "status", "--json"],
    );
    assert!(pinned.status.success(), "{}", said(&pinned));
    assert_eq!(json(&pinned)["gateway"]["running"], true);

    away.configure(&format!("[client]\npins = ['{address} {print}']\n"));
    let pinned = away.ask(&url, &home, &["run", "say hello", "--json"]);
    assert!(pinned.status.success(), "{}", said(&pinned));
    let plain = away.ask(&format!("ws://{address}"), &home, &["status"]);
    assert!(said(&plain).contains("speaks TLS only"), "{}", said(&plain));
    // On its own machine nothing changes: the socket file is not encrypted.
    let local = home.adjutant(&["status", "--json"]);
    assert!(local.status.success(), "{}", said(&local));
}

// covers: S1, D1
#[test]
fn an_address_that_others_reach_is_refused_until_everything_is_there() {
    let refused = |config: &str, words: &[&str]| {
        let home = Place::new(config);
        let output = home.adjutant(&["gateway", "run", "--port", "0"]);
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        for word in words {
            assert!(said(&output).contains(word), "{word}: {}", said(&output));
        }
        assert!(!home.path().join("gateway.pid").exists());
    };
    let open = "[gateway]\nbind = '0.0.0.0'\n";
    refused(open, &["gateway.bind", "allow_remote", "tls.mode"]);
    refused(
        &format!("{open}allow_remote = true\n"),
        &["gateway.bind", "tls.mode"],
    );
    refused(
        &format!("{open}{SELF_SIGNED}"),
        &["gateway.bind", "allow_remote"],
    );
    refused(
        "[gateway.tls]\nmode = 'files'\ncertificate = '/nowhere/a.pem'\nkey = '/nowhere/a.key'\n",
        &["/nowhere/a.pem"],
    );
}
