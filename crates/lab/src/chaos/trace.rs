//! What a process wrote and flushed, as `strace` saw it, and what a disk may hold after the power failed in the middle.
//!
//! A write that was followed by a completed flush of its file is there. Every other may be there, may be missing, or may be
//! there in parts, sector by sector.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::random::Random;

/// Files by name, with their bytes.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// One operation on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Bytes at a place.
    Write {
        /// Which file.
        file: String,
        /// Where.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A new length.
    Truncate {
        /// Which file.
        file: String,
        /// How long it is now.
        len: u64,
    },
    /// Everything before it in this file is on the disk.
    Sync {
        /// Which file; none: the folder.
        file: Option<String>,
    },
    /// The file is gone.
    Unlink {
        /// Which.
        file: String,
    },
}

/// An operation with its moments, in microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) begun_us: u64,
    pub(crate) ended_us: u64,
    pub(crate) op: Op,
}

/// Reads every trace file of `dir` that begins with `prefix`; what happened in the folder `home`, by order of time.
pub(crate) fn read(dir: &Path, prefix: &str, home: &Path) -> Result<Vec<Done>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let text = std::fs::read_to_string(entry.path())?;
            all.extend(text.lines().filter_map(|line| parse(line, home)));
        }
    }
    all.sort_by_key(|it| (it.begun_us, it.ended_us));
    Ok(all)
}

/// One line of `strace -ttt -T -y -xx`.
pub(crate) fn parse(line: &str, home: &Path) -> Option<Done> {
    let (at, rest) = line.split_once(' ')?;
    let begun_us = micros(at)?;
    let (call, rest) = rest.split_once('(')?;
    let took = rest.rsplit_once('<')?.1.trim_end().strip_suffix('>')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let op = match call {
        "pwrite64" => {
            let (place, rest) = path_and_rest(arguments, home)?;
            let (data, numbers) = rest.strip_prefix(", \"")?.rsplit_once('"')?;
            let at = numbers.rsplit_once(", ")?.1.parse().ok()?;
            let n: usize = result.split_whitespace().next()?.parse().ok()?;
            let mut bytes = unescape(data)?;
            bytes.truncate(n);
            Op::Write {
                file: place?,
                at,
                bytes,
            }
        }
        "ftruncate" => {
            let (place, rest) = path_and_rest(arguments, home)?;
            Op::Truncate {
                file: place?,
                len: rest.strip_prefix(", ")?.parse().ok()?,
            }
        }
        "fsync" | "fdatasync" => Op::Sync {
            file: path_and_rest(arguments, home)?.0,
        },
        "unlink" => {
            let path = String::from_utf8(unescape(arguments.trim_matches('"'))?).ok()?;
            Op::Unlink {
                file: name_in(&path, home)??,
            }
        }
        _ => return None,
    };
    Some(Done {
        begun_us,
        ended_us: begun_us + micros(took)?,
        op,
    })
}

/// `1795898202.189621` in microseconds.
fn micros(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(seconds * 1_000_000 + fraction.parse::<u64>().ok()?)
}

/// `13<\x2f…>, …`: the file (none: the folder itself) and what follows. None: it is elsewhere.
fn path_and_rest<'a>(arguments: &'a str, home: &Path) -> Option<(Option<String>, &'a str)> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    let path = String::from_utf8(unescape(path)?).ok()?;
    Some((name_in(&path, home)?, rest))
}

fn name_in(path: &str, home: &Path) -> Option<Option<String>> {
    let path = Path::new(path);
    if path == home {
        return Some(None);
    }
    (path.parent()? == home).then(|| path.file_name().map(|it| it.to_string_lossy().into_owned()))
}

/// `\x2f\x74` and plain characters.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Some(bytes),
            [b'\\', b'x', high, low, tail @ ..] => {
                let digit = |it: u8| char::from(it).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = tail;
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// How much of what was not flushed survives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mood {
    /// A write is kept so many times in 100.
    keep_percent: u64,
    /// Pieces that are kept or lost by themselves; none: whole writes.
    sector: Option<usize>,
}

