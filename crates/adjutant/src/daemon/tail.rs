//! The end of a log, and what is added to it, across rotations.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use adjutant_cli::{Failure, Follow, LogOptions, Wants};

use crate::platform::file_number;
use crate::scrap::with_suffix;

/// Most lines to begin with.
const LINES_MAX: u32 = 100_000;
/// Most of one file that is read for the first lines, in bytes.
const TAIL_BYTES_MAX: u64 = 8 << 20;
/// Bytes read at once while following.
const CHUNK_BYTES: usize = 64 * 1024;
/// A line longer than this is given out in pieces, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How often the file is looked at while following.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Old files that are looked through.
const OLD_FILES_MAX: u32 = 100;

/// Gives the last lines of the log at `path` to `line`, then, if wanted, every further one until it wants no more.
///
/// # Errors
/// `NotFound` when there is no log.
pub(crate) async fn logs(
    path: &Path,
    options: LogOptions,
    line: &mut (dyn FnMut(&str) -> Wants + Send),
) -> Result<(), Failure> {
    let wrong = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::not_found("log", path.display())
            .with_hint("a gateway writes it once it was started with `adjutant gateway start`"),
        _ => Failure::io(path.display(), &error),
    };
    let mut follower = Follower::open(path).map_err(wrong)?;
    for text in last_lines(path, &mut follower, options.lines.min(LINES_MAX)).map_err(wrong)? {
        if line(&text) == Wants::NoMore {
            return Ok(());
        }
    }
    if options.follow == Follow::No {
        return Ok(());
    }
    loop {
        for text in follower.read().map_err(wrong)? {
            if line(&text) == Wants::NoMore {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The last `n` lines, from older files if the current one has too few. Leaves the follower behind what was read.
fn last_lines(path: &Path, follower: &mut Follower, n: u32) -> io::Result<Vec<String>> {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let end = follower.file.metadata()?.len();
    let (mut lines, mut whole, complete_to) = tail_of(&mut follower.file, end, n)?;
    follower.at = complete_to;
    for number in 1..=OLD_FILES_MAX {
        if n <= lines.len() || !whole {
            break;
        }
        let Ok(mut old) = File::open(old_name(path, number)) else {
            break;
        };
        let length = old.metadata()?.len();
        let (mut older, all, _) = tail_of(&mut old, length, n - lines.len())?;
        older.append(&mut lines);
        (lines, whole) = (older, all);
    }
    Ok(lines)
}

/// Up to `n` complete lines before `end`, whether that is the whole file, and where the last complete line ends.
fn tail_of(file: &mut File, end: u64, n: usize) -> io::Result<(Vec<String>, bool, u64)> {
    let from = end.saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.by_ref().take(end - from).read_to_end(&mut bytes)?;
    let complete = bytes
        .iter()
        .rposition(|it| *it == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines: Vec<&[u8]> = bytes[..complete]
        .split_inclusive(|it| *it == b'\n')
        .collect();
    if from != 0 && !lines.is_empty() {
        // Its beginning was not read.
        lines.remove(0);
    }
    let surplus = lines.len().saturating_sub(n);
    let lines = lines.split_off(surplus);
    let whole = from == 0 && surplus == 0;
    let at = from + u64::try_from(complete).unwrap_or(u64::MAX);
    Ok((lines.into_iter().map(text_of).collect(), whole, at))
}

fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

fn old_name(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}"))
}

/// Reads on where it stopped, and in the new file once the old one was moved away.
struct Follower {
    path: PathBuf,
    file: File,
    number: u64,
    at: u64,
    partial: Vec<u8>,
}

impl Follower {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let number = file_number(&file.metadata()?);
        Ok(Self {
            path: path.to_owned(),
            file,
            number,
            at: 0,
            partial: Vec::new(),
        })
    }

    /// Complete lines that were added since the last time.
    fn read(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        self.drain(&mut lines)?;
        match std::fs::metadata(&self.path) {
            Ok(now) if file_number(&now) != self.number => {
                // The writer may have added to the old file between our last read and the rename.
                self.drain(&mut lines)?;
                *self = Self::open(&self.path)?;
                self.drain(&mut lines)?;
            }
            // Emptied in place.
            Ok(now) if now.len() < self.at => {
                self.at = 0;
                self.partial.clear();
                self.drain(&mut lines)?;
            }
            Ok(_) => {}
            // Between two files of a rotation there is none for a moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(lines)
    }

    fn drain(&mut self, lines: &mut Vec<String>) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        self.file.seek(SeekFrom::Start(self.at))?;
        loop {
            let n = self.file.read(&mut chunk)?;
            if n == 0 {
                return Ok(());
            }
            self.at += u64::try_from(n).unwrap_or(0);
            for piece in chunk[..n].split_inclusive(|it| *it == b'\n') {
                self.partial.extend_from_slice(piece);
                if piece.ends_with(b"\n") || LINE_BYTES_MAX < self.partial.len() {
                    lines.push(text_of(&self.partial));
                    self.partial.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    async fn last(path: &Path, lines: u32) -> Vec<String> {
        let mut seen = Vec::new();
        let options = LogOptions {
            lines,
            follow: Follow::No,
        };
        logs(path, options, &mut |line| {
            seen.push(line.to_owned());
            Wants::More
        })
        .await
        .unwrap();
        seen
    }

    #[tokio::test]
    async fn the_last_lines_reach_back_into_older_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.log");
        std::fs::write(old_name(&path, 2), "one\ntwo\n").unwrap();
        std::fs::write(old_name(&path, 1), "three\nfour\n").unwrap();
        std::fs::write(&path, "five\nsix\nhalf").unwrap();
        assert_eq!(last(&path, 2).await, ["five", "six"]);
        assert_eq!(
            last(&path, 5).await,
            ["two", "three", "four", "five", "six"]
        );
        assert_eq!(last(&path, 100).await.len(), 6);
        assert!(last(&path, 0).await.is_empty());
    }

    #[tokio::test]
    async fn no_log_is_not_found() {
        let options = LogOptions {
            lines: 1,
            follow: Follow::No,
        };
        let failure = logs(Path::new("/nowhere/at/all"), options, &mut |_| Wants::More)
            .await
            .unwrap_err();
        assert_eq!(failure.exit, adjutant_cli::Exit::NotFound);
    }

    #[test]
    fn following_survives_a_rotation_without_losing_or_doubling_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.log");
        let mut log = File::create(&path).unwrap();
        writeln!(log, "one").unwrap();
        let mut follower = Follower::open(&path).unwrap();
        assert_eq!(follower.read().unwrap(), ["one"]);
        write!(log, "tw").unwrap();
        assert!(follower.read().unwrap().is_empty());
        writeln!(log, "o").unwrap();
        writeln!(log, "three").unwrap();
        std::fs::rename(&path, old_name(&path, 1)).unwrap();
        assert_eq!(follower.read().unwrap(), ["two", "three"]);
        std::fs::write(&path, "four\n").unwrap();
        assert_eq!(follower.read().unwrap(), ["four"]);
        std::fs::write(&path, "5\n").unwrap();
        assert_eq!(follower.read().unwrap(), ["5"]);
    }
}
