//! The page `/node.html` in a real browser, with a made-up camera and place: it pairs, offers, answers, comes back.
//! Skips where there is no Chromium.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use adjutant_client::Client;
use serde_json::{Value, json};

use common::{Browser, PATIENCE, chromium, gateway};

async fn invoke(client: &Client, key: &str, command: &str, params: Value) -> Value {
    let params = json!({
        "nodeId": "test phone", "command": command, "params": params, "timeoutMs": 60_000, "idempotencyKey": key,
    });
    client
        .call_value_within(PATIENCE, "node.invoke", params)
        .await
        .unwrap_or_else(|error| panic!("{command}: {error}"))["payload"]
        .clone()
}

async fn arm(client: &Client, group: &str) {
    let params = json!({ "group": group, "durationMs": 60_000 });
    client.call_value("node.lease.arm", params).await.unwrap();
}

async fn shows_the_canvas(browser: &mut Browser, client: &Client) {
    // What the agent made is shown in a frame that shares nothing with this page.
    let frame = "document.getElementById('canvas').contentWindow.length";
    invoke(client, "present", "canvas.present", json!({})).await;
    let begun = std::time::Instant::now();
    while browser.run(frame).await != 1 {
        assert!(
            begun.elapsed() < PATIENCE / 3,
            "the frame of the canvas is empty"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let open = "(() => { try { return document.getElementById('canvas').contentDocument?.title ?? 'shut'; } catch { return 'shut'; } })()";
    assert_eq!(browser.run(open).await, "shut");
    let params = json!({ "url": "/canvas/b.html" });
    let turned = invoke(client, "turn", "canvas.navigate", params).await;
    assert_eq!(turned["url"], "/canvas/b.html");
    let away = json!({
        "nodeId": "test phone", "command": "canvas.navigate", "params": { "url": "https://stranger.example/" },
        "idempotencyKey": "away",
    });
    let refused = client.call_value("node.invoke", away).await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("only pages of the canvas"),
        "{refused:?}"
    );
    invoke(client, "hide", "canvas.hide", json!({})).await;
    assert_eq!(
        browser
            .run("document.getElementById('canvas').hidden")
            .await,
        true
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_lends_its_camera_and_place() {
    let Some(program) = chromium() else {
        eprintln!("skipped: there is no Chromium (sudo apt-get install chromium)");
        return;
    };
    let (home, profile) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_gateway, address, client) = gateway(home.path()).await;
    let token = std::fs::read_to_string(home.path().join("token")).unwrap();
    let origin = format!("http://{}", address.replace("127.0.0.1", "localhost"));
    let page = format!("{origin}/node.html");
    let mut browser = Browser::open(&program, profile.path()).await;
    let session = browser.session.take();
    browser
        .call(
            "Browser.grantPermissions",
            json!({ "origin": origin, "permissions": ["geolocation", "videoCapture"] }),
        )
        .await;
    browser.session = session;
    let place = json!({ "latitude": 48.1, "longitude": 11.5, "accuracy": 30 });
    browser
        .call("Emulation.setGeolocationOverride", place)
        .await;
    browser.call("Page.enable", json!({})).await;
    browser.call("Page.navigate", json!({ "url": page })).await;
    browser.phase("stopped").await;
    while browser
        .run("document.getElementById('connect').disabled")
        .await
        == true
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fill = format!(
        "document.getElementById('name').value = 'test phone';
         document.getElementById('token').value = {};
         for (const name of ['camera', 'location', 'notify', 'canvas', 'device']) document.getElementById(`offer-${{name}}`).checked = true;
         document.getElementById('form').requestSubmit();",
        json!(token.trim())
    );
    browser.run(&fill).await;

    // A camera is never let in without a person (S13).
    let said = browser.phase("pairing").await;
    let pending = client
        .call_value("device.pair.list", json!({}))
        .await
        .unwrap();
    let request = &pending["pending"][0];
    assert!(
        said.contains(request["requestId"].as_str().unwrap()),
        "{said}"
    );
    let approve = json!({ "requestId": request["requestId"] });
    client
        .call_value("device.pair.approve", approve)
        .await
        .unwrap();
    browser.phase("connected").await;
    assert_eq!(
        browser.run("document.getElementById('token').value").await,
        "",
        "the token does not stay"
    );

    let info = invoke(&client, "info", "device.info", json!({})).await;
    assert_eq!(info["name"], "test phone");
    let note = json!({ "title": "<b>Hello</b>", "body": "there" });
    assert_eq!(
        invoke(&client, "note", "system.notify", note).await["delivered"],
        true
    );
    let shown = browser
        .run("document.querySelector('#notes strong').textContent")
        .await;
    assert_eq!(shown, "<b>Hello</b>", "a note is text, never markup");

    arm(&client, "camera").await;
    arm(&client, "location").await;
    let snap = invoke(&client, "snap", "camera.snap", json!({ "maxWidth": 320 })).await;
    assert_eq!(
        (&snap["format"], &snap["width"]),
        (&json!("jpg"), &json!(320))
    );
    assert!(
        snap["base64"].as_str().unwrap().starts_with("/9j/"),
        "a JPEG"
    );
    let clip = invoke(&client, "clip", "camera.clip", json!({ "durationMs": 500 })).await;
    assert!(1_000 < clip["base64"].as_str().unwrap().len());
    let place = invoke(&client, "place", "location.get", json!({})).await;
    assert_eq!((&place["lat"], &place["lon"]), (&json!(48.1), &json!(11.5)));
    // The same key: the picture that was taken, not another.
    assert_eq!(
        invoke(&client, "snap", "camera.snap", json!({ "maxWidth": 320 })).await,
        snap
    );

    shows_the_canvas(&mut browser, &client).await;

    // Loaded anew it comes back by itself, with a token of its own.
    browser.call("Page.reload", json!({})).await;
    browser.phase("connected").await;
    let again = invoke(&client, "again", "device.info", json!({})).await;
    assert_eq!(again["name"], "test phone");
}
