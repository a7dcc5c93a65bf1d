//! One session's canvas: its folder, its surfaces, and who is looking.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use adjutant_domain::id::{SessionId, SessionKey};
use adjutant_ports::canvas::{
    CANVAS_BYTES_MAX, CANVAS_FILE_BYTES_MAX, CANVAS_FILES_MAX, CanvasFile,
};
use adjutant_ports::files::{FileError, FileKind, Files, WalkLimits, WriteMode};

use super::a2ui::{Report, Surfaces};
use super::address::is_name;

/// The part of a canvas's folder that is served.
const FILES: &str = "files";
/// Where the surfaces are kept, beside it.
const SURFACES: &str = "surfaces.json";
/// Bytes of kept surfaces.
const SURFACES_BYTES_MAX: u64 = 32 << 20;
/// News that a slow view may be behind; further behind it begins anew.
const NEWS_KEPT: usize = 128;
/// Views of one canvas at once.
const VIEWS_MAX: usize = 16;
/// Between two looks at a folder that is being looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Actions that may come at once, and per second.
const ACTIONS_PER_SECOND: f64 = 5.0;
/// The page that is shown when nobody said which.
const FIRST_PAGE: &str = "index.html";

/// What open views are told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum News {
    /// Files have changed.
    Reload { stamp: String },
    /// Turn to this page.
    Show { page: String },
    /// What has become of surfaces; `rev` counts without a gap.
    Surface {
        rev: u64,
        version: &'static str,
        messages: Vec<Value>,
    },
}

/// Why a folder was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    #[error(
        "`{0}` cannot be the name of a file here: use relative names without `..`, `~`, `_` folders or leading dots"
    )]
    Name(String),
    #[error("a file of a canvas has at most {CANVAS_FILE_BYTES_MAX} bytes")]
    FileSize,
    #[error(
        "the canvas is full (CANVAS_QUOTA): at most {CANVAS_FILES_MAX} files and {CANVAS_BYTES_MAX} bytes"
    )]
    Quota,
    #[error(transparent)]
    File(#[from] FileError),
}

/// One session's canvas.
pub(crate) struct Room {
    pub(crate) session: SessionId,
    pub(crate) key: SessionKey,
    files: Arc<dyn Files>,
    news: broadcast::Sender<News>,
    views: AtomicUsize,
    state: Mutex<State>,
    surfaces: Mutex<Surfaces>,
    /// Cancelled when the session is deleted: views end.
    pub(crate) gone: CancellationToken,
}

struct State {
    page: String,
    stamp: Option<u64>,
    looked_at: Option<Duration>,
    /// Actions that may come now, and when that was counted.
    actions: (f64, Duration),
}

