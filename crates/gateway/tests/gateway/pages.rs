//! The browser Control UI: what is served of its folder, to whom, and with which policy.

use std::path::Path;

use crate::world::{TOKEN, World};

const NAVIGATION: [&str; 4] = [
    "Accept: text/html",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: document",
];
const PART: [&str; 3] = [
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: script",
];

/// A folder as a web build leaves it, with a secret beside it.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let ui = dir.path().join("ui");
    std::fs::create_dir_all(ui.join("assets")).unwrap();
    std::fs::write(
        ui.join("index.html"),
        "<title>ui</title><script>alert(1)</script>",
    )
    .unwrap();
    std::fs::write(ui.join("assets/index-a1.js"), "start()").unwrap();
    std::fs::write(ui.join(".env"), "hidden").unwrap();
    std::fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret.txt"), ui.join("link.txt")).unwrap();
    dir
}

async fn world(dir: &Path) -> World {
    let ui = dir.join("ui");
    World::with(move |config| config.control_ui.dir = Some(ui)).await
}

#[tokio::test]
async fn a_browser_gets_the_page_and_its_parts() {
    let dir = folder();
    let world = world(dir.path()).await;
    for path in ["/", "/chat", "/chat?session=main"] {
        let (status, body) = world.http("GET", path, &NAVIGATION, b"").await;
        assert_eq!((status, body.contains("<title>ui")), (200, true), "{path}");
    }
    let (status, body) = world.http("GET", "/assets/index-a1.js", &PART, b"").await;
    assert_eq!((status, body.as_str()), (200, "start()"));
    for path in [
        "/__openclaw/control-ui-config.json",
        "/control-ui-config.json",
    ] {
        let (status, body) = world.http("GET", path, &PART, b"").await;
        assert_eq!(
            (status, body.contains("\"assistantAgentId\":\"main\"")),
            (200, true),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_page_comes_with_its_kind_and_a_policy_that_lets_only_its_own_scripts_run() {
    let dir = folder();
    let world = world(dir.path()).await;
    let head = |answer: &str| {
        answer
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let host = format!("Host: 127.0.0.1:{}", world.address.port());
    let ask = |path: &str| {
        format!("GET {path} HTTP/1.1\r\n{host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
    };
    let page = head(&world.raw(ask("/").as_bytes()).await);
    assert!(page.contains("content-type: text/html"), "{page}");
    for rule in [
        "frame-ancestors 'none'",
        "script-src 'self' 'sha256-bhhhl3z2vdgxut0w3dwqorprscmda2y5plslg4gf+pi='",
        "connect-src 'self' data:;",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.contains(rule), "{rule}: {page}");
    }
    let script = head(&world.raw(ask("/assets/index-a1.js").as_bytes()).await);
    assert!(script.contains("content-type: text/javascript"), "{script}");
}

#[tokio::test]
async fn nothing_beside_the_folder_and_nothing_hidden_in_it_is_served() {
    // covers: S39
    let dir = folder();
    let world = world(dir.path()).await;
    for path in [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..\\..\\secret.txt",
        "//etc/passwd",
        "/.env",
        "/link.txt",
        "/assets",
        "/assets/",
        "/nothing.js",
    ] {
        let (status, body) = world.http("GET", path, &[], b"").await;
        assert!(status == 404 || status == 400, "{path}: {status}");
        assert!(
            !body.contains("secret\n") && body != "secret" && body != "hidden",
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_of_others_get_no_part_of_it_and_no_more_of_the_rest_than_before() {
    // covers: S3
    let dir = folder();
    let world = world(dir.path()).await;
    let foreign = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"];
    assert_eq!(
        world
            .http("GET", "/assets/index-a1.js", &foreign, b"")
            .await
            .0,
        403
    );
    let origin = ["Origin: https://evil.example"];
    assert_eq!(world.http("GET", "/", &origin, b"").await.0, 403);
    let token = format!("Authorization: Bearer {TOKEN}");
    let own = [token.as_str(), "Sec-Fetch-Site: same-origin"];
    assert_eq!(world.http("GET", "/metrics", &own, b"").await.0, 403);
    assert_eq!(world.http("POST", "/", &PART, b"").await.0, 403);
}

#[tokio::test]
async fn a_gateway_without_a_control_ui_serves_none() {
    let world = World::new().await;
    assert_eq!(
        world
            .http("GET", "/chat", &["Accept: text/html"], b"")
            .await
            .0,
        404
    );
    assert_eq!(world.http("GET", "/chat", &NAVIGATION, b"").await.0, 403);
    let (status, body) = world.http("GET", "/", &NAVIGATION, b"").await;
    assert_eq!(
        (status, body.as_str()),
        (200, "A gateway is running here.\n")
    );
}
