//! As much of the protocol of test binaries as cargo and nextest speak.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// A name, and what is tested.
pub(crate) type Case = (&'static str, fn());

/// What was asked for on the command line.
#[derive(Default)]
struct Asked {
    lists: bool,
    is_exact: bool,
    /// Only those that are ignored, or those as well.
    only_ignored: bool,
    include_ignored: bool,
    filters: Vec<String>,
    skipped: Vec<String>,
    threads: Option<usize>,
}

fn asked() -> Asked {
    let mut asked = Asked::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        match flag.as_str() {
            "--list" => asked.lists = true,
            "--exact" => asked.is_exact = true,
            "--ignored" => asked.only_ignored = true,
            "--include-ignored" => asked.include_ignored = true,
            "--skip" => asked.skipped.extend(value.or_else(|| words.next())),
            "--test-threads" => {
                let text = value.or_else(|| words.next());
                asked.threads = text.and_then(|text| text.parse().ok());
            }
            "--format" | "--color" | "--logfile" if value.is_none() => drop(words.next()),
            _ if flag.starts_with('-') => {}
            _ => asked.filters.push(flag),
        }
    }
    asked
}

impl Asked {
    fn takes(&self, name: &str) -> bool {
        let fits = |it: &String| {
            if self.is_exact {
                name == it
            } else {
                name.contains(it.as_str())
            }
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skipped.iter().any(fits)
    }
}

/// Runs the cases that were asked for. `ignored` says why none of them can.
pub(crate) fn run(cases: Vec<Case>, ignored: Option<&str>) -> ExitCode {
    let asked = asked();
    let n_all = cases.len();
    let mut cases: Vec<Case> = cases.into_iter().filter(|it| asked.takes(it.0)).collect();
    if asked.only_ignored && ignored.is_none() {
        cases.clear();
    }
    if asked.lists {
        for (name, _) in &cases {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let (failed, n_ignored) = match ignored {
        // `--include-ignored` changes nothing: what is not there cannot be tested.
        Some(why) if !cases.is_empty() => {
            let n = cases.len();
            println!("{n} cases of the store contract are ignored: {why}");
            (Vec::new(), n)
        }
        _ => (all(&cases, &asked), 0),
    };
    for name in &failed {
        println!("failed: {name}");
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; {n_ignored} ignored; 0 measured; {} filtered out\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        cases.len() - failed.len() - n_ignored,
        failed.len(),
        n_all - cases.len(),
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(101)
    }
}

fn all(cases: &[Case], asked: &Asked) -> Vec<&'static str> {
    let threads = asked
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
        .min(cases.len().max(1));
    let (next, failed) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, case)) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let is_ok = catch_unwind(case).is_ok();
                    println!("test {name} ... {}", if is_ok { "ok" } else { "FAILED" });
                    if !is_ok {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}
