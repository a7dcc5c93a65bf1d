//! Starting and watching the processes that are measured.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::{Child, Command};

/// A loopback port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// An HTTP client for loopback.
pub(crate) fn http_client() -> Result<reqwest::Client> {
    // A second install in the same process is refused, and means that the first one counts.
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .build()?)
}

/// How long a process that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(2);

/// A process that is gone when this is dropped: whoever leaves early leaves nothing behind that runs or writes.
pub(crate) struct Process(Child);

impl Process {
    /// Starts one.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.kill_on_drop(true).spawn()?))
    }

    /// The process id; 0 once it was seen to have ended.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id().unwrap_or(0)
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.0.kill().await.context("kill -9")
    }

    /// Waits until it ends.
    pub(crate) async fn end(&mut self) -> Result<ExitStatus> {
        Ok(self.0.wait().await?)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// What it has started itself.
    pub(crate) fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let text = text.unwrap_or_default();
        text.split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.id().is_none() {
            return;
        }
        // A tracer that is killed lets what it traces go on.
        for child in self.children() {
            drop(signal(child, Signal::Kill));
        }
        drop(self.0.start_kill());
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < GONE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a signal is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ends the process politely.
    Terminate,
    /// Ends it.
    Kill,
    /// Freezes it.
    Freeze,
    /// Lets it go on.
    GoOn,
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let name = match signal {
        Signal::Terminate => "-TERM",
        Signal::Kill => "-KILL",
        Signal::Freeze => "-STOP",
        Signal::GoOn => "-CONT",
    };
    // For `kill`, 0 is everybody in the group: ourselves, too.
    ensure!(pid != 0, "kill {name}: the process has ended");
    let output = std::process::Command::new("kill")
        .args([name, &pid.to_string()])
        .output()?;
    ensure!(
        output.status.success(),
        "kill {name} {pid}: {}",
        output.status
    );
    Ok(())
}

/// A process with a port.
pub(crate) struct Subject {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Subject {
    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }
}

/// The mock model, as a process of its own.
pub(crate) async fn mock() -> Result<Subject> {
    mock_with(0).await
}

/// A mock model that thinks for a while before it answers.
pub(crate) async fn mock_with(latency_ms: u64) -> Result<Subject> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["mock", "--port", &port.to_string()])
        .args(["--latency-ms", &latency_ms.to_string()])
        .stdin(Stdio::null());
    let process = Process::start(&mut command)?;
    let subject = Subject { process, port };
    wait_http(port, "/counts", Duration::from_secs(10)).await?;
    Ok(subject)
}

/// The floor, as a process of its own.
pub(crate) async fn floor(dir: &Path, mock: u16) -> Result<Subject> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([
            "floor",
            "--port",
            &port.to_string(),
            "--mock",
            &format!("http://127.0.0.1:{mock}"),
            "--dir",
        ])
        .arg(dir)
        .stdin(Stdio::null());
    let process = Process::start(&mut command)?;
    let subject = Subject { process, port };
    wait_http(port, "/healthz", Duration::from_secs(10)).await?;
    Ok(subject)
}

/// A home for a gateway, with a config that points at the mock.
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) binary: PathBuf,
}

/// The token that lab gateways use: long enough, and only ever on loopback in a throwaway home.
pub(crate) const TOKEN: &str = "lab-0123456789abcdef0123456789abcdef0123456789";

impl Home {
    /// Writes the config and the agent through the binary's own `setup`.
    pub(crate) async fn new(dir: &Path, binary: &Path, mock: u16, extra: &str) -> Result<Self> {
        let home = Self {
            dir: dir.to_owned(),
            binary: binary.to_owned(),
        };
        let output = home
            .command()
            .args([
                "setup",
                "--non-interactive",
                "--provider",
                "openai",
                "--model",
                "mock",
            ])
            .args(["--base-url", &format!("http://127.0.0.1:{mock}/v1")])
            .output()
            .await?;
        if !output.status.success() {
            bail!("setup failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let path = home.dir.join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, format!("{config}\n{extra}\n"))?;
        Ok(home)
    }

    /// The binary with this home.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("ADJUTANT_HOME", &self.dir)
            .env("ADJUTANT_GATEWAY_TOKEN", TOKEN)
            .env("OPENAI_API_KEY", "lab")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts the gateway in the foreground and waits until it is ready. Returns how long that took.
    pub(crate) async fn gateway(&self, port: u16) -> Result<(Subject, Duration)> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("lab.log"))?;
        let begun = Instant::now();
        let mut command = self.command();
        command
            .args(["gateway", "run", "--port", &port.to_string()])
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = Process::start(&mut command)?;
        let subject = Subject { process, port };
        wait_http(port, "/readyz", Duration::from_secs(20)).await?;
        Ok((subject, begun.elapsed()))
    }
}

/// Polls a path until it answers 200, without an HTTP library in between: a start is measured in milliseconds.
pub(crate) async fn wait_http(port: u16, path: &str, patience: Duration) -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let begun = Instant::now();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    loop {
        if let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            let mut answer = Vec::new();
            let asked = stream.write_all(request.as_bytes()).await.is_ok();
            if asked
                && stream.read_to_end(&mut answer).await.is_ok()
                && answer.starts_with(b"HTTP/1.1 200")
            {
                return Ok(());
            }
        }
        if patience < begun.elapsed() {
            bail!("nothing answers {path} on port {port} after {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn rss(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .context("VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS")?.parse()?;
    Ok(kib * 1024)
}

/// CPU time a process has used, user and system.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit_once(')').context("stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11).context("utime")?.parse::<u64>()?
        + fields.get(12).context("stime")?.parse::<u64>()?;
    // USER_HZ is 100 on every Linux.
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes a process has caused to be written to disk.
pub(crate) fn written(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = text
        .lines()
        .find(|l| l.starts_with("write_bytes:"))
        .context("write_bytes")?;
    Ok(line
        .split_whitespace()
        .nth(1)
        .context("write_bytes")?
        .parse()?)
}