/// A view that is open, as long as this lives.
pub(crate) struct Seat(Arc<Room>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.views.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    /// Opens what is kept of it. Blocks.
    pub(crate) fn open(session: SessionId, key: SessionKey, files: Arc<dyn Files>) -> Self {
        let kept = match files.read(SURFACES, SURFACES_BYTES_MAX) {
            Ok(content) => serde_json::from_slice(&content.bytes).unwrap_or_default(),
            Err(_none) => Surfaces::default(),
        };
        Self {
            session,
            key,
            files,
            news: broadcast::channel(NEWS_KEPT).0,
            views: AtomicUsize::new(0),
            state: Mutex::new(State {
                page: FIRST_PAGE.to_owned(),
                stamp: None,
                looked_at: None,
                actions: (ACTIONS_PER_SECOND, Duration::ZERO),
            }),
            surfaces: Mutex::new(kept),
            gone: CancellationToken::new(),
        }
    }

    pub(crate) fn views(&self) -> usize {
        self.views.load(Ordering::Relaxed)
    }

    pub(crate) fn sit(self: &Arc<Self>) -> Option<Seat> {
        let taken = self.views.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(self));
        (taken < VIEWS_MAX).then_some(seat)
    }

    /// News from now on, together with how things stand: nothing falls in between.
    pub(crate) fn listen(&self) -> (broadcast::Receiver<News>, u64, Vec<News>) {
        let surfaces = self.surfaces();
        (self.news.subscribe(), surfaces.rev(), surfaces.snapshot())
    }

    pub(crate) fn page(&self) -> String {
        self.state().page.clone()
    }

    pub(crate) fn show(&self, page: &str) {
        page.clone_into(&mut self.state().page);
        self.tell(News::Show {
            page: page.to_owned(),
        });
    }

    fn tell(&self, news: News) {
        // Nobody looks: then nobody is told.
        drop(self.news.send(news));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn surfaces(&self) -> MutexGuard<'_, Surfaces> {
        self.surfaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more action may come now.
    pub(crate) fn may_act(&self, now: Duration) -> bool {
        let mut state = self.state();
        let (left, counted_at) = state.actions;
        let back = now.saturating_sub(counted_at).as_secs_f64() * ACTIONS_PER_SECOND;
        let left = (left + back).min(ACTIONS_PER_SECOND);
        let may = 1.0 <= left;
        state.actions = (if may { left - 1.0 } else { left }, now);
        may
    }

    // --- files; everything here blocks ---

    /// A file of the canvas and the text that changes with it. None: there is none that may be served.
    pub(crate) fn stat(&self, name: &str) -> Option<String> {
        let stat = self.files.stat(&format!("{FILES}/{name}")).ok()?;
        let fits = stat.kind == FileKind::File && stat.bytes <= CANVAS_FILE_BYTES_MAX;
        fits.then(|| format!("\"{:x}-{:x}\"", stat.bytes, stat.modified_ms))
    }

    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Result<Bytes, RoomError> {
        if !is_name(name) {
            return Err(RoomError::Name(name.to_owned()));
        }
        // A link within the folder could lead to what stands beside the files.
        let path = format!("{FILES}/{name}");
        if self.files.stat(&path)?.kind == FileKind::Link {
            return Err(FileError::Link { path }.into());
        }
        let content = self.files.read(&path, bytes_max)?;
        Ok(content.bytes)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), RoomError> {
        if !is_name(name) {
            return Err(RoomError::Name(name.to_owned()));
        }
        let bytes = content.len() as u64;
        if CANVAS_FILE_BYTES_MAX < bytes {
            return Err(RoomError::FileSize);
        }
        let others: Vec<CanvasFile> = self
            .list()?
            .into_iter()
            .filter(|it| it.path != name)
            .collect();
        let used: u64 = others.iter().map(|it| it.bytes).sum();
        if CANVAS_FILES_MAX <= others.len() || CANVAS_BYTES_MAX < used.saturating_add(bytes) {
            return Err(RoomError::Quota);
        }
        let path = format!("{FILES}/{name}");
        self.files
            .write(&path, content, WriteMode::CreateOrReplace)?;
        self.look();
        Ok(())
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), RoomError> {
        if !is_name(name) {
            return Err(RoomError::Name(name.to_owned()));
        }
        self.files.remove(&format!("{FILES}/{name}"))?;
        self.look();
        Ok(())
    }

    pub(crate) fn list(&self) -> Result<Vec<CanvasFile>, RoomError> {
        let limits = WalkLimits {
            entries_max: CANVAS_FILES_MAX * 2,
            skip_dirs: Vec::new(),
            ..WalkLimits::default()
        };
        let walked = match self.files.walk(FILES, &limits) {
            Ok(walked) => walked,
            Err(FileError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let files = walked.entries.into_iter();
        Ok(files
            .filter(|it| it.stat.kind == FileKind::File)
            .map(|it| CanvasFile {
                path: it.path,
                bytes: it.stat.bytes,
            })
            .collect())
    }

    /// Whether it is time for another look; taken by the first who asks.
    pub(crate) fn is_look_due(&self, now: Duration) -> bool {
        let mut state = self.state();
        let due = state
            .looked_at
            .is_none_or(|at| LOOK_EVERY <= now.saturating_sub(at));
        if due {
            state.looked_at = Some(now);
        }
        due
    }

    /// Looks at the folder and tells the views when something is different. Gives the text that changes with it.
    pub(crate) fn look(&self) -> String {
        let mut hasher = DefaultHasher::new();
        if let Ok(walked) = self.files.walk(FILES, &WalkLimits::default()) {
            for entry in walked.entries {
                let stat = entry.stat;
                (entry.path, stat.bytes, stat.modified_ms).hash(&mut hasher);
            }
        }
        let now = hasher.finish();
        let before = self.state().stamp.replace(now);
        let stamp = format!("{now:016x}");
        if before.is_some_and(|before| before != now) {
            self.tell(News::Reload {
                stamp: stamp.clone(),
            });
        }
        stamp
    }

    // --- surfaces ---

    /// Takes messages, tells the views, keeps what has become of it. Blocks.
    pub(crate) fn push(&self, messages: Vec<Value>, now: Duration) -> Report {
        let mut surfaces = self.surfaces();
        let (report, news) = surfaces.push(messages, now);
        for it in news {
            self.tell(it);
        }
        self.keep(&surfaces);
        report
    }

    /// Takes away one surface, or all. Blocks.
    pub(crate) fn reset(&self, surface: Option<&str>) -> usize {
        let mut surfaces = self.surfaces();
        let news = surfaces.reset(surface);
        let n = news.len();
        for it in news {
            self.tell(it);
        }
        self.keep(&surfaces);
        n
    }

    /// The surfaces as messages that build them, by version.
    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, Vec<Value>> {
        let mut all: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for news in self.surfaces().snapshot() {
            if let News::Surface {
                version, messages, ..
            } = news
            {
                all.entry(version).or_default().extend(messages);
            }
        }
        all
    }

    /// What is withheld of this action of this component. None: nothing on the surface sends it.
    pub(crate) fn withheld(
        &self,
        surface: &str,
        component: &str,
        action: &str,
    ) -> Option<Vec<String>> {
        self.surfaces().withheld(surface, component, action)
    }

    fn keep(&self, surfaces: &Surfaces) {
        let kept = serde_json::to_vec(surfaces).unwrap_or_default();
        if let Err(error) = self
            .files
            .write(SURFACES, &kept, WriteMode::CreateOrReplace)
        {
            tracing::warn!(session = %self.session, %error, "the surfaces of a canvas could not be kept");
        }
    }
}
