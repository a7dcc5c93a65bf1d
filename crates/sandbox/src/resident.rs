//! How much memory a process tree holds, for machines where no control group can bound it.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use rustix::process::Pid;

/// How often a tree is weighed. A process fills at most some hundred MiB in between.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

/// Most processes looked at in one weighing; far above any ceiling.
const PROCESSES_MAX: usize = 70_000;

/// Whether this kernel tells who descends from whom.
pub(crate) fn can_be_weighed() -> bool {
    fs::exists("/proc/thread-self/children").unwrap_or(false)
}

/// Memory in bytes that `first` and all its descendants hold for themselves.
///
/// Pages of files and of shared memory do not count: the former can be dropped, the latter is bounded by the size of the
/// file systems inside.
pub(crate) fn bytes_of(first: Pid) -> u64 {
    let page = rustix::param::page_size() as u64;
    let mut pages: u64 = 0;
    let mut ahead = VecDeque::from([first.as_raw_nonzero().get()]);
    let mut n_seen = 0;
    while let Some(pid) = ahead.pop_front() {
        n_seen += 1;
        if PROCESSES_MAX < n_seen {
            break;
        }
        pages = pages.saturating_add(own_pages(pid));
        ahead.extend(children(pid));
    }
    pages.saturating_mul(page)
}

/// Resident minus shared pages. Format: proc(5), statm. A process that is gone holds nothing.
fn own_pages(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut fields = text
        .split(' ')
        .skip(1)
        .map(|it| it.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    resident.saturating_sub(shared)
}

/// Children of all threads of a process.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    lists
        .flat_map(|it| {
            it.split_ascii_whitespace()
                .filter_map(|it| it.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_tree_weighs_at_least_what_its_members_hold() {
        if !can_be_weighed() {
            println!("SKIPPED: this kernel does not tell who descends from whom");
            return;
        }
        let held = vec![1_u8; 32 << 20];
        let me = rustix::process::getpid();
        let bytes = bytes_of(me);
        assert!(held.len() as u64 <= bytes, "{bytes}");
    }
}
