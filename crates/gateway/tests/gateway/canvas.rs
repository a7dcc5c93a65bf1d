//! What an agent shows: who may see it, under which policy, and what comes back.

use bytes::Bytes;
use serde_json::{Value, json};

use adjutant_domain::label::Trust;
use adjutant_domain::message::Role;
use adjutant_ports::Canvas as _;
use adjutant_ports::canvas::CanvasOf;
use adjutant_ports::store::Hidden;

use crate::world::{Client, TOKEN, World};

const WINDOW: [&str; 3] = [
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: document",
];
const FRAME: [&str; 3] = [
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: iframe",
];

/// A world with a canvas that holds one page; gives the address of its view, too.
async fn shown() -> (World, CanvasOf, String) {
    let world = World::new().await;
    let opened = world.ok("canvas.open", json!({})).await;
    let path = opened["path"].as_str().unwrap().to_owned();
    let key = "agent:main:main".parse().unwrap();
    let owner = adjutant_domain::id::OwnerId::local();
    let session = world.store.session(&owner, &key).await.unwrap().unwrap().id;
    let of = CanvasOf { owner, session };
    write(&world, &of, "index.html", "<h1>one</h1>").await;
    (world, of, path)
}

async fn write(world: &World, of: &CanvasOf, path: &str, text: &'static str) {
    let text = Bytes::from_static(text.as_bytes());
    world.canvas.write(of, path, text).await.unwrap();
}

/// The whole answer, with its head.
async fn whole(world: &World, path: &str, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
    let host = format!("Host: 127.0.0.1:{}\r\n", world.address.port());
    let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{host}{lines}\r\n");
    world.raw(request.as_bytes()).await
}

/// The live connection of a view, after its first word.
async fn view(world: &World, path: &str) -> (Client, Value) {
    let ticket = path.split('/').nth(2).unwrap();
    let origin = [("origin", "null".to_owned())];
    let mut client = world
        .ws(&format!("/canvas-ws/{ticket}"), &origin)
        .await
        .unwrap();
    let hello = client.next().await;
    (client, hello)
}

// covers: S3
#[tokio::test]
async fn a_file_is_seen_with_a_ticket_under_a_policy_and_not_without() {
    let (world, _, path) = shown().await;
    let answer = whole(&world, &path, &[]).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("<h1>one</h1>"),
        "{answer}"
    );
    let head = answer.to_ascii_lowercase();
    for line in [
        "content-security-policy: sandbox allow-scripts allow-forms; default-src 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "etag: ",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(!head.contains("allow-same-origin") && !head.contains("access-control-allow-origin"));
    for wrong in [
        "/canvas/00000000000000000000000000000000/".to_owned(),
        "/canvas/".to_owned(),
        "/__openclaw__/canvas/".to_owned(),
        format!("{path}missing.html"),
        format!("{path}%2e%2e/surfaces.json"),
        format!("{path}../surfaces.json"),
        format!("{path}.hidden"),
    ] {
        assert_eq!(world.http("GET", &wrong, &[], b"").await.0, 404, "{wrong}");
    }
    // The gateway's token opens the API, not a canvas.
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(world.http("GET", "/canvas/", &[&bearer], b"").await.0, 404);
}

#[tokio::test]
async fn the_family_finds_it_under_its_own_names() {
    let (world, _, path) = shown().await;
    let ticket = path.split('/').nth(2).unwrap();
    for name in ["openclaw", "mayros"] {
        let path = format!("/__{name}__/cap/{ticket}/__{name}__/canvas/index.html");
        let (status, body) = world.http("GET", &path, &[], b"").await;
        assert_eq!((status, body.as_str()), (200, "<h1>one</h1>"), "{path}");
    }
}

