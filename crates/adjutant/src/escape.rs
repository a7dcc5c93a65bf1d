//! The escape trials of the sandbox, as checks for the command line.

use adjutant_cli::{Check, Failure, Severity};

/// One line of a report.
pub(crate) fn check(
    id: impl Into<String>,
    severity: Severity,
    message: impl Into<String>,
) -> Check {
    Check {
        id: id.into(),
        severity,
        message: message.into(),
        fix: None,
        fixed: false,
    }
}

pub(crate) fn slug(name: &str) -> String {
    name.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(target_os = "linux")]
pub(crate) async fn trials(sandbox: &dyn adjutant_ports::Sandbox) -> Result<Vec<Check>, Failure> {
    use adjutant_sandbox::Verdict;

    // Not below `/tmp`, which every confined process has its own of: there is nothing to escape to.
    let place = std::path::Path::new("/var/tmp");
    let place = if place.is_dir() {
        place.to_owned()
    } else {
        std::env::temp_dir()
    };
    let scratch = place.join(format!("adjutant-escapes-{}", std::process::id()));
    // A folder that is there already is somebody else's.
    crate::platform::folders(0o700)
        .create(&scratch)
        .map_err(|e| Failure::io(scratch.display(), &e))?;
    let trials = adjutant_sandbox::verify(sandbox, &scratch).await;
    drop(std::fs::remove_dir_all(&scratch));
    let trials = trials.map_err(|e| Failure::io("the escape trials", &e))?;
    let was_tried = trials.iter().any(|it| it.verdict != Verdict::Skipped);
    let nothing = check(
        "escape.none",
        Severity::Error,
        "not one attempt could be made, which proves nothing",
    );
    Ok(trials
        .into_iter()
        .map(|trial| {
            let severity = match trial.verdict {
                Verdict::Held => Severity::Ok,
                Verdict::Skipped => Severity::Skipped,
                Verdict::Escaped => Severity::Error,
            };
            check(
                format!("escape.{}", slug(&trial.name)),
                severity,
                format!("{}: {}", trial.what, trial.detail),
            )
        })
        .chain((!was_tried).then_some(nothing))
        .collect())
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn trials(_sandbox: &dyn adjutant_ports::Sandbox) -> Result<Vec<Check>, Failure> {
    Ok(vec![check(
        "escapes",
        Severity::Skipped,
        "the escape trials are written for Linux",
    )])
}
