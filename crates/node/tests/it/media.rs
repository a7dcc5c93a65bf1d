//! Camera and screen, with the real ffmpeg where there is one.

use std::collections::BTreeMap;

use adjutant_node::{Config, Media};
use serde_json::{Value, json};

use super::gateway::{Gateway, program, start};

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn recording() -> Option<Config> {
    if program("ffmpeg").is_none() {
        eprintln!("skipped: there is no ffmpeg (sudo apt-get install ffmpeg)");
        return None;
    }
    let media = Media {
        cameras: BTreeMap::from([(
            "test".to_owned(),
            words("-f lavfi -i testsrc2=size=640x480:rate=10"),
        )]),
        screens: BTreeMap::from([(
            "test".to_owned(),
            words("-f lavfi -i testsrc2=size=1280x720:rate=10"),
        )]),
        ..Media::default()
    };
    Some(Config {
        media,
        ..Config::default()
    })
}

fn length_of(bytes: &[u8]) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("film.mp4");
    std::fs::write(&file, bytes).unwrap();
    let probe = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "format=duration",
            "-of",
            "csv=p=0",
        ])
        .arg(&file)
        .output()
        .unwrap();
    String::from_utf8_lossy(&probe.stdout)
        .trim()
        .parse()
        .unwrap()
}

fn decode(payload: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(payload["base64"].as_str().unwrap())
        .unwrap()
}

#[tokio::test]
async fn a_camera_gives_pictures_and_clips_of_the_length_asked_for() {
    let Some(config) = recording() else { return };
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let _node = start(folder.path(), &gateway.url("ws"), None, config).await;
    let mut seat = gateway.welcome().await;
    let list = seat.invoke("list", "camera.list", json!({})).await.unwrap();
    assert_eq!(list["devices"][0]["id"], "test");
    let snap = seat
        .invoke(
            "snap",
            "camera.snap",
            json!({ "deviceId": "test", "maxWidth": 320 }),
        )
        .await
        .unwrap();
    assert_eq!(
        (&snap["format"], &snap["width"], &snap["height"]),
        (&json!("jpg"), &json!(320), &json!(240))
    );
    assert!(decode(&snap).starts_with(&[0xff, 0xd8]));
    let clip = seat
        .invoke("clip", "camera.clip", json!({ "durationMs": 1_500 }))
        .await
        .unwrap();
    assert_eq!(
        (&clip["format"], &clip["hasAudio"]),
        (&json!("mp4"), &json!(false))
    );
    let seconds = length_of(&decode(&clip));
    assert!((1.2..1.9).contains(&seconds), "{seconds}");
    for params in [
        json!({ "deviceId": "other" }),
        json!({ "durationMs": 61_000 }),
        json!({ "includeAudio": true }),
    ] {
        let key = params.to_string();
        assert!(seat.invoke(&key, "camera.clip", params).await.is_err());
    }
}

#[tokio::test]
async fn a_screen_gives_pictures_and_films_and_long_ones_come_in_pieces() {
    let Some(config) = recording() else { return };
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::open().await;
    let _node = start(folder.path(), &gateway.url("ws"), None, config).await;
    let mut seat = gateway.seat().await;
    // So small that a film does not fit into one answer.
    seat.let_in(24 << 10).await;
    let snap = json!({ "format": "jpeg", "maxWidth": 64, "quality": 0.5 });
    let snap = seat.invoke("snap", "screen.snap", snap).await.unwrap();
    assert_eq!(snap["width"], 64);
    let ask = json!({ "durationMs": 2_000, "fps": 10, "transfer": "pieces" });
    let film = seat.invoke("film", "screen.record", ask).await.unwrap();
    let media = film["media"].clone();
    let mut whole = Vec::new();
    while (whole.len() as u64) < media["bytes"].as_u64().unwrap() {
        let ask = json!({ "id": media["id"], "offset": whole.len(), "length": 8_192 });
        let piece = seat
            .invoke(&format!("piece {}", whole.len()), "media.read", ask)
            .await
            .unwrap();
        whole.extend(decode(&piece));
    }
    assert_eq!(media["sha256"], json!(adjutant_vault::digest(&whole)));
    let seconds = length_of(&whole);
    assert!((1.7..2.4).contains(&seconds), "{seconds}");
}
