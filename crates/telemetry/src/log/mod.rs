//! Where lines go: a file that is rotated by size, or a terminal.

mod line;
mod platform;
mod rotate;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, Format};
use line::Cleaned;
use rotate::RotatingFile;

/// The variable that overrides the level for one process.
const VARIABLE: &str = "ADJUTANT_LOG";

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, readable by its owner only, rotated by size.
    File(PathBuf),
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter in `ADJUTANT_LOG` does not parse.
    #[error("`{VARIABLE}` is not a valid filter: `{text}`")]
    Filter {
        /// What it says.
        text: String,
        /// The parser's words.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The file cannot be opened.
    #[error("the log file {} cannot be opened", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else already set a subscriber for this process.
    #[error("logging was already set up in this process")]
    AlreadySet,
}

/// Keeps the log open; what is written is on its way to the disk when it is dropped.
#[derive(Debug)]
pub struct Guard {
    file: Option<Arc<RotatingFile>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.flush();
        }
    }
}

/// Begins logging for this process. Secrets are masked and control characters escaped in every line.
///
/// # Errors
/// [`LogError`]; the process may go on without a log or stop, as the caller sees fit.
pub fn init(config: &Config, target: Target) -> Result<Guard, LogError> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(&text).map_err(|source| LogError::Filter { text, source })?
        }
        _ => EnvFilter::new(config.level.word()),
    };
    let (writer, file) = writer(config, target)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // A line that cannot be written would be told to standard error, which panics when it cannot be written either: a
        // full disk must not end the thread that logged (R19).
        .log_internal_errors(false)
        .with_writer(writer);
    let set = match config.format {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .finish()
            .try_init(),
    };
    set.map_err(|_taken| LogError::AlreadySet)?;
    Ok(Guard { file })
}

fn writer(
    config: &Config,
    target: Target,
) -> Result<(BoxMakeWriter, Option<Arc<RotatingFile>>), LogError> {
    Ok(match target {
        Target::Stderr => (BoxMakeWriter::new(|| Cleaned::new(io::stderr())), None),
        Target::Stdout => (BoxMakeWriter::new(|| Cleaned::new(io::stdout())), None),
        Target::File(path) => {
            let file = RotatingFile::open(&path, config.max_bytes, config.keep)
                .map_err(|source| LogError::File { path, source })?;
            let file = Arc::new(file);
            let shared = Arc::clone(&file);
            (
                BoxMakeWriter::new(move || Cleaned::new(shared.writer())),
                Some(file),
            )
        }
    })
}
