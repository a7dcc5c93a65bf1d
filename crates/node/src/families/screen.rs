//! `screen.*`: pictures and films of the screen, through `ffmpeg`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::config::Config;

use super::camera::{indicate, jpeg_quality, no_sound, words};
use super::ffmpeg::Ffmpeg;
use super::jpeg;
use super::media::Shelf;
use super::notify::Notifier;

/// The screens of this machine.
pub(super) struct Screen {
    views: Vec<View>,
    ffmpeg: Arc<Ffmpeg>,
    shelf: Arc<Shelf>,
    notifier: Option<Arc<Notifier>>,
}

/// One screen: the arguments before and after the frame rate.
struct View {
    name: String,
    /// Whether `-framerate` is understood: a grabber does, a file does not.
    grabs: bool,
    input: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Film {
    #[serde(default)]
    screen_index: usize,
    #[serde(default = "film_length")]
    duration_ms: u64,
    #[serde(default = "rate")]
    fps: f64,
    #[serde(default)]
    include_audio: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Still {
    #[serde(default)]
    screen_index: usize,
    #[serde(default)]
    format: Option<String>,
    #[serde(default = "width")]
    max_width: u32,
    #[serde(default = "quality")]
    quality: f64,
}

const fn film_length() -> u64 {
    10_000
}

const fn rate() -> f64 {
    10.0
}

const fn width() -> u32 {
    1_600
}

const fn quality() -> f64 {
    0.9
}

impl Screen {
    /// None where there is no screen that can be recorded.
    pub(super) fn find(
        config: &Config,
        ffmpeg: &Arc<Ffmpeg>,
        shelf: &Arc<Shelf>,
        notifier: Option<&Arc<Notifier>>,
    ) -> Option<Self> {
        let mut views: Vec<View> = config
            .media
            .screens
            .iter()
            .map(|(name, input)| View {
                name: name.clone(),
                grabs: false,
                input: input.clone(),
            })
            .collect();
        let grab = |name: &str, input: &[&str]| View {
            name: name.to_owned(),
            grabs: true,
            input: words(input),
        };
        let display = std::env::var("DISPLAY").ok().filter(|it| !it.is_empty());
        if let Some(display) = display
            && ffmpeg.reads("x11grab")
        {
            views.push(grab(&display, &["-f", "x11grab", "-i", &display]));
        } else if cfg!(target_os = "macos") && ffmpeg.reads("avfoundation") {
            let input = ["-f", "avfoundation", "-i", "Capture screen 0:none"];
            views.push(grab("main", &input));
        } else if cfg!(windows) && ffmpeg.reads("gdigrab") {
            views.push(grab("desktop", &["-f", "gdigrab", "-i", "desktop"]));
        }
        (!views.is_empty()).then(|| Self {
            views,
            ffmpeg: Arc::clone(ffmpeg),
            shelf: Arc::clone(shelf),
            notifier: notifier.cloned(),
        })
    }

    fn view(&self, index: usize) -> Result<&View, NodeFault> {
        let n = self.views.len();
        self.views
            .get(index)
            .ok_or_else(|| NodeFault::params(format!("`screenIndex` is below {n} here")))
    }

    async fn record(&self, order: &Order) -> Result<Value, NodeFault> {
        let params: Film = order.read()?;
        if !(200..=60_000).contains(&params.duration_ms) || !(1.0..=30.0).contains(&params.fps) {
            return Err(NodeFault::params(
                "`durationMs` is 200 to 60000, `fps` 1 to 30",
            ));
        }
        no_sound(params.include_audio)?;
        let view = self.view(params.screen_index)?;
        self.tell("the screen is recorded").await;
        let desk = self.shelf.desk()?;
        let file = desk.file("screen.mp4");
        let length = Duration::from_millis(params.duration_ms);
        let fps = format!("{:.2}", params.fps);
        let mut input = Vec::new();
        if view.grabs {
            input.extend(["-framerate".to_owned(), fps.clone()]);
        }
        input.extend(view.input.iter().cloned());
        let mut output = vec!["-t".to_owned(), format!("{:.3}", length.as_secs_f64())];
        output.extend(["-r".to_owned(), fps]);
        output.extend(words(&["-vf", "scale=trunc(iw/2)*2:trunc(ih/2)*2"]));
        output.extend(self.ffmpeg.film());
        self.ffmpeg.record(&input, output, &file, length).await?;
        let facts = Map::from_iter([
            ("format".to_owned(), json!("mp4")),
            ("durationMs".to_owned(), json!(params.duration_ms)),
            ("fps".to_owned(), json!(params.fps)),
            ("screenIndex".to_owned(), json!(params.screen_index)),
            ("screen".to_owned(), json!(view.name)),
            ("hasAudio".to_owned(), json!(false)),
        ]);
        self.shelf.answer(order, &file, facts)
    }

    async fn snap(&self, order: &Order) -> Result<Value, NodeFault> {
        let params: Still = order.read()?;
        let (format, name) = match params.format.as_deref() {
            None | Some("png") => ("png", "screen.png"),
            Some("jpg" | "jpeg") => ("jpg", "screen.jpg"),
            Some(_) => return Err(NodeFault::params("`format` is png or jpeg")),
        };
        if !(16..=8_192).contains(&params.max_width) || !(0.0..=1.0).contains(&params.quality) {
            return Err(NodeFault::params(
                "`maxWidth` is 16 to 8192, `quality` 0 to 1",
            ));
        }
        let view = self.view(params.screen_index)?;
        self.tell("a picture of the screen is taken").await;
        let desk = self.shelf.desk()?;
        let file = desk.file(name);
        let mut output = words(&["-frames:v", "1", "-vf"]);
        output.push(format!("scale='min({},iw)':-2", params.max_width));
        if format == "jpg" {
            output.extend(["-q:v".to_owned(), jpeg_quality(params.quality).to_string()]);
        }
        self.ffmpeg
            .record(&view.input, output, &file, Duration::ZERO)
            .await?;
        let size = std::fs::read(&file)
            .ok()
            .and_then(|bytes| jpeg::size(&bytes));
        let (width, height) =
            size.ok_or_else(|| NodeFault::new("UNAVAILABLE", "the screen gave no picture"))?;
        let facts = Map::from_iter([
            ("format".to_owned(), json!(format)),
            ("width".to_owned(), json!(width)),
            ("height".to_owned(), json!(height)),
            ("screenIndex".to_owned(), json!(params.screen_index)),
        ]);
        self.shelf.answer(order, &file, facts)
    }

    async fn tell(&self, what: &str) {
        indicate(self.notifier.as_ref(), "Screen in use", what).await;
    }
}

#[async_trait]
impl Capability for Screen {
    fn family(&self) -> &'static str {
        "screen"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![
            Offer::once("screen.snap").alone("screen"),
            Offer::once("screen.record").alone("screen"),
        ]
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        match order.command.as_str() {
            "screen.record" => self.record(order).await,
            _ => self.snap(order).await,
        }
    }
}
