//! This program, started once more to do its part of the walls from the inside.
//!
//! What must happen between the walls and the command cannot be done between `fork` and `exec` of a program with many
//! threads: it allocates, reads files, mounts. So the program is executed anew, with one thread and nothing in memory.
//! What it is to do comes on a descriptor, because other users of the host can read command lines and environments.

#![allow(unsafe_code)]

mod command;
mod landlocked;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;

pub(crate) use command::{Inside, Standing};

use crate::native;

/// The hidden sub-command.
const WORD: &str = "sandbox-inner";

/// Longest plan, in bytes: what a command may carry, each byte as up to four digits and a comma.
const PLAN_BYTES_MAX: u64 = 16 << 20;

/// Exit code of a part that could not be played: nothing of the command has run.
const NOT_PLAYED: u8 = 125;

/// The parts, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Makes the namespaces, and waits.
    Enter,
    /// First process of the namespaces: furnishes the inside, starts the command, buries the dead.
    First,
    /// Puts the last walls around itself and becomes the command.
    Command,
}

impl Part {
    const ALL: [Self; 3] = [Self::Enter, Self::First, Self::Command];

    fn word(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::First => "first",
            Self::Command => "command",
        }
    }

    /// How many descriptors it is given.
    fn n_descriptors(self) -> usize {
        match self {
            Self::Enter => 5,
            Self::First => 5,
            Self::Command => 2,
        }
    }
}

/// A program that can play the inner parts.
#[derive(Debug, Clone)]
pub struct Inner {
    program: Arc<OwnedFd>,
}

impl Inner {
    /// The program at `path`, whose `main` begins with [`play_inner_part`].
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn at(path: &Path) -> io::Result<Self> {
        // By descriptor: the file may be replaced by a newer one while we run, and it is not visible inside.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            program: Arc::new(program),
        })
    }

    /// This program, if its `main` said so.
    pub(crate) fn this() -> Option<Self> {
        THIS.get().cloned()
    }

    /// A descriptor of the program for one child.
    pub(crate) fn program(&self) -> io::Result<OwnedFd> {
        self.program.try_clone()
    }
}

static THIS: OnceLock<Inner> = OnceLock::new();

/// The name under which a child finds its own descriptor `fd`.
pub(crate) fn by_descriptor(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}

/// The arguments with which the program plays `part`.
pub(crate) fn arguments(part: Part, descriptors: &[RawFd]) -> Vec<String> {
    [WORD, part.word()]
        .map(String::from)
        .into_iter()
        .chain(descriptors.iter().map(ToString::to_string))
        .collect()
}

/// Plays one inner part of the sandbox if this process was started for that; then the process ends with the code that
/// is returned. `None` in every other case, and from then on the sandbox may start this program anew for that purpose.
///
/// To be called first in `main`, before any thread exists. Without it there are only the walls that need no program of
/// ours inside: bubblewrap without Landlock.
#[must_use]
pub fn play_inner_part() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|it| it != WORD) {
        if let Ok(this) = Inner::at(Path::new("/proc/self/exe")) {
            THIS.set(this).ok();
        }
        return None;
    }
    let args: Vec<_> = args.collect();
    let played = parse(&args).and_then(|(part, numbers)| play(part, &numbers));
    Some(played.unwrap_or_else(|error| {
        eprintln!("sandbox: {error}");
        ExitCode::from(NOT_PLAYED)
    }))
}

fn parse(args: &[impl AsRef<OsStr>]) -> io::Result<(Part, Vec<RawFd>)> {
    let wrong = || io::Error::other("this is started by the sandbox, not by hand");
    let mut args = args.iter().map(|it| it.as_ref().to_str());
    let word = args.next().flatten().ok_or_else(wrong)?;
    let part = Part::ALL.into_iter().find(|it| it.word() == word);
    let part = part.ok_or_else(wrong)?;
    let number = |it: Option<&str>| it?.parse::<RawFd>().ok().filter(|it| 2 < *it);
    let numbers: Vec<RawFd> = args.map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    let mut distinct = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if numbers.len() != part.n_descriptors() || distinct.len() != numbers.len() {
        return Err(wrong());
    }
    Ok((part, numbers))
}

fn play(part: Part, numbers: &[RawFd]) -> io::Result<ExitCode> {
    let owned = numbers.iter().map(|it| inherited(*it));
    let owned: Vec<OwnedFd> = owned.collect::<io::Result<_>>()?;
    let surplus = |_| io::Error::other("wrong number of descriptors");
    match part {
        Part::Enter => {
            let [plan, inside, status, gate, report] = owned.try_into().map_err(surplus)?;
            native::enter(native::Ends {
                plan,
                inside,
                status,
                gate,
                report,
            })
        }
        Part::First => {
            let [plan, inside, gate, report, lifeline] = owned.try_into().map_err(surplus)?;
            native::first(plan, inside, gate, report, lifeline)
        }
        Part::Command => {
            let [inside, report] = owned.try_into().map_err(surplus)?;
            command::become_command(inside, report)
        }
    }
}

/// Takes over a descriptor that was left open for this process.
fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    let is_open = Path::new(&by_descriptor(number)).symlink_metadata().is_ok();
    if !is_open {
        return Err(io::Error::other("a descriptor is missing"));
    }
    // SAFETY: it is open, it is above the standard streams, the numbers are distinct, and nothing in this process, which
    // has done nothing yet, owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Reads what to do.
pub(crate) fn read<T: DeserializeOwned>(from: &OwnedFd) -> io::Result<T> {
    let mut file = File::from(from.try_clone()?);
    // Others may have read from the same open file.
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

/// The numbers of descriptors that a child keeps.
pub(crate) fn numbers<const N: usize>(of: [&OwnedFd; N]) -> [RawFd; N] {
    of.map(AsRawFd::as_raw_fd)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_part_is_played_only_with_exactly_its_descriptors() {
        let words = |it: &[&str]| it.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            parse(&words(&["command", "3", "4"])).unwrap(),
            (Part::Command, vec![3, 4])
        );
        for wrong in [
            &[] as &[&str],
            &["command"],
            &["command", "3"],
            &["command", "3", "3"],
            &["command", "2", "3"],
            &["command", "-1", "3"],
            &["command", "3", "4", "5"],
            &["command", "3", "x"],
            &["other", "3", "4"],
        ] {
            assert!(parse(&words(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn arguments_and_their_reading_agree() {
        for part in Part::ALL {
            let fds: Vec<RawFd> = (3..).take(part.n_descriptors()).collect();
            let args = arguments(part, &fds);
            assert_eq!(args[0], WORD);
            assert_eq!(parse(&args[1..]).unwrap(), (part, fds));
        }
    }
}
