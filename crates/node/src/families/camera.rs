//! `camera.*`: pictures and clips, through `ffmpeg`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::config::Config;

use super::ffmpeg::Ffmpeg;
use super::jpeg;
use super::media::Shelf;
use super::notify::Notifier;

/// Cameras offered.
const CAMERAS_MAX: usize = 16;

/// The cameras of this machine.
pub(super) struct Camera {
    eyes: Vec<Eye>,
    ffmpeg: Arc<Ffmpeg>,
    shelf: Arc<Shelf>,
    notifier: Option<Arc<Notifier>>,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Eye {
    id: String,
    name: String,
    kind: &'static str,
    input: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snap {
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    facing: Option<String>,
    #[serde(default = "width")]
    max_width: u32,
    #[serde(default = "quality")]
    quality: f64,
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clip {
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    facing: Option<String>,
    #[serde(default = "clip_length")]
    duration_ms: u64,
    #[serde(default)]
    include_audio: bool,
}

const fn width() -> u32 {
    1_600
}

const fn quality() -> f64 {
    0.9
}

const fn clip_length() -> u64 {
    3_000
}

impl Camera {
    /// None where there is no camera.
    pub(super) fn find(
        config: &Config,
        ffmpeg: &Arc<Ffmpeg>,
        shelf: &Arc<Shelf>,
        notifier: Option<&Arc<Notifier>>,
    ) -> Option<Self> {
        let mut eyes: Vec<Eye> = config
            .media
            .cameras
            .iter()
            .map(|(name, input)| Eye {
                id: name.clone(),
                name: name.clone(),
                kind: "configured",
                input: input.clone(),
            })
            .collect();
        if ffmpeg.reads("v4l2") || ffmpeg.reads("video4linux2") {
            eyes.extend(v4l2(Path::new("/sys/class/video4linux"), Path::new("/dev")));
        } else if cfg!(target_os = "macos") && ffmpeg.reads("avfoundation") {
            eyes.push(Eye {
                id: "0".to_owned(),
                name: "default".to_owned(),
                kind: "avfoundation",
                input: words(&["-f", "avfoundation", "-framerate", "30", "-i", "0:none"]),
            });
        }
        eyes.truncate(CAMERAS_MAX);
        (!eyes.is_empty()).then(|| Self {
            eyes,
            ffmpeg: Arc::clone(ffmpeg),
            shelf: Arc::clone(shelf),
            notifier: notifier.cloned(),
        })
    }

    /// The camera that is meant: by id, else the first. A machine's cameras have no front and back.
    fn eye(&self, id: Option<&str>, facing: Option<&str>) -> Result<&Eye, NodeFault> {
        if let Some(facing) = facing
            && !["front", "back"].contains(&facing)
        {
            return Err(NodeFault::params("`facing` is front or back"));
        }
        match id {
            None => self.eyes.first(),
            Some(id) => self.eyes.iter().find(|it| it.id == id),
        }
        .ok_or_else(|| NodeFault::params("there is no such camera; see `camera.list`"))
    }

    fn list(&self) -> Value {
        let devices: Vec<Value> = self
            .eyes
            .iter()
            .map(|it| {
                json!({ "id": it.id, "name": it.name, "position": "unspecified", "deviceType": it.kind })
            })
            .collect();
        json!({ "devices": devices })
    }

    async fn snap(&self, order: &Order) -> Result<Value, NodeFault> {
        let params: Snap = order.read()?;
        if !(16..=8_192).contains(&params.max_width) || !(0.0..=1.0).contains(&params.quality) {
            return Err(NodeFault::params(
                "`maxWidth` is 16 to 8192, `quality` 0 to 1",
            ));
        }
        if 10_000 < params.delay_ms {
            return Err(NodeFault::params("`delayMs` is at most 10000"));
        }
        let eye = self.eye(params.device_id.as_deref(), params.facing.as_deref())?;
        self.tell("a picture is taken").await;
        let desk = self.shelf.desk()?;
        let file = desk.file("snap.jpg");
        let output = vec![
            "-ss".to_owned(),
            format!("{}.{:03}", params.delay_ms / 1_000, params.delay_ms % 1_000),
            "-frames:v".to_owned(),
            "1".to_owned(),
            "-vf".to_owned(),
            format!("scale='min({},iw)':-2", params.max_width),
            "-q:v".to_owned(),
            jpeg_quality(params.quality).to_string(),
            "-f".to_owned(),
            "image2".to_owned(),
        ];
        let delay = Duration::from_millis(params.delay_ms);
        self.ffmpeg.record(&eye.input, output, &file, delay).await?;
        let size = std::fs::read(&file)
            .ok()
            .and_then(|bytes| jpeg::size(&bytes));
        let (width, height) =
            size.ok_or_else(|| NodeFault::new("UNAVAILABLE", "the camera gave no picture"))?;
        let facts = Map::from_iter([
            ("format".to_owned(), json!("jpg")),
            ("width".to_owned(), json!(width)),
            ("height".to_owned(), json!(height)),
            ("deviceId".to_owned(), json!(eye.id)),
        ]);
        self.shelf.answer(order, &file, facts)
    }

    async fn clip(&self, order: &Order) -> Result<Value, NodeFault> {
        let params: Clip = order.read()?;
        if !(200..=60_000).contains(&params.duration_ms) {
            return Err(NodeFault::params("`durationMs` is 200 to 60000"));
        }
        no_sound(params.include_audio)?;
        let eye = self.eye(params.device_id.as_deref(), params.facing.as_deref())?;
        self.tell("a clip is recorded").await;
        let desk = self.shelf.desk()?;
        let file = desk.file("clip.mp4");
        let length = Duration::from_millis(params.duration_ms);
        let mut output = vec!["-t".to_owned(), format!("{:.3}", length.as_secs_f64())];
        output.extend(words(&["-vf", "scale=trunc(iw/2)*2:trunc(ih/2)*2"]));
        output.extend(self.ffmpeg.film());
        self.ffmpeg
            .record(&eye.input, output, &file, length)
            .await?;
        let facts = Map::from_iter([
            ("format".to_owned(), json!("mp4")),
            ("durationMs".to_owned(), json!(params.duration_ms)),
            ("hasAudio".to_owned(), json!(false)),
            ("deviceId".to_owned(), json!(eye.id)),
        ]);
        self.shelf.answer(order, &file, facts)
    }

    /// Nothing is recorded in secret: whoever sits here sees it, where there is a screen.
    async fn tell(&self, what: &str) {
        indicate(self.notifier.as_ref(), "Camera in use", what).await;
    }
}

/// Shows on the screen, where there is one, and in the log that something is recorded.
pub(super) async fn indicate(notifier: Option<&Arc<Notifier>>, title: &str, what: &str) {
    tracing::info!("{title}: {what} for the gateway");
    if let Some(notifier) = notifier
        && let Err(fault) = notifier
            .show(title, &format!("{what} for the gateway"), "active")
            .await
    {
        tracing::warn!(%fault, "the notice on the screen could not be shown");
    }
}

/// This host records pictures only, and says so rather than deliver silence.
pub(super) fn no_sound(asked: bool) -> Result<(), NodeFault> {
    if asked {
        return Err(NodeFault::new(
            "RECORD_AUDIO_PERMISSION_REQUIRED",
            "this node records no sound; ask without `includeAudio`",
        ));
    }
    Ok(())
}

/// 1 is best; ffmpeg counts from 2 (best) to 31.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn jpeg_quality(quality: f64) -> u32 {
    2 + ((1.0 - quality.clamp(0.0, 1.0)) * 29.0).round() as u32
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|it| (*it).to_owned()).collect()
}

/// The capture devices of Linux; a camera has several nodes, of which the first gives pictures.
fn v4l2(classes: &Path, devices: &Path) -> Vec<Eye> {
    let read = |path: &Path| std::fs::read_to_string(path).map(|it| it.trim().to_owned());
    let mut found: Vec<Eye> = std::fs::read_dir(classes)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|it| read(&it.path().join("index")).is_ok_and(|index| index == "0"))
        .filter_map(|it| {
            let id = it.file_name().into_string().ok()?;
            let device = devices.join(&id);
            let usable = crate::platform::may_read(&device);
            let device = device.to_str().filter(|_| usable)?.to_owned();
            Some(Eye {
                name: read(&it.path().join("name")).unwrap_or_else(|_unnamed| id.clone()),
                kind: "v4l2",
                input: vec!["-f".to_owned(), "v4l2".to_owned(), "-i".to_owned(), device],
                id,
            })
        })
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

#[async_trait]
impl Capability for Camera {
    fn family(&self) -> &'static str {
        "camera"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![
            Offer::reads("camera.list"),
            Offer::once("camera.snap").alone("camera"),
            Offer::once("camera.clip").alone("camera"),
        ]
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        match order.command.as_str() {
            "camera.list" => Ok(self.list()),
            "camera.snap" => self.snap(order).await,
            _ => self.clip(order).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_nodes_that_give_pictures_and_can_be_read_are_cameras() {
        let (classes, devices) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (id, index, name, there) in [
            ("video0", "0", "Integrated", true),
            ("video1", "1", "Integrated", true),
            ("video2", "0", "Unplugged", false),
        ] {
            let class = classes.path().join(id);
            std::fs::create_dir(&class).unwrap();
            std::fs::write(class.join("index"), format!("{index}\n")).unwrap();
            std::fs::write(class.join("name"), format!("{name}\n")).unwrap();
            if there {
                std::fs::write(devices.path().join(id), "").unwrap();
            }
        }
        let found = v4l2(classes.path(), devices.path());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].id.as_str(), found[0].name.as_str()),
            ("video0", "Integrated")
        );
        assert_eq!(v4l2(Path::new("/nowhere"), devices.path()), vec![]);
    }

    #[test]
    fn quality_is_turned_into_what_ffmpeg_counts() {
        assert_eq!(
            (jpeg_quality(1.0), jpeg_quality(0.9), jpeg_quality(0.0)),
            (2, 5, 31)
        );
    }
}
