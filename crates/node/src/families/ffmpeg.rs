//! The program that records.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::capability::NodeFault;
use crate::process::{self, Spec, environment, which};

/// How long it may take to say what it can.
const LOOK: Duration = Duration::from_secs(10);
/// On top of what is recorded: starting a camera, writing the file.
const OVERHEAD: Duration = Duration::from_secs(20);

/// `ffmpeg`, and what this build of it can.
pub(super) struct Ffmpeg {
    program: PathBuf,
    devices: String,
    encoders: String,
}

impl Ffmpeg {
    /// None where there is none.
    pub(super) async fn find(name: &str) -> Option<Self> {
        let program = which(name)?;
        let devices = look(&program, "-devices").await?;
        let encoders = look(&program, "-encoders").await?;
        Some(Self {
            program,
            devices,
            encoders,
        })
    }

    /// Whether it reads from `v4l2`, `x11grab`, …
    pub(super) fn reads(&self, device: &str) -> bool {
        has_word(&self.devices, device)
    }

    /// Arguments that make a film everything plays.
    pub(super) fn film(&self) -> Vec<String> {
        let codec: &[&str] = if has_word(&self.encoders, "libx264") {
            &["-c:v", "libx264", "-preset", "veryfast", "-crf", "28"]
        } else {
            &["-c:v", "mpeg4", "-q:v", "6"]
        };
        codec
            .iter()
            .copied()
            .chain(["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-an"])
            .map(str::to_owned)
            .collect()
    }

    /// Records `input` into `file`.
    pub(super) async fn record(
        &self,
        input: &[String],
        output: Vec<String>,
        file: &Path,
        length: Duration,
    ) -> Result<(), NodeFault> {
        let mut args: Vec<std::ffi::OsString> =
            ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
                .into_iter()
                .map(Into::into)
                .collect();
        args.extend(input.iter().map(Into::into));
        args.extend(output.into_iter().map(Into::into));
        args.push(file.into());
        let screen = ["DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"];
        let screen = screen
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        let ended = process::run(Spec {
            program: self.program.clone(),
            args,
            folder: "/".into(),
            env: environment(screen),
            stdin: None,
            timeout: length + OVERHEAD,
            output_bytes: 8 << 10,
        })
        .await
        .map_err(|error| {
            NodeFault::new("UNAVAILABLE", format!("ffmpeg cannot be started: {error}"))
        })?;
        if ended.timed_out {
            return Err(NodeFault::new(
                "NODE_TIMEOUT",
                "the recording did not end in time",
            ));
        }
        let written = std::fs::metadata(file).is_ok_and(|it| 0 < it.len());
        if ended.succeeded() && written {
            Ok(())
        } else {
            let said = ended.complaint();
            let code = if said.contains("Permission denied") {
                "PERMISSION_MISSING"
            } else {
                "UNAVAILABLE"
            };
            Err(NodeFault::new(
                code,
                format!("nothing was recorded: {said}"),
            ))
        }
    }
}

async fn look(program: &Path, what: &str) -> Option<String> {
    let ended = process::run(Spec {
        program: program.to_owned(),
        args: vec!["-hide_banner".into(), what.into()],
        folder: "/".into(),
        env: environment(Vec::new()),
        stdin: None,
        timeout: LOOK,
        output_bytes: 256 << 10,
    })
    .await
    .ok()?;
    ended.succeeded().then(|| ended.stdout.text())
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|it: char| it.is_whitespace() || it == ',')
        .any(|it| it == word)
}
