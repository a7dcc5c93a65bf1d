//! `logs.tail`.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use adjutant_domain::code::Code;
use adjutant_protocol::methods::logs::{LogLines, LogsTail, LogsTailParams};
use adjutant_protocol::{Caller, Fault, Handle};
use adjutant_telemetry::redact;

use crate::core::Core;

/// Lines of one answer.
const LINES_MAX: u32 = 5_000;
/// Bytes of one answer.
const BYTES_MAX: u64 = 1_000_000;

impl Handle<LogsTail> for Core {
    async fn handle(&self, _caller: &Caller, params: LogsTailParams) -> Result<LogLines, Fault> {
        let Some(path) = self.deps.log_file.clone() else {
            return Ok(LogLines::default());
        };
        let read = tokio::task::spawn_blocking(move || tail(&path, &params)).await;
        match read {
            Ok(Ok(lines)) => Ok(lines),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(LogLines::default()),
            Ok(Err(error)) => Err(Fault::new(
                Code::Unavailable,
                format!("the log cannot be read: {}", error.kind()),
            )),
            Err(_panic) => Err(Fault::new(Code::Internal, "the log cannot be read")),
        }
    }
}

/// Reads whole lines between the cursor and the end of the file, the newest when there are too many.
fn tail(path: &Path, params: &LogsTailParams) -> io::Result<LogLines> {
    let lines_max = usize::try_from(params.limit.unwrap_or(500).clamp(1, LINES_MAX));
    let lines_max = lines_max.unwrap_or(usize::MAX);
    let bytes_max = params.max_bytes.unwrap_or(250_000).clamp(1, BYTES_MAX);
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    let reset = params.cursor.is_some_and(|cursor| cursor > size);
    let wanted = params.cursor.filter(|_| !reset).unwrap_or(0);
    let start = wanted.max(size.saturating_sub(bytes_max));
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(size - start).read_to_end(&mut bytes)?;
    let mut truncated = start > wanted;
    // What begins in the middle of a line is left out, and so is a line that is still being written.
    let begin = if start > wanted {
        bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |at| at + 1)
    } else {
        0
    };
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(bytes.get(begin..end).unwrap_or_default());
    let mut lines: Vec<String> = text.lines().map(|line| redact(line).to_string()).collect();
    if lines.len() > lines_max {
        lines.drain(..lines.len() - lines_max);
        truncated = true;
    }
    let read = u64::try_from(end.max(begin)).unwrap_or(0);
    Ok(LogLines {
        file: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        cursor: start + read,
        size,
        lines,
        truncated,
        reset,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    fn ask(cursor: Option<u64>, limit: Option<u32>, max_bytes: Option<u64>) -> LogsTailParams {
        LogsTailParams {
            cursor,
            limit,
            max_bytes,
        }
    }

    #[test]
    fn the_newest_lines_come_whole_and_a_cursor_goes_on_where_they_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.log");
        std::fs::write(&path, "one\ntwo\nthree\nunfinis").unwrap();
        let all = tail(&path, &ask(None, None, None)).unwrap();
        assert_eq!(all.lines, ["one", "two", "three"]);
        assert_eq!((all.file.as_str(), all.truncated), ("gateway.log", false));
        let last = tail(&path, &ask(None, Some(1), None)).unwrap();
        assert_eq!(
            (last.lines, last.truncated),
            (vec!["three".to_owned()], true)
        );
        let few = tail(&path, &ask(None, None, Some(16))).unwrap();
        assert_eq!((few.lines, few.truncated), (vec!["three".to_owned()], true));
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(b"hed\nfive\n").unwrap();
        let more = tail(&path, &ask(Some(all.cursor), None, None)).unwrap();
        assert_eq!(more.lines, ["unfinished", "five"]);
        std::fs::write(&path, "anew\n").unwrap();
        let anew = tail(&path, &ask(Some(more.cursor), None, None)).unwrap();
        assert_eq!((anew.lines, anew.reset), (vec!["anew".to_owned()], true));
    }

    #[test]
    fn secrets_are_masked() {
        // covers: S46
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.log");
        std::fs::write(
            &path,
            "authorization: Bearer sk-abcdefghijklmnopqrstuvwx1234\n",
        )
        .unwrap();
        let lines = tail(&path, &ask(None, None, None)).unwrap().lines;
        assert!(!lines[0].contains("abcdefghijklmnop"), "{lines:?}");
    }
}
