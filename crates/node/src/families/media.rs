//! Recordings that are too large for one answer: kept for a while, read in pieces, checked by their digest.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::platform::folders_for_owner;

/// Bytes of one recording.
pub(super) const MEDIA_BYTES_MAX: u64 = 100 << 20;
/// Bytes of all recordings that are kept.
const SHELF_BYTES_MAX: u64 = 256 << 20;
/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);
/// Bytes of one piece.
const PIECE_BYTES: u64 = 256 << 10;

/// Where recordings lie.
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub(super) fn open(folder: &Path) -> std::io::Result<Self> {
        folders_for_owner().recursive(true).create(folder)?;
        let shelf = Self {
            folder: folder.to_owned(),
        };
        shelf.clear();
        Ok(shelf)
    }

    /// A fresh folder for one recording; it goes with the value.
    pub(super) fn desk(&self) -> Result<Desk, NodeFault> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.clear();
        let name = format!(
            "desk-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = self.folder.join(name);
        folders_for_owner()
            .create(&folder)
            .map_err(|error| unavailable(&error))?;
        Ok(Desk { folder })
    }

    /// The answer for a recording: the bytes themselves, or where to read them in pieces.
    pub(super) fn answer(
        &self,
        order: &Order,
        file: &Path,
        mut facts: Map<String, Value>,
    ) -> Result<Value, NodeFault> {
        let bytes = std::fs::metadata(file)
            .map_err(|error| unavailable(&error))?
            .len();
        if MEDIA_BYTES_MAX < bytes {
            return Err(NodeFault::new(
                "PAYLOAD_TOO_LARGE",
                "the recording is larger than 100 MiB; make it shorter",
            ));
        }
        let inline_max = (order.answer_bytes_max.saturating_sub(1 << 10) / 4 * 3) as u64;
        let in_pieces = order.params.get("transfer").and_then(Value::as_str) == Some("pieces");
        if bytes <= inline_max && !(in_pieces && PIECE_BYTES < bytes) {
            let content = std::fs::read(file).map_err(|error| unavailable(&error))?;
            facts.insert("base64".to_owned(), json!(STANDARD.encode(content)));
            return Ok(Value::Object(facts));
        }
        if !in_pieces {
            return Err(NodeFault::new(
                "PAYLOAD_TOO_LARGE",
                format!(
                    "the recording has {bytes} bytes and one answer carries {inline_max}: make it shorter or smaller, \
                     or ask with `transfer: \"pieces\"`"
                ),
            ));
        }
        let content = std::fs::read(file).map_err(|error| unavailable(&error))?;
        let digest = adjutant_vault::digest(&content);
        std::fs::rename(file, self.folder.join(&digest)).map_err(|error| unavailable(&error))?;
        let media =
            json!({ "id": digest, "bytes": bytes, "sha256": digest, "pieceBytes": PIECE_BYTES });
        facts.insert("media".to_owned(), media);
        Ok(Value::Object(facts))
    }

    fn read(&self, id: &str, offset: u64, length: u64) -> Result<Value, NodeFault> {
        // The name is a digest and nothing else: no path can be built from it.
        if id.len() != 64 || !id.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(NodeFault::params("`id` is not a recording's"));
        }
        let gone = || NodeFault::new("NOT_FOUND", "this recording is no longer kept");
        let mut file = std::fs::File::open(self.folder.join(id)).map_err(|_gone| gone())?;
        let bytes = file.metadata().map_err(|error| unavailable(&error))?.len();
        if bytes < offset {
            return Err(NodeFault::params("`offset` lies behind the end"));
        }
        file.seek(SeekFrom::Start(offset))
            .map_err(|error| unavailable(&error))?;
        let mut piece = Vec::new();
        file.take(length.clamp(1, PIECE_BYTES))
            .read_to_end(&mut piece)
            .map_err(|error| unavailable(&error))?;
        let end = offset + piece.len() as u64;
        Ok(json!({
            "id": id, "offset": offset, "base64": STANDARD.encode(piece), "bytes": bytes, "end": bytes <= end,
        }))
    }

    /// Removes what is too old, and the oldest while there is too much.
    fn clear(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let mut kept: Vec<_> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let meta = entry.metadata().ok()?;
                Some((
                    meta.modified().ok()?,
                    meta.is_dir(),
                    meta.len(),
                    entry.path(),
                ))
            })
            .collect();
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|it| it.2).sum();
        for (modified, is_folder, len, path) in kept {
            let old = modified.elapsed().is_ok_and(|age| KEPT_FOR < age);
            // A folder is a recording in the making.
            if is_folder && old {
                drop(std::fs::remove_dir_all(&path));
            } else if !is_folder && (old || SHELF_BYTES_MAX < bytes) {
                drop(std::fs::remove_file(&path));
                bytes = bytes.saturating_sub(len);
            }
        }
    }
}

