//! Attempts to use more than granted, and to outlive the call.

use std::fs;
use std::time::Duration;

use adjutant_ports::sandbox::{Ending, ProcessLimits};

use super::{Tool, Trial, held_if};
use crate::verify::Seen;
use crate::verify::scene::Scene;

pub(super) fn ceilings() -> Vec<Trial> {
    use Tool::{Perl, Shell};
    vec![
        Trial::new(
            "fork-bomb",
            "start processes without end",
            Perl,
            "my $n = 0; while ($n < 2000) { my $p = fork(); last unless defined $p; if (!$p) { sleep 30; exit } $n++ } print $n;",
            |_, seen| held_if(seen.said.parse::<u32>().is_ok_and(|n| n < 64), format!("{} processes were started", seen.said)),
        )
        .with(|limits| {
            limits.pids = 64;
            limits.wall = Duration::from_secs(5);
        }),
        Trial::new(
            "memory",
            "use more memory than granted",
            Perl,
            "my $n = 300 << 20; my $x = 'x' x $n; print 'got ', length($x);",
            |_, seen| held_if(!seen.said.contains("got"), "the memory was not given"),
        )
        .with(|limits| limits.memory_bytes = 64 << 20),
        Trial::new(
            "file-size",
            "write a file larger than granted",
            Shell,
            "trap '' XFSZ; head -c 5000000 /dev/zero > big; true",
            |scene, _| {
                let bytes = fs::metadata(scene.workspace.join("big")).map_or(0, |it| it.len());
                held_if(bytes <= 1 << 20, format!("{bytes} bytes were written"))
            },
        )
        .with(|limits| limits.file_bytes_max = 1 << 20),
        Trial::new(
            "fill-tmp",
            "fill the memory behind /tmp and /dev/shm",
            Shell,
            "head -c 1500000000 /dev/zero > /tmp/fill; head -c 1500000000 /dev/zero > /dev/shm/fill; \
             cat /tmp/fill /dev/shm/fill | wc -c",
            |_, seen| {
                let bytes = seen.said.lines().last().and_then(|it| it.parse::<u64>().ok());
                held_if(bytes.is_none_or(|it| it < 1_500_000_000), format!("{bytes:?} bytes fitted"))
            },
        )
        .with(|limits| {
            limits.memory_bytes = 2 << 30;
            limits.file_bytes_max = 2 << 30;
        }),
        Trial::new("flood", "print without end", Shell, "exec cat /dev/zero", |_, seen| {
            let ended = seen.outcome.ending == Ending::OutputFlood;
            held_if(ended, format!("{:?} after {} bytes", seen.outcome.ending, seen.outcome.stdout_total))
        })
        .with(|limits| {
            limits.output_bytes_max = 4 << 20;
            limits.kept_output_bytes = 4096;
        }),
    ]
}

pub(super) fn ending(scene: &Scene) -> Vec<Trial> {
    use Tool::Shell;
    let mark = &scene.mark;
    vec![
        Trial::new(
            "hang",
            "never end",
            Shell,
            format!("exec sleep {mark}"),
            ended_in_time,
        )
        .with(briefly),
        Trial::new(
            "ignore-signals",
            "ignore every signal that can be ignored",
            Shell,
            format!("trap '' HUP INT QUIT TERM PIPE ALRM; while :; do sleep {mark}; done"),
            ended_in_time,
        )
        .with(briefly),
        Trial::new(
            "daemon",
            "leave a process behind that detached itself twice",
            Shell,
            format!(
                "(setsid sh -c 'trap \"\" HUP TERM; sleep {mark} >/dev/null 2>&1 </dev/null & sleep {mark} &' &) ; sleep 0.1; exit 0"
            ),
            |scene, seen| {
                let n = scene.n_marked();
                held_if(
                    n == 0,
                    format!("{n} processes left, after {:?}", seen.outcome.elapsed),
                )
            },
        ),
        Trial::new(
            "hold-pipes",
            "keep the caller waiting by holding its pipes",
            Shell,
            format!("setsid sleep {mark} & exit 0"),
            |scene, seen| {
                let n = scene.n_marked();
                held_if(
                    n == 0 && seen.outcome.elapsed < Duration::from_secs(3),
                    format!("returned after {:?}", seen.outcome.elapsed),
                )
            },
        ),
    ]
}

fn briefly(limits: &mut ProcessLimits) {
    limits.wall = Duration::from_millis(400);
}

/// Held when the limit ended it, within the three seconds that R32 grants, and nothing of it lives on.
fn ended_in_time(scene: &Scene, seen: &Seen<'_>) -> Result<String, String> {
    let in_time = seen.outcome.elapsed < Duration::from_millis(3400);
    let n = scene.n_marked();
    let observed = format!(
        "{:?} after {:?}, {n} processes left",
        seen.outcome.ending, seen.outcome.elapsed
    );
    held_if(
        in_time && n == 0 && seen.outcome.ending == Ending::TimedOut,
        observed,
    )
}
