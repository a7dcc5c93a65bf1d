//! Streams that are kept, and a way to run one command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::host::FakeHost;
use crate::failure::Exit;
use crate::lines::{Lines, Typed};
use crate::terminal::{Kind, Kinds, Streams};

/// What came of a command line.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) exit: Exit,
    pub(super) out: String,
    pub(super) err: String,
}

impl Outcome {
    /// The one JSON document on stdout.
    #[track_caller]
    pub(super) fn document(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("not one document: {error}\n{}", self.out))
    }

    /// The JSON Lines on stdout.
    #[track_caller]
    pub(super) fn lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that has gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn args(line: &str) -> Vec<OsString> {
    let mut args = vec![OsString::from("adjutant")];
    // Single quotes keep words together; that is all the shell these tests need.
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            args.push(part.into());
        } else {
            args.extend(part.split_whitespace().map(OsString::from));
        }
    }
    args
}

const PIPES: Kinds = Kinds {
    input: Kind::Pipe,
    out: Kind::Pipe,
    err: Kind::Pipe,
};
const TERMINALS: Kinds = Kinds {
    input: Kind::Terminal,
    out: Kind::Terminal,
    err: Kind::Terminal,
};

async fn go(host: &FakeHost, line: &str, kinds: Kinds, typed: Vec<Typed>) -> Outcome {
    let (out, err) = (Kept::default(), Kept::default());
    on(host, line, kinds, typed, out, err, None).await
}

async fn on(
    host: &FakeHost,
    line: &str,
    kinds: Kinds,
    typed: Vec<Typed>,
    out: Kept,
    err: Kept,
    height: Option<usize>,
) -> Outcome {
    let streams = Streams {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        kinds,
        width: 80,
        height,
        // The snapshots are about words; colour has tests of its own.
        no_color: true,
    };
    let exit = crate::run(host, args(line), streams, Some(Lines::scripted(typed))).await;
    Outcome {
        exit,
        out: out.text(),
        err: err.text(),
    }
}

/// Runs a command line as a script would.
pub(super) async fn piped(host: &FakeHost, line: &str) -> Outcome {
    go(host, line, PIPES, Vec::new()).await
}

/// Runs a command line as a person would who types these lines, then Ctrl-D.
pub(super) async fn typed(host: &FakeHost, line: &str, typed: &[&str]) -> Outcome {
    go(
        host,
        line,
        TERMINALS,
        typed
            .iter()
            .map(|it| Typed::Line((*it).to_owned()))
            .collect(),
    )
    .await
}

/// Runs a command line at a terminal, where both streams end up on the same screen.
pub(super) async fn mixed(host: &FakeHost, line: &str) -> Outcome {
    let screen = Kept::default();
    on(
        host,
        line,
        TERMINALS,
        Vec::new(),
        screen.clone(),
        screen,
        None,
    )
    .await
}

/// Runs a command line at a terminal whose cursor can be moved.
pub(super) async fn drawn(host: &FakeHost, line: &str) -> Outcome {
    let (out, err) = (Kept::default(), Kept::default());
    on(host, line, TERMINALS, Vec::new(), out, err, Some(24)).await
}

/// Runs a command line whose reader has gone.
pub(super) async fn unread(host: &FakeHost, line: &str) -> Outcome {
    let err = Kept::default();
    let streams = Streams {
        out: Box::new(Broken),
        err: Box::new(err.clone()),
        kinds: PIPES,
        width: 80,
        height: None,
        no_color: true,
    };
    let exit = crate::run(host, args(line), streams, None).await;
    Outcome {
        exit,
        out: String::new(),
        err: err.text(),
    }
}
