//! The outer wall: host, forwarding, addresses, origin, credential; and who may call what.

use serde_json::json;

use adjutant_gateway::{Config, Listeners};
use adjutant_protocol::{Scope, Scopes};

use crate::key::{Ask, Key};
use crate::world::{PROXY, TOKEN, World};

const JSON: &str = "Content-Type: application/json";
const HEALTH: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"health"}"#;

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn a_foreign_or_missing_host_is_turned_away_whatever_else_is_right() {
    // covers: S4
    let world = World::with(|config| config.allowed_hosts.push("box.lan".to_owned())).await;
    let token = bearer(TOKEN);
    let hosts = [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example:18789",
        "",
        "[::1",
        "10.0.0.1",
    ];
    for host in hosts {
        let host = format!("Host: {host}");
        let (status, _) = world
            .http("POST", "/rpc", &[&host, &token, JSON], HEALTH)
            .await;
        assert!(status == 421 || status == 400, "{host}: {status}");
        let (status, _) = world.http("GET", "/healthz", &[&host], b"").await;
        assert!(status == 421 || status == 400, "{host}: {status}");
    }
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]:18789",
        "LOCALHOST",
        "box.lan",
    ] {
        let host = format!("Host: {host}");
        assert_eq!(
            world
                .http("POST", "/rpc", &[&host, &token, JSON], HEALTH)
                .await
                .0,
            200,
            "{host}"
        );
    }
    let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(
        world
            .raw(twice.as_bytes())
            .await
            .starts_with("HTTP/1.1 421")
    );
    let absolute =
        "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(
        world
            .raw(absolute.as_bytes())
            .await
            .starts_with("HTTP/1.1 421")
    );
}