impl Mood {
    /// One of the ways in which power fails.
    pub(crate) fn any(random: &mut Random) -> Self {
        let keep = [0, 10, 50, 90, 100];
        let sectors = [None, Some(512), Some(4_096)];
        Self {
            keep_percent: keep.get(random.index(keep.len())).copied().unwrap_or(50),
            sector: sectors.get(random.index(sectors.len())).copied().flatten(),
        }
    }

    /// Nothing that was not flushed survives.
    pub(crate) const NOTHING: Self = Self {
        keep_percent: 0,
        sector: None,
    };
}

/// Walks through a trace: what is on the disk for sure, and what is on its way.
pub(crate) struct Disk {
    durable: Files,
    /// Files whose entry in the folder is on the disk.
    entries: Vec<String>,
    waiting: Vec<Done>,
    flushes: bool,
}

impl Disk {
    /// A disk that holds these files. Flushes count, except to show that the campaign would see it if they did not.
    pub(crate) fn new(base: Files, honours_flushes: bool) -> Self {
        Self {
            entries: base.keys().cloned().collect(),
            durable: base,
            waiting: Vec::new(),
            flushes: honours_flushes,
        }
    }

    /// The next operation has ended.
    pub(crate) fn take(&mut self, done: &Done) {
        match &done.op {
            Op::Sync { file: Some(file) } if self.flushes => {
                let mut left = Vec::new();
                for it in std::mem::take(&mut self.waiting) {
                    let is_covered = it.ended_us <= done.begun_us && file_of(&it.op) == Some(file);
                    if is_covered && !matches!(it.op, Op::Unlink { .. }) {
                        apply(&mut self.durable, &it.op);
                    } else {
                        left.push(it);
                    }
                }
                self.waiting = left;
            }
            Op::Sync { file: None } if self.flushes => {
                for it in std::mem::take(&mut self.waiting) {
                    match &it.op {
                        Op::Unlink { file } if it.ended_us <= done.begun_us => {
                            self.durable.remove(file);
                            self.entries.retain(|known| known != file);
                        }
                        _ => self.waiting.push(it),
                    }
                }
                let known: Vec<String> = self
                    .durable
                    .keys()
                    .chain(self.waiting.iter().filter_map(|it| file_of(&it.op)))
                    .filter(|it| !self.entries.contains(it))
                    .cloned()
                    .collect();
                self.entries.extend(known);
            }
            Op::Sync { .. } => {}
            _ => self.waiting.push(done.clone()),
        }
    }

    /// What the disk may hold now, and how many pieces of what was on its way are not among that. `running` are operations that
    /// have begun and not ended.
    pub(crate) fn image(&self, running: &[Done], mood: Mood, random: &mut Random) -> (Files, u64) {
        let mut files = self.durable.clone();
        let mut n_lost = 0;
        for it in self.waiting.iter().chain(running) {
            match (&it.op, mood.sector) {
                (Op::Write { file, at, bytes }, Some(sector)) => {
                    let mut place = *at;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        // Sectors are those of the disk, not of the write.
                        let to_edge = sector - usize::try_from(place).unwrap_or(0) % sector;
                        let (piece, tail) = rest.split_at(to_edge.min(rest.len()));
                        if random.below(100) < mood.keep_percent {
                            put(files.entry(file.clone()).or_default(), place, piece);
                        } else {
                            n_lost += 1;
                        }
                        place += piece.len() as u64;
                        rest = tail;
                    }
                }
                (Op::Sync { .. }, _) => {}
                (op, _) if random.below(100) < mood.keep_percent => apply(&mut files, op),
                _ => n_lost += 1,
            }
        }
        // A file that was made and whose folder was not flushed may be gone altogether.
        files.retain(|name, _| {
            let is_kept = self.entries.contains(name) || random.below(100) < mood.keep_percent;
            n_lost += u64::from(!is_kept);
            is_kept
        });
        (files, n_lost)
    }
}

fn file_of(op: &Op) -> Option<&String> {
    match op {
        Op::Write { file, .. } | Op::Truncate { file, .. } | Op::Unlink { file } => Some(file),
        Op::Sync { file } => file.as_ref(),
    }
}

