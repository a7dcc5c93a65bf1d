//! What a command may use.

use std::time::{SystemTime, UNIX_EPOCH};

use adjutant_domain::time::Timestamp;
use tokio::sync::OnceCell;

use crate::args::Global;
use crate::failure::Failure;
use crate::host::Host;
use crate::lines::{Lines, Remember, Typed};
use crate::terminal::{Streams, Terminal};

/// What a command may use.
pub(crate) struct Cx<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) global: Global,
    pub(crate) terminal: Terminal,
    lines: OnceCell<Lines>,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(
        host: &'a dyn Host,
        global: Global,
        streams: Streams,
        lines: Option<Lines>,
    ) -> Self {
        let terminal = Terminal::new(streams, &global);
        Self {
            host,
            global,
            terminal,
            lines: OnceCell::new_with(lines),
        }
    }

    /// The person at the terminal. Call only where [`Terminal::can_ask`] holds.
    pub(crate) async fn lines(&self) -> Result<&Lines, Failure> {
        self.lines
            .get_or_try_init(|| async {
                let history = self
                    .host
                    .state_dir()
                    .ok()
                    .map(|dir| dir.join("chat_history"));
                Lines::of_terminal(history)
            })
            .await
    }

    /// Asks one question; an empty answer means `default`.
    pub(crate) async fn ask(&self, prompt: &str, default: &str) -> Result<String, Failure> {
        let shown = if default.is_empty() {
            format!("{prompt}: ")
        } else {
            format!("{prompt} ({default}): ")
        };
        match self.lines().await?.line(&shown, Remember::No).await {
            Typed::Line(line) if line.trim().is_empty() => Ok(default.to_owned()),
            Typed::Line(line) => Ok(line.trim().to_owned()),
            Typed::Interrupt | Typed::End => Err(Failure::interrupted()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |span| span.as_millis());
        Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}
