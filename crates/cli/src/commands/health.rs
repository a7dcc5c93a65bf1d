//! `adjutant doctor`, `verify`, `sandbox verify`: lists of checks and what to do.

use adjutant_protocol::methods::common::KeyOnly;
use adjutant_protocol::methods::system::{VerifyFound, VerifyRun};
use serde_json::json;

use crate::args::{DoctorArgs, SandboxCommand};
use crate::connect::{Connection, reach};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::{Check, Fixing, Report, Severity};
use crate::render::words;

/// A whole store may take a while to read.
const VERIFY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);

pub(super) async fn doctor(cx: &Cx<'_>, args: &DoctorArgs) -> Result<Exit, Failure> {
    let fixing = if args.fix { Fixing::Yes } else { Fixing::No };
    let report = cx.host.doctor_checks(fixing).await?;
    show(cx, &report, "problem", "problems")
}

pub(super) async fn verify(cx: &Cx<'_>) -> Result<Exit, Failure> {
    // A gateway that runs holds the store; it does the reading then.
    let found = if cx.global.gateway.is_some() {
        let gateway = Connection::to_running(cx).await?;
        Some(
            gateway
                .call_within::<VerifyRun>(VERIFY_TIMEOUT, KeyOnly::default())
                .await?,
        )
    } else {
        match cx.host.local_gateway().await? {
            Some(found) => {
                let client = reach(cx, found).await?;
                Some(
                    client
                        .call_within::<VerifyRun>(VERIFY_TIMEOUT, KeyOnly::default())
                        .await?,
                )
            }
            None => None,
        }
    };
    let report = match found {
        Some(found) => report_of(&found),
        None => cx.host.verify_store().await?,
    };
    show(cx, &report, "finding", "findings")
}

pub(super) async fn sandbox(cx: &Cx<'_>, command: &SandboxCommand) -> Result<Exit, Failure> {
    match command {
        SandboxCommand::Verify { driver } => {
            let report = cx.host.sandbox_verify(*driver).await?;
            let escaped = report
                .checks
                .iter()
                .any(|it| it.severity == Severity::Error && it.id.starts_with("escape."));
            if escaped {
                show(cx, &report, "escape", "escapes")
            } else {
                show(cx, &report, "problem", "problems")
            }
        }
    }
}

fn report_of(found: &VerifyFound) -> Report {
    let passed = found.checked.iter().map(|it| Check {
        id: it.name.clone(),
        severity: Severity::Ok,
        message: format!("{} looked at", it.count),
        fix: None,
        fixed: false,
    });
    let wrong = found.findings.iter().map(|it| Check {
        id: "finding".to_owned(),
        severity: Severity::Error,
        message: it.clone(),
        fix: None,
        fixed: false,
    });
    Report {
        checks: passed.chain(wrong).collect(),
    }
}

fn show(cx: &Cx<'_>, report: &Report, one: &str, many: &str) -> Result<Exit, Failure> {
    let count = |severity| {
        report
            .checks
            .iter()
            .filter(|it| it.severity == severity && !it.fixed)
            .count() as u64
    };
    let errors = count(Severity::Error);
    let document = json!({
        "ok": errors == 0,
        "errors": errors,
        "warnings": count(Severity::Warning),
        "skipped": count(Severity::Skipped),
        "checks": report.checks,
    });
    cx.terminal.show(&document, || {
        let mut lines: Vec<String> = report.checks.iter().map(|it| line(cx, it)).collect();
        let total = u64::try_from(report.checks.len()).unwrap_or(u64::MAX);
        let mut summary = format!(
            "{}, {}",
            words(total, "check", "checks"),
            words(errors, one, many)
        );
        for (severity, word) in [
            (Severity::Warning, "to look at"),
            (Severity::Skipped, "skipped"),
        ] {
            let n = count(severity);
            if n != 0 {
                summary.push_str(&format!(", {n} {word}"));
            }
        }
        lines.push(summary);
        lines.join("\n")
    })?;
    Ok(if errors == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn line(cx: &Cx<'_>, check: &Check) -> String {
    let paint = cx.terminal.paint();
    let mark = match check.severity {
        _ if check.fixed => paint.green("fixed  "),
        Severity::Ok => paint.green("ok     "),
        Severity::Skipped => paint.dim("skipped"),
        Severity::Warning => paint.yellow("warning"),
        Severity::Error => paint.red("error  "),
    };
    let mut text = format!(
        "{mark}  {}: {}",
        paint.bold(&check.id),
        crate::render::safe(&check.message)
    );
    if let Some(fix) = check
        .fix
        .as_ref()
        .filter(|_| check.severity != Severity::Ok && !check.fixed)
    {
        text.push_str(&format!("\n         {} {fix}", paint.cyan("fix:")));
    }
    text
}