#[tokio::test]
async fn forwarding_headers_count_only_from_listed_proxies() {
    // covers: S5
    let world = World::new().await;
    let token = bearer(TOKEN);
    for line in [
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.1.1.1",
        "X-Forwarded-User: owner",
        "Tailscale-User-Login: me",
    ] {
        let (status, body) = world
            .http("POST", "/rpc", &[&token, JSON, line], HEALTH)
            .await;
        assert_eq!(status, 403, "{line}");
        assert!(body.contains("proxy_attribution_required"));
    }
    let behind =
        World::with(|config| config.trusted_proxies.push("127.0.0.1".parse().unwrap())).await;
    let chain = "X-Forwarded-For: 10.0.0.9, 203.0.113.5";
    for n in 0..12 {
        let wrong = bearer("wrong-wrong-wrong-wrong-wrong-wrong");
        let (status, _) = behind
            .http("POST", "/rpc", &[&wrong, JSON, chain], HEALTH)
            .await;
        assert_eq!(status, if n < 10 { 401 } else { 429 });
    }
    let other = "X-Forwarded-For: 10.0.0.9, 203.0.113.6";
    assert_eq!(
        behind
            .http("POST", "/rpc", &[&token, JSON, other], HEALTH)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn an_address_that_somebody_wrote_before_the_proxy_does_not_count() {
    // covers: S5, S7
    let world = World::with(|config| {
        config.trusted_proxies.push([127, 0, 0, 1].into());
        config.trusted_proxies.push([198, 51, 100, 9].into());
    })
    .await;
    let wrong = bearer("wrong-wrong-wrong-wrong-wrong-wrong");
    // One client behind two proxies, with another invention in front each time, is one source.
    for n in 0..11 {
        let chain = format!("X-Forwarded-For: 203.0.113.{n}, 203.0.113.77, 198.51.100.9");
        let (status, _) = world
            .http("POST", "/rpc", &[&wrong, JSON, &chain], HEALTH)
            .await;
        assert_eq!(status, if n < 10 { 401 } else { 429 }, "attempt {n}");
    }
    let right = bearer(TOKEN);
    let ask = async |chain: &str| {
        let chain = format!("X-Forwarded-For: {chain}");
        let headers: [&str; 3] = [&right, JSON, &chain];
        world.http("POST", "/rpc", &headers, HEALTH).await.0
    };
    assert_eq!(ask("203.0.113.77").await, 429);
    assert_eq!(ask("203.0.113.78").await, 200);
    // What the proxy did not write as an address is no address.
    assert_eq!(ask("203.0.113.78, unknown").await, 403);
    assert_eq!(ask("").await, 403);
}

#[tokio::test]
async fn who_comes_through_a_proxy_is_not_on_this_machine_whatever_the_headers_say() {
    // covers: S5, S13
    let world = World::with(|config| config.trusted_proxies.push(PROXY.into())).await;
    let local = Ask::operator(&["operator.read"]);
    world.device(&Key::new("near"), &local).await.hello();
    for (n, says) in ["127.0.0.1", "::1", "localhost", "192.0.2.1, 127.0.0.1"]
        .iter()
        .enumerate()
    {
        let key = Key::new(&format!("far-{n}"));
        match world
            .ws("/", &[("x-forwarded-for", (*says).to_owned())])
            .await
        {
            // Turned away before anything else: `localhost` is no address.
            Err(error) => assert!(error.contains("403") && *says == "localhost", "{error}"),
            Ok(client) => {
                drop(client);
                let ended = world.device(&key, &local.clone().afar(says)).await;
                assert_eq!(ended.detail(), "PAIRING_REQUIRED", "{says}");
            }
        }
    }
    // A proxy that adds no header at all.
    let silent = World::with(|config| config.trusted_proxies.push([127, 0, 0, 1].into())).await;
    let ended = silent.device(&Key::new("far"), &local).await;
    assert_eq!(ended.detail(), "PAIRING_REQUIRED");
}

#[tokio::test]
async fn secrets_in_addresses_are_refused() {
    // covers: S9
    let world = World::new().await;
    let paths = [
        format!("/healthz?token={TOKEN}"),
        "/healthz?access_token=x".to_owned(),
        "/rpc?api-key=x".to_owned(),
        "/?%74oken=x".to_owned(),
        format!("/healthz?q={TOKEN}"),
        format!("/{TOKEN}"),
    ];
    for path in paths {
        let (status, body) = world.http("GET", &path, &[], b"").await;
        assert_eq!(status, 400, "{path}");
        assert!(!body.contains(TOKEN));
    }
    assert_eq!(world.http("GET", "/healthz?probe=1", &[], b"").await.0, 200);
}

#[tokio::test]
async fn browsers_come_from_listed_origins_only() {
    // covers: S3, D3
    let world = World::with(|config| {
        config
            .allowed_origins
            .push("https://panel.example:8443".to_owned())
    })
    .await;
    let token = bearer(TOKEN);
    let port = world.address.port();
    let bad = [
        "Origin: https://evil.example".to_owned(),
        "Origin: null".to_owned(),
        "Origin: http://localhost:1".to_owned(),
        "Origin: https://panel.example".to_owned(),
        format!("Origin: http://127.0.0.1:{port}.evil.example"),
        "Cookie: a=b".to_owned(),
        "Sec-Fetch-Site: cross-site".to_owned(),
    ];
    for line in &bad {
        let (status, _) = world
            .http("POST", "/rpc", &[&token, JSON, line], HEALTH)
            .await;
        assert_eq!(status, 403, "{line}");
    }
    let good = [
        "Origin: https://panel.example:8443".to_owned(),
        format!("Origin: http://127.0.0.1:{port}"),
        format!("Origin: http://localhost:{port}"),
    ];
    for line in &good {
        assert_eq!(
            world
                .http("POST", "/rpc", &[&token, JSON, line], HEALTH)
                .await
                .0,
            200,
            "{line}"
        );
    }
    for path in ["/", "/rpc"] {
        let headers = [
            ("authorization", format!("Bearer {TOKEN}")),
            ("origin", "https://evil.example".to_owned()),
        ];
        let refused = world.ws(path, &headers).await;
        assert!(refused.is_err_and(|e| e.contains("403")), "{path}");
    }
    assert_eq!(
        world
            .http("GET", "/", &["Sec-Fetch-Site: none"], b"")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn without_a_credential_only_liveness_is_told() {
    // covers: S2, S52, S11
    let world = World::new().await;
    for path in ["/", "/healthz", "/readyz"] {
        let (status, body) = world.http("GET", path, &[], b"").await;
        assert_eq!(status, 200);
        assert!(
            body.len() < 64 && !body.contains("0.0.0") && !body.contains("main"),
            "{body}"
        );
    }
    assert_eq!(world.http("POST", "/rpc", &[JSON], HEALTH).await.0, 401);
    assert_eq!(world.http("GET", "/metrics", &[], b"").await.0, 401);
    assert_eq!(world.http("GET", "/nope", &[], b"").await.0, 404);
    assert_eq!(
        world.http("GET", "/rpc/", &[&bearer(TOKEN)], b"").await.0,
        404
    );
    assert_eq!(
        world.http("DELETE", "/rpc", &[&bearer(TOKEN)], b"").await.0,
        405
    );
    assert!(
        world
            .ws("/rpc", &[])
            .await
            .is_err_and(|e| e.contains("401"))
    );
    for scheme in ["Basic", "bearer", "Token"] {
        let line = format!("Authorization: {scheme} {TOKEN}");
        let expected = if scheme == "bearer" { 200 } else { 401 };
        assert_eq!(
            world.http("POST", "/rpc", &[&line, JSON], HEALTH).await.0,
            expected,
            "{scheme}"
        );
    }
    let plain = "Content-Type: text/plain";
    assert_eq!(
        world
            .http("POST", "/rpc", &[&bearer(TOKEN), plain], HEALTH)
            .await
            .0,
        415
    );
}

#[tokio::test]
async fn guessing_is_throttled_on_loopback_too_and_the_socket_file_still_works() {
    // covers: S7, D4
    let world = World::new().await;
    for n in 0..15 {
        let wrong = bearer(&format!("wrong-wrong-wrong-wrong-wrong-{n}"));
        let (status, _) = world.http("POST", "/rpc", &[&wrong, JSON], HEALTH).await;
        assert_eq!(status, if n < 10 { 401 } else { 429 }, "attempt {n}");
    }
    assert_eq!(
        world
            .http("POST", "/rpc", &[&bearer(TOKEN), JSON], HEALTH)
            .await
            .0,
        429
    );
    let answer = over_the_socket_file(&world, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn over_the_socket_file(world: &World, headers: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let path = world.dir.path().join(adjutant_gateway::SOCKET_FILE);
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: gateway\r\n{headers}{JSON}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        HEALTH.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(HEALTH).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_socket_file_is_for_the_owner_only_and_goes_away_with_the_gateway() {
    // covers: S48
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new().await;
    let path = world.dir.path().join(adjutant_gateway::SOCKET_FILE);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let wrong = format!("{}\r\n", bearer("wrong-wrong-wrong-wrong-wrong-wrong"));
    assert!(
        over_the_socket_file(&world, &wrong)
            .await
            .starts_with("HTTP/1.1 401")
    );
    world.stop.cancel();
    world.served.take().unwrap().await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn an_exposed_address_and_a_taken_port_are_refused_before_anything_opens() {
    // covers: S1, D1
    let dir = tempfile::tempdir().unwrap();
    let exposed = Config {
        bind: "0.0.0.0".parse().unwrap(),
        port: 0,
        ..Config::default()
    };
    let refused = Listeners::bind(&exposed, dir.path())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("gateway.bind") && refused.contains("TLS"),
        "{refused}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = Listeners::bind(
        &Config {
            port,
            ..Config::default()
        },
        dir.path(),
    )
    .await
    .err()
    .unwrap();
    assert!(refused.to_string().contains("is taken"), "{refused}");
}

#[tokio::test]
async fn every_method_asks_for_its_scope_and_no_other_will_do() {
    // covers: S11, D6, S10
    let world = World::new().await;
    for scope in Scope::ALL {
        let (mut client, hello) = world.frames(4, &[scope.word()]).await;
        assert_eq!(hello["auth"]["scopes"], json!([scope.word()]));
        let held = Scopes::of(&[scope]);
        for spec in adjutant_protocol::specs().filter(|spec| spec.name != "events.subscribe") {
            let Some(wanted) = spec.access.scope() else {
                let answer = client.req(spec.name, json!({})).await;
                assert_eq!(
                    answer["error"]["message"], "unauthorized role: operator",
                    "{}",
                    spec.name
                );
                continue;
            };
            // Parameters that fit no method: whoever gets past the scope check stops there.
            let answer = client.req(spec.name, json!({ "\u{0}": 1 })).await;
            let refused = answer["error"]["details"]["code"] == "MISSING_SCOPE";
            assert_eq!(
                refused,
                !held.allow(wanted),
                "{} with {scope}: {answer}",
                spec.name
            );
            if refused {
                assert_eq!(answer["error"]["code"], "FORBIDDEN");
                assert_eq!(
                    answer["error"]["message"],
                    format!("missing scope: {wanted}")
                );
            }
        }
        let unknown = client.req("no.such.method", json!({})).await;
        let message = if scope == Scope::Admin {
            "unknown method: no.such.method"
        } else {
            "missing scope: operator.admin"
        };
        assert_eq!(unknown["error"]["message"], message);
    }
}
