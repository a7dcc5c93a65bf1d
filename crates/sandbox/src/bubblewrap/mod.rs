//! The walls of bubblewrap: every namespace, a system call filter, a root of our own making. Inside them, where this
//! program can be started there, Landlock.

mod arguments;
mod probe;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use async_trait::async_trait;
use rustix::pipe::PipeFlags;
use tokio::sync::OnceCell;

use adjutant_ports::sandbox::{
    Command, ProcessOutcome, Profile, Sandbox, SandboxError, SandboxReport,
};

use crate::bubblewrap::arguments::Descriptors;
use crate::bubblewrap::probe::Ready;
use crate::config::Config;
use crate::inner::{self, Inner, Part};
use crate::plan::{self, Step};
use crate::probe::{Base, unavailable};
use crate::request::Request;
use crate::run::{self, Launch, Launcher, Lines};
use crate::spawn::{Recipe, memory_file};

/// The bubblewrap driver.
#[derive(Debug)]
pub struct Bubblewrap {
    search_path: Option<OsString>,
    inner: Option<Inner>,
    tmp_bytes: u64,
    ready: OnceCell<Result<Ready, String>>,
}

impl Bubblewrap {
    /// Looks for `bwrap` on the search path of this process when it is first needed, and starts this program inside; see
    /// [`play_inner_part`](crate::play_inner_part).
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with(config, std::env::var_os("PATH"), Inner::this())
    }

    /// The same with a given search path, and another program or none inside.
    #[must_use]
    pub fn with(config: &Config, search_path: Option<OsString>, inner: Option<Inner>) -> Self {
        Self {
            search_path,
            inner,
            tmp_bytes: config.tmp_bytes,
            ready: OnceCell::new(),
        }
    }

    /// What the probe found; probes the first time.
    async fn ready(&self) -> Result<&Ready, SandboxError> {
        let probe = || {
            let inner = self.inner.clone();
            probe::probe(self.search_path.as_deref(), inner, self.tmp_bytes)
        };
        let ready = self.ready.get_or_init(probe).await;
        ready.as_ref().map_err(|reason| SandboxError::Unavailable {
            reason: reason.clone(),
        })
    }
}

#[async_trait]
impl Sandbox for Bubblewrap {
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
            Ok(ready) => ready.report(),
            Err(error) => unavailable("bubblewrap", &error),
        }
    }
}

impl Launcher for Ready {
    fn base(&self) -> &Base {
        &self.base
    }

    fn launch(&self, request: &Request) -> io::Result<Launch> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (status, status_inside) = pipe()?;
        let (gate_inside, gate) = pipe()?;
        let mut kept = Vec::new();
        let mut keep = |fd: OwnedFd| {
            let number = fd.as_raw_fd();
            kept.push(fd);
            number
        };
        let mut fds = Descriptors {
            status: keep(status_inside),
            gate: keep(gate_inside),
            ..Descriptors::default()
        };
        let steps = plan::steps(request, self.tmp_bytes);
        for step in &steps {
            if let Step::File { path, content } = step {
                fds.files.push(keep(memory_file(path, content.as_bytes())?));
            }
        }
        for filter in &self.base.filters {
            fds.filters.push(keep(memory_file("filter", filter)?));
        }
        let options = arguments::options(request, &steps, &fds, self.switches);
        // On a descriptor instead of the command line: other users of the host can read command lines.
        let options = keep(memory_file("options", &arguments::to_bytes(&options))?);

        let mut command = std::process::Command::new(&self.program);
        command
            .arg("--args")
            .arg(options.to_string())
            .arg("--")
            .current_dir("/");
        let report = match &self.inner {
            Some(inner) => {
                let (report, report_inside) = pipe()?;
                // The filters are on already.
                let inside = serde_json::to_vec(&run::inside(request, &steps))?;
                let given = [keep(memory_file("inside", &inside)?), keep(report_inside)];
                command
                    .arg(inner::by_descriptor(keep(inner.program()?)))
                    .args(inner::arguments(Part::Command, &given));
                Some(Lines::new(report)?)
            }
            None => {
                command.args(&request.command.argv);
                None
            }
        };
        Ok(Launch {
            recipe: Recipe {
                command,
                stdin: run::stdin(request)?,
                kept,
            },
            status: Lines::new(status)?,
            gate,
            report,
        })
    }
}