#[tokio::test]
async fn a_window_gets_our_page_and_the_frame_in_it_gets_the_agents() {
    let (world, _, path) = shown().await;
    let answer = whole(&world, &path, &WINDOW).await;
    let head = answer.to_ascii_lowercase();
    assert!(
        answer.contains("/_/shell.js") && !answer.contains("<h1>one"),
        "{answer}"
    );
    assert!(
        head.contains("sandbox allow-scripts") && head.contains("frame-src"),
        "{head}"
    );
    let inside = format!("{path}~/index.html");
    assert!(
        whole(&world, &inside, &FRAME)
            .await
            .ends_with("<h1>one</h1>")
    );
    // Nobody opens the agent's page in a window of its own, where it could lead itself away.
    assert!(
        whole(&world, &inside, &WINDOW)
            .await
            .contains("/_/shell.js")
    );
    let script = whole(&world, &format!("{path}_/shell.js"), &[]).await;
    assert!(script.contains("sandbox") && script.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn parts_and_validators_of_files_work() {
    let (world, of, path) = shown().await;
    write(&world, &of, "a.txt", "0123456789").await;
    let file = format!("{path}a.txt");
    let part = whole(&world, &file, &["Range: bytes=2-4"]).await;
    assert!(
        part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\n234"),
        "{part}"
    );
    assert!(
        part.to_ascii_lowercase()
            .contains("content-range: bytes 2-4/10"),
        "{part}"
    );
    assert_eq!(
        world.http("GET", &file, &["Range: bytes=99-"], b"").await.0,
        416
    );
    let tag = part
        .lines()
        .find_map(|it| it.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let known = format!("If-None-Match: {tag}");
    assert_eq!(
        world.http("GET", &file, &[&known], b"").await,
        (304, String::new())
    );
    assert_eq!(
        world.http("HEAD", &file, &[], b"").await,
        (200, String::new())
    );
    assert_eq!(
        world
            .http("POST", &file, &["Content-Type: application/json"], b"{}")
            .await
            .0,
        405
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_that_leads_out_is_not_followed() {
    let (world, of, path) = shown().await;
    let folder = world.dir.path().join("canvas").join(of.session.to_string());
    std::fs::write(folder.join("secret.txt"), "secret").unwrap();
    std::os::unix::fs::symlink(folder.join("secret.txt"), folder.join("files/link.txt")).unwrap();
    assert_eq!(
        world
            .http("GET", &format!("{path}link.txt"), &[], b"")
            .await
            .0,
        404
    );
    let error = world.canvas.read(&of, "link.txt", 100).await.unwrap_err();
    assert!(!error.message.contains("secret"), "{error}");
}

#[tokio::test]
async fn names_that_lead_elsewhere_and_files_beyond_the_quota_are_refused() {
    let (world, of, _) = shown().await;
    for name in [
        "../x",
        "/etc/passwd",
        ".git/config",
        "a/../../x",
        "",
        "~/x",
        "_/shell.js",
    ] {
        let written = world
            .canvas
            .write(&of, name, Bytes::from_static(b"x"))
            .await;
        assert!(written.is_err(), "{name}");
    }
    let big = Bytes::from(vec![0; (50 << 20) + 1]);
    assert!(world.canvas.write(&of, "big.bin", big).await.is_err());
    let listed = world.ok("canvas.list", json!({})).await;
    assert_eq!(
        listed["files"],
        json!([{ "path": "index.html", "bytes": 12 }])
    );
}

#[tokio::test]
async fn a_view_is_told_of_changes_whoever_makes_them() {
    let (world, of, path) = shown().await;
    let (mut view, hello) = view(&world, &path).await;
    assert_eq!(
        (&hello["type"], &hello["page"]),
        (&json!("hello"), &json!("index.html"))
    );
    write(&world, &of, "index.html", "<h1>two, longer</h1>").await;
    assert_eq!(view.next().await["type"], "reload");
    // Somebody else's editor.
    let folder = world.dir.path().join("canvas").join(of.session.to_string());
    std::fs::write(folder.join("files/new.css"), "a{}").unwrap();
    let told = view.next().await;
    assert_eq!(told["type"], "reload");
    assert_ne!(told["stamp"], hello["stamp"]);
    assert_eq!(world.canvas.show(&of, "b/page.html").await, Ok(1));
    assert_eq!(
        view.next().await,
        json!({ "type": "show", "page": "b/page.html" })
    );
}

// covers: S3
#[tokio::test]
async fn a_page_without_an_origin_reaches_its_canvas_and_nothing_else() {
    let (world, _, path) = shown().await;
    let null = "Origin: null";
    let answer = whole(&world, &format!("{path}~/index.html"), &[null]).await;
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("access-control-allow-origin: null"),
        "{answer}"
    );
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let json = "Content-Type: application/json";
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"health","params":{}}"#;
    let (status, body) = world
        .http("POST", "/rpc", &[null, &bearer, json], call)
        .await;
    assert_eq!(status, 403, "{body}");
    for place in ["/", "/rpc"] {
        let headers = [
            ("origin", "null".to_owned()),
            ("authorization", format!("Bearer {TOKEN}")),
        ];
        assert!(world.ws(place, &headers).await.is_err(), "{place}");
    }
    let live = path.replace("/canvas/", "/canvas-ws/");
    let stranger = [("origin", "https://stranger.example".to_owned())];
    assert!(
        world
            .ws(live.trim_end_matches('/'), &stranger)
            .await
            .is_err()
    );
    assert_eq!(
        world
            .http("GET", &path, &["Origin: https://stranger.example"], b"")
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn an_action_becomes_a_message_once_and_never_the_owners_words() {
    let (world, _, path) = shown().await;
    let (mut view, _) = view(&world, &path).await;
    let action = json!({
        "type": "action", "id": "a1", "name": "confirm", "context": { "item": 3 }, "page": "index.html",
    });
    for _twice in 0..2 {
        view.say(action.clone()).await;
        assert_eq!(
            view.next().await,
            json!({ "type": "outcome", "id": "a1", "accepted": true })
        );
    }
    let claim = world.claim().await;
    let owner = adjutant_domain::id::OwnerId::local();
    let messages = world
        .store
        .messages(&owner, claim.run.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    let said: Vec<_> = messages.iter().filter(|it| it.role == Role::User).collect();
    let [message] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(message.label.trust, Trust::Outside);
    assert!(
        message.text().starts_with("ui action: confirm\n{"),
        "{}",
        message.text()
    );
    for wrong in [
        json!({ "type": "action", "id": "a2", "name": "" }),
        json!({ "type": "action", "id": "a3", "name": "x\ny" }),
        json!({ "type": "action", "id": "a4", "name": "x", "context": { "a": "y".repeat(20_000) } }),
        json!({ "type": "action", "id": "a5", "name": "x", "surfaceId": "s", "sourceComponentId": "b" }),
    ] {
        view.say(wrong.clone()).await;
        let outcome = view.next().await;
        assert_eq!(outcome["accepted"], false, "{outcome}");
    }
    // More than a person presses.
    let mut refused = 0;
    for n in 0..12 {
        view.say(json!({ "type": "action", "id": format!("b{n}"), "name": "confirm" }))
            .await;
        refused += usize::from(view.next().await["accepted"] == false);
    }
    assert!(5 <= refused, "{refused}");
}

#[tokio::test]
async fn surfaces_are_told_to_views_that_are_open_and_to_those_that_come_later() {
    let (world, of, path) = shown().await;
    let (mut early, hello) = view(&world, &path).await;
    assert_eq!(hello["surfaces"], json!([]));
    let catalog = "https://a2ui.org/specification/v0_9/catalogs/basic/catalog.json";
    let create =
        json!({ "version": "v0.9", "createSurface": { "surfaceId": "s", "catalogId": catalog } });
    let draw = json!({ "version": "v0.9", "updateComponents": { "surfaceId": "s", "components": [
        { "id": "root", "component": "Button", "child": "t", "action": { "event": { "name": "go" } } },
        { "id": "t", "component": "Text", "text": "Go" },
    ] } });
    let wrong = json!({ "version": "v0.9", "updateComponents": { "surfaceId": "s", "components": [
        { "id": "x", "component": "Script" } ] } });
    let pushed = world
        .ok("a2ui.push", json!({ "messages": [create, draw, wrong] }))
        .await;
    assert_eq!(
        (&pushed["accepted"], &pushed["views"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        pushed["rejected"][0]["path"],
        "/updateComponents/components/0/component"
    );
    assert_eq!(early.next().await["messages"], json!([create]));
    let told = early.next().await;
    assert_eq!(
        (&told["rev"], &told["messages"]),
        (&json!(2), &json!([draw]))
    );
    let (mut late, hello) = view(&world, &path).await;
    assert_eq!(hello["surfaces"][0]["messages"][2], draw);
    let action = json!({
        "type": "action", "id": "p1", "name": "go", "surfaceId": "s", "sourceComponentId": "root", "context": {},
    });
    late.say(action).await;
    assert_eq!(late.next().await["accepted"], true);
    let claim = world.claim().await;
    let owner = adjutant_domain::id::OwnerId::local();
    let messages = world
        .store
        .messages(&owner, claim.run.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    assert_eq!(messages.last().unwrap().label.trust, Trust::Workspace);
    // It is kept beside the files, and goes when it is taken away.
    let kept = world
        .dir
        .path()
        .join("canvas")
        .join(of.session.to_string())
        .join("surfaces.json");
    assert!(std::fs::read_to_string(&kept).unwrap().contains("\"go\""));
    assert_eq!(world.ok("a2ui.reset", json!({})).await["removed"], 1);
    assert_eq!(
        late.next().await["messages"][0]["deleteSurface"]["surfaceId"],
        "s"
    );
    assert_eq!(
        world.ok("a2ui.snapshot", json!({})).await["versions"],
        json!([])
    );
}

#[tokio::test]
async fn a_canvas_ends_with_its_session() {
    let (world, of, path) = shown().await;
    let (mut view, _) = view(&world, &path).await;
    let folder = world.dir.path().join("canvas").join(of.session.to_string());
    assert!(folder.join("files/index.html").exists());
    world.ok("sessions.delete", json!({ "key": "main" })).await;
    let (code, _, _) = view.closed().await;
    assert_eq!((code, folder.exists()), (4004, false));
    assert_eq!(world.http("GET", &path, &[], b"").await.0, 404);
}

#[tokio::test]
async fn without_canvases_there_are_none() {
    let world = World::with(|config| config.canvas.enabled = false).await;
    let answer = world.rpc("canvas.open", json!({})).await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no canvas"),
        "{answer}"
    );
}
