//! Walls of our own, for machines without bubblewrap: the same plan, the same ceilings, the same end.
//!
//! Three processes, each this program started anew: the outer one makes the namespaces and waits on the host, the first
//! one of the inside furnishes it and buries the dead, the last one becomes the command. None of them forks while it has
//! threads, and none learns anything from its command line.

mod enter;
mod first;
mod loopback;
mod root;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use async_trait::async_trait;
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use adjutant_ports::sandbox::{
    Command, ProcessOutcome, Profile, Sandbox, SandboxError, SandboxReport,
};

pub(crate) use enter::{Ends, enter};
pub(crate) use first::first;

use crate::config::Config;
use crate::inner::{self, Inner, Inside, Part};
use crate::plan::{self, Step};
use crate::probe::{self, Base};
use crate::request::Request;
use crate::run::{self, Launch, Launcher, Lines};
use crate::spawn::{Recipe, memory_file};

/// What the outer and the first process read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Number of the process that starts the outer one.
    parent: i32,
    /// How the inside is furnished.
    steps: Vec<Step>,
}

/// The driver that needs no other program.
#[derive(Debug)]
pub struct Native {
    inner: Option<Inner>,
    tmp_bytes: u64,
    ready: OnceCell<Result<Ready, String>>,
}

impl Native {
    /// With this program for the inner parts; see [`play_inner_part`](crate::play_inner_part).
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_inner(config, Inner::this())
    }

    /// With another program for the inner parts.
    #[must_use]
    pub fn with_inner(config: &Config, inner: Option<Inner>) -> Self {
        Self {
            inner,
            tmp_bytes: config.tmp_bytes,
            ready: OnceCell::new(),
        }
    }

    /// What the probe found; probes the first time.
    async fn ready(&self) -> Result<&Ready, SandboxError> {
        let ready = self
            .ready
            .get_or_init(|| probe(self.inner.clone(), self.tmp_bytes))
            .await;
        ready.as_ref().map_err(|reason| SandboxError::Unavailable {
            reason: reason.clone(),
        })
    }
}

#[async_trait]
impl Sandbox for Native {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        let ready = self.ready().await?;
        Ok(run::run(ready, command, profile).await?.outcome)
    }

    async fn report(&self) -> SandboxReport {
        match self.ready().await {
            Ok(ready) => ready.base.report(
                "native",
                &[("nested user namespaces off in the kernel", true)],
            ),
            Err(error) => probe::unavailable("native", &error),
        }
    }
}

/// Walls that work.
#[derive(Debug)]
struct Ready {
    inner: Inner,
    base: Base,
    tmp_bytes: u64,
}

/// Runs `true` behind the full walls. The error names what is missing and what would bring it.
async fn probe(inner: Option<Inner>, tmp_bytes: u64) -> Result<Ready, String> {
    let inner = inner.ok_or(
        "this program was not made to play the inner parts of a sandbox (`play_inner_part` in its `main`)",
    )?;
    let mut ready = Ready {
        inner,
        base: Base::look().await?,
        tmp_bytes,
    };
    let standing = probe::try_true(&ready)
        .await
        .map_err(|reason| probe::cannot_build("the walls of this program", &reason))?;
    ready.base.landlock = standing.map(|it| it.landlock);
    Ok(ready)
}

impl Launcher for Ready {
    fn base(&self) -> &Base {
        &self.base
    }

    fn launch(&self, request: &Request) -> io::Result<Launch> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (status, status_inside) = pipe()?;
        let (gate_inside, gate) = pipe()?;
        let (report, report_inside) = pipe()?;
        let steps = plan::steps(request, self.tmp_bytes);
        let inside = Inside {
            filters: self.base.filters.clone(),
            ..run::inside(request, &steps)
        };
        let plan = Plan {
            parent: rustix::process::getpid().as_raw_nonzero().get(),
            steps,
        };
        let plan = memory_file("plan", &serde_json::to_vec(&plan)?)?;
        let inside = memory_file("inside", &serde_json::to_vec(&inside)?)?;
        let given = inner::numbers([&plan, &inside, &status_inside, &gate_inside, &report_inside]);
        let program = self.inner.program()?;
        let mut command = std::process::Command::new(inner::by_descriptor(program.as_raw_fd()));
        command
            .args(inner::arguments(Part::Enter, &given))
            .current_dir("/");
        let kept: Vec<OwnedFd> = vec![
            plan,
            inside,
            status_inside,
            gate_inside,
            report_inside,
            program,
        ];
        Ok(Launch {
            recipe: Recipe {
                command,
                stdin: run::stdin(request)?,
                kept,
            },
            status: Lines::new(status)?,
            gate,
            report: Some(Lines::new(report)?),
        })
    }
}
