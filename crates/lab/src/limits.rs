//! How many files this process, and so those that it starts, may have open.

use std::process::Command;

use anyhow::{Context as _, Result};

/// What the system allows: now, and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// Lets this process have `n` files open, by raising the soft limit as far as the hard one goes. Says why not, if that is too few.
pub(crate) fn open_files(n: u64) -> Result<Result<(), String>> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let limit = read(&limits).context("the limit of open files")?;
    if n <= limit.soft {
        return Ok(Ok(()));
    }
    let too_few = |why: &str| {
        format!(
            "{n} files must be open at once, and {} may be ({why}; `ulimit -Hn {n}` as root raises that)",
            limit.soft.max(limit.hard)
        )
    };
    if limit.hard < n {
        return Ok(Err(too_few("the hard limit")));
    }
    let raised = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string()])
        .arg(format!("--nofile={n}:{}", limit.hard))
        .status();
    Ok(match raised {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(too_few(&format!("prlimit: {status}"))),
        Err(error) => Err(too_few(&format!("prlimit: {error}"))),
    })
}

fn read(limits: &str) -> Option<Limit> {
    let line = limits.lines().find(|it| it.starts_with("Max open files"))?;
    let mut words = line.split_whitespace().skip(3);
    let mut next = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some(Limit {
        soft: next()?,
        hard: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_the_system_are_read() {
        let text = "Max processes             1 2 processes\nMax open files            1024                 524288               files\n";
        let limit = Limit {
            soft: 1_024,
            hard: 524_288,
        };
        assert_eq!(read(text), Some(limit));
        assert_eq!(read("nothing of the kind"), None);
    }
}