fn apply(files: &mut Files, op: &Op) {
    match op {
        Op::Write { file, at, bytes } => put(files.entry(file.clone()).or_default(), *at, bytes),
        Op::Truncate { file, len } => {
            let len = usize::try_from(*len).unwrap_or(0);
            files.entry(file.clone()).or_default().resize(len, 0);
        }
        Op::Unlink { file } => drop(files.remove(file)),
        Op::Sync { .. } => {}
    }
}

fn put(file: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap_or(0);
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

/// Writes an image into a folder.
pub(crate) fn write(files: &Files, dir: &Path) -> Result<()> {
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).with_context(|| name.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn done(at: u64, op: Op) -> Done {
        Done {
            begun_us: at,
            ended_us: at + 1,
            op,
        }
    }

    fn write_at(at_us: u64, at: u64, text: &str) -> Done {
        let op = Op::Write {
            file: "db".to_owned(),
            at,
            bytes: text.as_bytes().to_vec(),
        };
        done(at_us, op)
    }

    /// What is left of the file when nothing on its way survives, and how much did not.
    fn lost_all(disk: &Disk) -> (Option<Vec<u8>>, u64) {
        let (mut files, n_lost) = disk.image(&[], Mood::NOTHING, &mut Random::new(1, "test"));
        (files.remove("db"), n_lost)
    }

    #[test]
    fn a_line_of_strace_is_read() {
        let home = Path::new("/h");
        let line = "17.000005 pwrite64(13<\\x2f\\x68\\x2f\\x64\\x62>, \"\\x61\\x22\\x29\", 3, 4096) = 3 <0.000012>";
        let read = parse(line, home).unwrap();
        assert_eq!((read.begun_us, read.ended_us), (17_000_005, 17_000_017));
        let bytes = b"a\")".to_vec();
        assert_eq!(
            read.op,
            Op::Write {
                file: "db".to_owned(),
                at: 4096,
                bytes
            }
        );
        let sync = "17.100000 fdatasync(3<\\x2f\\x68>) = 0 <0.000100>";
        assert_eq!(parse(sync, home).unwrap().op, Op::Sync { file: None });
        let elsewhere = "17.100000 fdatasync(3<\\x2f\\x69\\x2f\\x64\\x62>) = 0 <0.000100>";
        assert_eq!(parse(elsewhere, home), None);
        let failed = "17.100000 fdatasync(3<\\x2f\\x68>) = -1 EIO (Input/output error) <0.000100>";
        assert_eq!(parse(failed, home), None);
    }

    #[test]
    fn what_was_flushed_is_there_and_what_was_not_may_be_lost() {
        let base = Files::from([("db".to_owned(), b"....".to_vec())]);
        let mut disk = Disk::new(base, true);
        disk.take(&write_at(10, 0, "a"));
        disk.take(&done(
            20,
            Op::Sync {
                file: Some("db".to_owned()),
            },
        ));
        disk.take(&write_at(30, 1, "b"));
        assert_eq!(lost_all(&disk), (Some(b"a...".to_vec()), 1));
    }

    #[test]
    fn a_write_that_ended_after_a_flush_began_is_not_covered_by_it() {
        let base = Files::from([("db".to_owned(), b"....".to_vec())]);
        let mut disk = Disk::new(base, true);
        disk.take(&write_at(20, 0, "a"));
        disk.take(&done(
            20,
            Op::Sync {
                file: Some("db".to_owned()),
            },
        ));
        assert_eq!(lost_all(&disk), (Some(b"....".to_vec()), 1));
    }

    #[test]
    fn a_new_file_is_there_for_sure_only_when_its_folder_was_flushed() {
        let mut disk = Disk::new(Files::new(), true);
        disk.take(&write_at(10, 0, "a"));
        disk.take(&done(
            20,
            Op::Sync {
                file: Some("db".to_owned()),
            },
        ));
        assert_eq!(lost_all(&disk), (None, 1));
        disk.take(&done(30, Op::Sync { file: None }));
        assert_eq!(lost_all(&disk), (Some(b"a".to_vec()), 0));
    }
}
