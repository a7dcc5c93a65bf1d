//! Our reading of words held against a real shell.

#![allow(clippy::unwrap_used)]

mod commands_support;

use std::process::Command;

use adjutant_policy::command::Class;

use commands_support::{corpus, of};

/// The words a real shell makes of each script. Nothing in the scripts is run: they are the arguments of `set --`.
fn words_of_bash(scripts: &[String]) -> Option<Vec<Vec<String>>> {
    let mut program = String::from("set -f\n");
    for script in scripts {
        program.push_str("set -- ");
        program.push_str(script);
        program.push_str("\nprintf '%s\\0' \"$@\"; printf '\\1'\n");
    }
    let output = Command::new("bash")
        .arg("-c")
        .arg(&program)
        .env_clear()
        .env("HOME", "/home/ada")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let lists: Vec<Vec<String>> = text
        .split_terminator('\u{1}')
        .map(|list| list.split_terminator('\0').map(str::to_owned).collect())
        .collect();
    assert_eq!(
        lists.len(),
        scripts.len(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(lists)
}

fn compare_with_bash(scripts: Vec<String>, n_min: usize) {
    let simple = |script: &String| {
        let analysis = of(script);
        let [segment] = analysis.segments.as_slice() else {
            return None;
        };
        let plain = !analysis.opaque
            && segment.redirections.is_empty()
            && !script.contains([
                '\n', ';', '|', '&', '(', ')', '#', '!', '~', '=', '$', '<', '>',
            ])
            && !script.trim_start().starts_with('{')
            && !script.starts_with("time ")
            && segment
                .argv
                .first()
                .is_some_and(|first| !matches!(first.as_str(), "if"));
        plain.then(|| (script.clone(), segment.argv.clone()))
    };
    let (scripts, ours): (Vec<String>, Vec<Vec<String>>) =
        scripts.iter().filter_map(simple).unzip();
    assert!(
        n_min <= scripts.len(),
        "only {} scripts are simple enough",
        scripts.len()
    );
    let Some(theirs) = words_of_bash(&scripts) else {
        eprintln!("skipped: install bash to compare with a real shell");
        return;
    };
    for ((script, ours), theirs) in scripts.iter().zip(ours).zip(theirs) {
        assert_eq!(ours, theirs, "{script:?}");
    }
}

// covers: S28
#[test]
fn words_agree_with_a_real_shell() {
    compare_with_bash(
        corpus().into_iter().map(|(_, command)| command).collect(),
        250,
    );
}

// covers: S28
#[test]
fn words_of_random_text_agree_with_a_real_shell() {
    const PIECES: &[&str] = &[
        "'", "'", "\"", "\"", "\\", "a", "b c", " ", "\t", "-", "*", "[x]", "{", "}", ",", ".",
        "`", "é", "?", "%", "@", "^", ":",
    ];
    // A fixed generator: the test is the same every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    let scripts = (0..6_000)
        .map(|_| {
            let n_pieces = 1 + pick(12);
            let pieces: String = (0..n_pieces).map(|_| PIECES[pick(PIECES.len())]).collect();
            format!("echo {pieces}")
        })
        .collect();
    compare_with_bash(scripts, 500);
}

// covers: S28
#[test]
fn a_safe_read_is_valid_for_a_real_shell() {
    for (class, command) in corpus() {
        if class != Class::SafeRead {
            continue;
        }
        let Ok(status) = Command::new("bash")
            .arg("-n")
            .arg("-c")
            .arg(&command)
            .status()
        else {
            eprintln!("skipped: install bash to compare with a real shell");
            return;
        };
        assert!(status.success(), "{command}");
    }
}
