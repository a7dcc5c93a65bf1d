//! Showing something to the owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use adjutant_domain::agent::TrustLevel;
use adjutant_ports::Canvas;
use adjutant_ports::canvas::{CanvasError, CanvasFile, CanvasOf, Pushed, RejectedMessage};
use adjutant_tools::Config;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use crate::world::World;

/// A canvas in memory that nobody looks at.
#[derive(Default)]
struct Board {
    files: Mutex<BTreeMap<String, Bytes>>,
    said: Mutex<Vec<String>>,
}

fn none(path: &str) -> CanvasError {
    CanvasError {
        message: format!("there is no `{path}`"),
    }
}

#[async_trait]
impl Canvas for Board {
    async fn write(&self, _of: &CanvasOf, path: &str, content: Bytes) -> Result<(), CanvasError> {
        self.files.lock().unwrap().insert(path.to_owned(), content);
        Ok(())
    }

    async fn remove(&self, _of: &CanvasOf, path: &str) -> Result<(), CanvasError> {
        let removed = self.files.lock().unwrap().remove(path);
        removed.map(drop).ok_or_else(|| none(path))
    }

    async fn read(&self, _of: &CanvasOf, path: &str, _max: u64) -> Result<Bytes, CanvasError> {
        self.files
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .ok_or_else(|| none(path))
    }

    async fn list(&self, _of: &CanvasOf) -> Result<Vec<CanvasFile>, CanvasError> {
        let files = self.files.lock().unwrap();
        let all = files.iter().map(|(path, content)| CanvasFile {
            path: path.clone(),
            bytes: content.len() as u64,
        });
        Ok(all.collect())
    }

    async fn show(&self, _of: &CanvasOf, path: &str) -> Result<usize, CanvasError> {
        self.said.lock().unwrap().push(format!("show {path}"));
        Ok(0)
    }

    async fn push(&self, of: &CanvasOf, messages: &str) -> Result<Pushed, CanvasError> {
        self.said
            .lock()
            .unwrap()
            .push(format!("push {} {messages}", of.session));
        let rejected = messages.contains("wrong").then(|| RejectedMessage {
            index: 0,
            path: "/x".to_owned(),
            reason: "is not known here".to_owned(),
        });
        Ok(Pushed {
            accepted: 1,
            rejected: rejected.into_iter().collect(),
            views: 2,
        })
    }

    async fn reset(&self, _of: &CanvasOf, _surface: Option<&str>) -> Result<usize, CanvasError> {
        Ok(3)
    }
}

fn world() -> (World, Arc<Board>) {
    let board = Arc::new(Board::default());
    let door = Arc::<Board>::clone(&board) as Arc<dyn Canvas>;
    let mut world = World::new();
    world.agent.trust_level = TrustLevel::L3;
    world.add(adjutant_tools::canvas(&door, &Config::default()));
    (world, board)
}

#[tokio::test]
async fn a_page_is_written_read_shown_and_removed() {
    let (mut world, board) = world();
    let page = json!({ "path": "index.html", "content": "<h1>hi</h1>" });
    assert!(world.done("canvas_write", page).await.contains("11 bytes"));
    assert_eq!(
        world.done("canvas_read", json!({})).await,
        "index.html (11 bytes)"
    );
    let read = world
        .done("canvas_read", json!({ "path": "index.html" }))
        .await;
    assert_eq!(read, "<h1>hi</h1>");
    let shown = world
        .done("canvas_show", json!({ "path": "index.html" }))
        .await;
    assert!(shown.contains("No view is open"), "{shown}");
    assert_eq!(*board.said.lock().unwrap(), ["show index.html"]);
    world
        .done("canvas_write", json!({ "path": "index.html" }))
        .await;
    assert_eq!(
        world.done("canvas_read", json!({})).await,
        "The canvas is empty."
    );
    let missing = world.failed("canvas_read", json!({ "path": "x" })).await;
    assert!(missing.contains("there is no `x`"), "{missing}");
}

#[tokio::test]
async fn messages_of_a2ui_are_given_on_and_flaws_are_told_with_their_place() {
    let (mut world, board) = world();
    let said = world.done("canvas_ui", json!({ "messages": "{}" })).await;
    assert!(
        said.contains("1 messages were taken. 2 views are open."),
        "{said}"
    );
    assert!(board.said.lock().unwrap()[0].starts_with("push ses_"));
    let flawed = world
        .failed("canvas_ui", json!({ "messages": "wrong", "reset": true }))
        .await;
    assert!(
        flawed.contains("A2UI_INVALID") && flawed.contains("message 1 at /x: is not known here"),
        "{flawed}"
    );
    assert!(
        world
            .failed("canvas_ui", json!({}))
            .await
            .contains("give `messages`")
    );
}