/// A folder for one recording in the making.
pub(super) struct Desk {
    folder: PathBuf,
}

impl Desk {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn unavailable(error: &std::io::Error) -> NodeFault {
    NodeFault::new(
        "UNAVAILABLE",
        format!("the recording cannot be kept: {error}"),
    )
}

/// `media.read`: the next piece of a recording. Reading it again gives the same bytes, so a lost piece is asked for again.
pub(super) struct Media {
    shelf: Arc<Shelf>,
}

impl Media {
    pub(super) fn new(shelf: &Arc<Shelf>) -> Self {
        Self {
            shelf: Arc::clone(shelf),
        }
    }
}

#[async_trait]
impl Capability for Media {
    fn family(&self) -> &'static str {
        "media"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::reads("media.read")]
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        #[derive(Deserialize)]
        struct Params {
            id: String,
            #[serde(default)]
            offset: u64,
            #[serde(default = "piece")]
            length: u64,
        }
        const fn piece() -> u64 {
            PIECE_BYTES
        }
        let Params { id, offset, length } = order.read()?;
        self.shelf.read(&id, offset, length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn order(command: &str, params: Value, answer_bytes_max: usize) -> Order {
        Order {
            command: command.to_owned(),
            params,
            timeout: Duration::from_secs(5),
            answer_bytes_max,
        }
    }

    #[tokio::test]
    async fn a_recording_too_large_for_one_answer_is_read_in_pieces_and_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Arc::new(Shelf::open(dir.path()).unwrap());
        let content: Vec<u8> = (0..700_000_u32).map(|it| (it % 251) as u8).collect();
        let desk = shelf.desk().unwrap();
        let file = desk.file("clip.mp4");
        std::fs::write(&file, &content).unwrap();
        let plain = order("camera.clip", json!({}), 100_000);
        assert_eq!(
            shelf.answer(&plain, &file, Map::new()).unwrap_err().code,
            "PAYLOAD_TOO_LARGE"
        );
        let pieces = order("camera.clip", json!({ "transfer": "pieces" }), 100_000);
        let answer = shelf.answer(&pieces, &file, Map::new()).unwrap();
        drop(desk);
        let media = Media::new(&shelf);
        let mut whole = Vec::new();
        loop {
            let ask = json!({ "id": answer["media"]["id"], "offset": whole.len() });
            let piece = media
                .invoke(&order("media.read", ask, 1 << 20))
                .await
                .unwrap();
            whole.extend(STANDARD.decode(piece["base64"].as_str().unwrap()).unwrap());
            if piece["end"] == true {
                break;
            }
        }
        assert_eq!(
            json!(adjutant_vault::digest(&whole)),
            answer["media"]["sha256"]
        );
        assert_eq!(whole, content);
    }

    // covers: S39
    #[tokio::test]
    async fn no_path_gets_in_through_the_name_of_a_recording() {
        let dir = tempfile::tempdir().unwrap();
        let media = Media::new(&Arc::new(Shelf::open(dir.path()).unwrap()));
        let dots = format!("../{}", "a".repeat(61));
        for id in ["../../etc/passwd", "", dots.as_str()] {
            let refused = media
                .invoke(&order("media.read", json!({ "id": id }), 1 << 20))
                .await;
            assert_eq!(refused.unwrap_err().code, "INVALID_PARAMS");
        }
    }
}
