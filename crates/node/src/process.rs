//! Running a program to its end: its own process group, a time limit, bounded output.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::platform::{self, Group};

/// Output read from one stream before the program is ended: it would fill the disk of whoever keeps it.
const STREAM_BYTES_MAX: u64 = 64 << 20;
/// After the program ended, what it left running may hold its output open this long.
const LINGER: Duration = Duration::from_millis(300);

/// A program to run.
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    /// Without the program.
    pub(crate) args: Vec<OsString>,
    pub(crate) folder: PathBuf,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
    /// Bytes kept of each stream.
    pub(crate) output_bytes: usize,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
    pub(crate) took: Duration,
}

impl Ended {
    pub(crate) fn succeeded(&self) -> bool {
        self.exit_code == Some(0)
    }

    /// The last line of its complaint, for people.
    pub(crate) fn complaint(&self) -> String {
        let text = self.stderr.text();
        let line = text.lines().rfind(|it| !it.trim().is_empty());
        line.unwrap_or("it said nothing")
            .trim()
            .chars()
            .take(300)
            .collect()
    }
}

/// The beginning and the end of what was written.
#[derive(Debug)]
pub(crate) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    total: u64,
}

impl Kept {
    fn of(bytes_max: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            half: bytes_max / 2,
            total: 0,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.half.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        bytes = rest;
        if self.half < bytes.len() {
            self.tail.clear();
            bytes = bytes.get(bytes.len() - self.half..).unwrap_or_default();
        }
        let over = (self.tail.len() + bytes.len()).saturating_sub(self.half);
        self.tail.drain(..over.min(self.tail.len()));
        self.tail.extend(bytes);
    }

    pub(crate) fn is_cut(&self) -> bool {
        (self.head.len() + self.tail.len()) as u64 != self.total
    }

    /// As text, with a mark that states the whole size where the middle is missing.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.is_cut() {
            text.push_str(&format!("\n[… cut: {} bytes in all …]\n", self.total));
        }
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        text.push_str(&String::from_utf8_lossy(&tail));
        text
    }
}

/// Runs `spec`. Whatever it started is ended with it.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn run(spec: Spec) -> std::io::Result<Ended> {
    let begun = Instant::now();
    let mut command = tokio::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .current_dir(&spec.folder)
        .env_clear()
        .envs(spec.env)
        .stdin(if spec.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    platform::in_a_group(&mut command);
    let mut child = command.spawn()?;
    let group = Group::led_by(child.id());
    let mut stdout = Kept::of(spec.output_bytes);
    let mut stderr = Kept::of(spec.output_bytes);
    let input = feed(child.stdin.take(), spec.stdin);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (waited, timed_out) = {
        let reading = async {
            tokio::join!(
                drain(out, &mut stdout, &group),
                drain(err, &mut stderr, &group)
            );
        };
        tokio::pin!(reading, input);
        let late = tokio::time::sleep(spec.timeout);
        tokio::pin!(late);
        let (mut all_read, mut all_fed) = (false, false);
        let ended = loop {
            tokio::select! {
                status = child.wait() => break (Some(status?), false),
                () = &mut reading, if !all_read => all_read = true,
                () = &mut input, if !all_fed => all_fed = true,
                () = &mut late => {
                    group.kill();
                    break (None, true);
                }
            }
        };
        if !all_read {
            // What the program left running may hold its output open.
            let in_time = tokio::time::timeout(LINGER, &mut reading).await;
            tracing::trace!(whole = in_time.is_ok(), "output read");
        }
        ended
    };
    group.kill();
    let status = match waited {
        Some(status) => status,
        None => {
            // Where there are no groups, it is not ended yet.
            drop(child.start_kill());
            child.wait().await?
        }
    };
    Ok(Ended {
        exit_code: status.code().filter(|_| !timed_out),
        signal: platform::signal_of(status),
        timed_out,
        stdout,
        stderr,
        took: begun.elapsed(),
    })
}

async fn feed(stdin: Option<tokio::process::ChildStdin>, bytes: Option<Vec<u8>>) {
    if let (Some(mut stdin), Some(bytes)) = (stdin, bytes) {
        // A program may not want to read.
        drop(stdin.write_all(&bytes).await);
    }
}

async fn drain(stream: Option<impl AsyncRead + Unpin>, kept: &mut Kept, group: &Group) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut buffer = vec![0_u8; 16 << 10];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        kept.take(buffer.get(..n).unwrap_or_default());
        if STREAM_BYTES_MAX < kept.total {
            group.kill();
            return;
        }
    }
}

/// The environment of a program: the few variables of this machine that name no program, and what was added.
pub(crate) fn environment(added: Vec<(String, String)>) -> Vec<(String, String)> {
    const INHERITED: [&str; 9] = [
        "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER",
    ];
    let mut all: Vec<(String, String)> = INHERITED
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    all.push(("PATH".to_owned(), search_path()));
    all.extend(added);
    all
}

/// Where programs are looked for.
pub(crate) fn search_path() -> String {
    std::env::var("PATH")
        .ok()
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

/// The file a program's name stands for.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| path.is_file() && platform::may_execute(path);
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute() && is_program(path));
    }
    std::env::split_paths(&search_path())
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(is_program)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell(script: &str) -> Spec {
        Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            folder: "/".into(),
            env: environment(vec![("MINE".to_owned(), "yes".to_owned())]),
            stdin: None,
            timeout: Duration::from_secs(20),
            output_bytes: 64,
        }
    }

    #[tokio::test]
    async fn output_exit_code_and_input_arrive() {
        let ended = run(Spec {
            stdin: Some(b"hello".to_vec()),
            ..shell("cat; echo $MINE; echo no >&2; exit 3")
        })
        .await
        .unwrap();
        assert_eq!(ended.exit_code, Some(3));
        assert_eq!(ended.stdout.text(), "helloyes\n");
        assert_eq!(ended.complaint(), "no");
    }

    // covers: S38
    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let script = format!("(sleep 2; echo late > {}) & sleep 30", mark.display());
        let ended = run(Spec {
            timeout: Duration::from_millis(200),
            ..shell(&script)
        })
        .await
        .unwrap();
        assert!(ended.timed_out && ended.exit_code.is_none());
        assert_eq!(ended.signal, Some(9));
        // The group is gone: nothing of it can be signalled any more.
        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_does_not_hold_the_answer_up() {
        let ended = run(shell("sleep 30 & echo done")).await.unwrap();
        assert_eq!(ended.exit_code, Some(0));
        assert_eq!(ended.stdout.text(), "done\n");
        assert!(ended.took < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn long_output_keeps_its_ends_and_states_its_size() {
        let ended = run(shell("seq 1 1000")).await.unwrap();
        let text = ended.stdout.text();
        assert!(ended.stdout.is_cut());
        assert!(
            text.starts_with("1\n2\n") && text.ends_with("999\n1000\n"),
            "{text}"
        );
        assert!(text.contains("cut: 3893 bytes in all"), "{text}");
    }

    #[test]
    fn programs_are_found_by_name_and_relative_paths_are_not() {
        assert!(which("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(which("no-such-program-here"), None);
        assert_eq!(which("./sh"), None);
    }
}
