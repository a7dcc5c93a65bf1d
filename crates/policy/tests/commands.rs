//! Labelled commands: what runs, what asks, what is refused; and laws that hold for any text.

#![allow(clippy::unwrap_used)]

mod commands_support;

use std::path::Path;

use adjutant_policy::command::{
    Class, Globs, NESTING_MAX, Operands, SCRIPT_BYTES_MAX, SEGMENTS_MAX, Surroundings, TABLE,
    WRAPPERS_MAX, analyse, table,
};
use proptest::prelude::*;

use commands_support::{corpus, of};

// covers: S27, S28, S30
#[test]
fn every_labelled_command_gets_its_class() {
    let wrong: Vec<String> = corpus()
        .into_iter()
        .filter_map(|(class, command)| {
            let analysis = of(&command);
            (analysis.class != class).then(|| {
                format!(
                    "{:?} not {class:?}: {} ({}: {})",
                    analysis.class, analysis.escaped, analysis.rule, analysis.reason
                )
            })
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

// covers: S28
#[test]
fn the_corpus_is_large_and_has_benign_twins() {
    let corpus = corpus();
    assert!(400 <= corpus.len());
    for class in [Class::SafeRead, Class::NeedsApproval, Class::AlwaysDeny] {
        assert!(
            120 <= corpus
                .iter()
                .filter(|(labelled, _)| *labelled == class)
                .count()
        );
    }
}

// covers: S28
#[test]
fn every_analysis_names_its_rule_and_says_why() {
    for (_, command) in corpus() {
        let analysis = of(&command);
        assert!(
            analysis.rule.contains('.'),
            "{command}: {:?}",
            analysis.rule
        );
        assert!(
            analysis.reason.ends_with('.'),
            "{command}: {:?}",
            analysis.reason
        );
        for segment in &analysis.segments {
            assert!(
                segment.rule.contains('.') && !segment.reason.is_empty(),
                "{command}: {segment:?}"
            );
            assert!(segment.class <= analysis.class);
        }
    }
}

// covers: S28, S32
#[test]
fn what_is_decided_at_run_time_is_opaque() {
    for command in [
        "ls $(x)",
        "ls `x`",
        "ls $x",
        "ls $((1))",
        "{ls,-l}",
        "cat <<A\nx\nA",
        "cat <<< x",
        "cat <(ls)",
        "ls &",
        "eval ls",
        ". x",
        "f() { ls; }",
        "coproc ls",
        "[[ a ]]",
        "sh -c ls",
        "x | sh",
        "python -c 1",
        "env -S ls",
        "xargs rm",
        "timeout --frob 1 ls",
        "PATH=. ls",
        "LD_PRELOAD=x ls",
        "ls 'x",
        "l*",
        "awk x",
        "case x in x) ls;; esac",
    ] {
        let analysis = of(command);
        assert!(analysis.opaque, "{command}: {}", analysis.rule);
        assert!(Class::NeedsApproval <= analysis.class);
    }
    for command in [
        "rm x",
        "cargo build",
        "echo x > y",
        "git commit -m x",
        "cat /etc/hosts",
        "python x.py",
        "sudo ls",
    ] {
        assert!(!of(command).opaque, "{command}: {}", of(command).rule);
    }
}

// covers: S28
#[test]
fn limits_refuse_instead_of_giving_up() {
    let cases = [
        (
            "limit.length",
            format!("echo {}", "a".repeat(SCRIPT_BYTES_MAX)),
        ),
        ("limit.segments", vec!["ls"; SEGMENTS_MAX + 1].join(";")),
        (
            "limit.wrappers",
            format!("{}ls", "nice ".repeat(WRAPPERS_MAX + 1)),
        ),
        (
            "limit.nesting",
            format!(
                "{}ls{}",
                "( ".repeat(NESTING_MAX + 1),
                " )".repeat(NESTING_MAX + 1)
            ),
        ),
        ("limit.nesting", "if ".repeat(5_000)),
        ("limit.nesting", "( ".repeat(8_000)),
        ("limit.expansions", "$(".repeat(8_000)),
        ("limit.expansions", "${a:-".repeat(3_000)),
        ("limit.expansions", "`".repeat(8_000)),
    ];
    for (rule, script) in cases {
        let analysis = of(&script);
        assert_eq!(
            (analysis.class, analysis.rule.as_str()),
            (Class::AlwaysDeny, rule)
        );
    }
    for script in [
        vec!["ls"; SEGMENTS_MAX].join(";"),
        format!("{}ls", "nice ".repeat(WRAPPERS_MAX)),
        "(ls; (pwd; (ls)))".to_owned(),
    ] {
        assert_eq!(of(&script).class, Class::SafeRead, "{script}");
    }
}

#[test]
fn segments_show_the_effective_program_and_its_wrappers() {
    let analysis = of("cd src && timeout 5 env LC_ALL=C s\"or\"t 'a b' 2>/dev/null | sudo tee out");
    insta::assert_json_snapshot!(analysis);
}

#[test]
fn a_refusal_inside_a_substitution_is_named() {
    insta::assert_json_snapshot!(of("echo \"$(rm -rf ~)\""));
}

#[test]
fn writing_is_told_apart_from_reading_elsewhere() {
    for command in [
        "echo x > y",
        "touch x",
        "cargo build",
        "sort -o a b",
        "ls 'x",
    ] {
        assert!(of(command).writes, "{command}");
    }
    for command in ["ls", "cat /etc/hosts", "cat .env", "wc -l *.md", "ls $x"] {
        assert!(!of(command).writes, "{command}");
    }
}

#[test]
fn a_workspace_inside_the_state_directory_stays_readable() {
    let around = Surroundings {
        workspace: Path::new("/home/ada/.adjutant/work"),
        cwd: Path::new("/home/ada/.adjutant/work"),
        state_dir: Path::new("/home/ada/.adjutant"),
        home: Path::new("/home/ada"),
    };
    assert_eq!(analyse("cat notes.md", &around).class, Class::SafeRead);
    assert_eq!(analyse("cat ../token", &around).class, Class::AlwaysDeny);
    assert_eq!(analyse("rm -rf ..", &around).class, Class::AlwaysDeny);
}

#[test]
fn a_state_directory_inside_the_workspace_stays_closed() {
    let around = Surroundings {
        workspace: Path::new("/tmp/demo"),
        cwd: Path::new("/tmp/demo"),
        state_dir: Path::new("/tmp/demo/state"),
        home: Path::new("/home/ada"),
    };
    assert_eq!(analyse("cat notes.md", &around).class, Class::SafeRead);
    assert_eq!(analyse("cat state/token", &around).class, Class::AlwaysDeny);
    assert_eq!(analyse("cat s*/token", &around).class, Class::AlwaysDeny);
}

#[test]
fn the_table_is_consistent() {
    for row in table() {
        assert_eq!(
            TABLE.iter().filter(|other| other.name == row.name).count(),
            1,
            "{} appears twice",
            row.name
        );
        for sub in row.subcommands {
            assert_eq!(
                row.subcommands
                    .iter()
                    .filter(|other| other.name == sub.name)
                    .count(),
                1
            );
            assert_eq!(sub.globs, Globs::Anchored, "{} {}", row.name, sub.name);
        }
        for list in [row.flags, row.valued, row.attached, row.files] {
            assert!(
                list.split_ascii_whitespace()
                    .all(|flag| flag.starts_with('-')),
                "{}",
                row.name
            );
        }
        if row.operands == Operands::OnePath {
            assert_eq!(
                row.globs,
                Globs::Anchored,
                "a second file of {} would be written",
                row.name
            );
        }
    }
}

/// Pieces from which scripts with meaning are put together.
fn piece() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "ls",
        "cat",
        "rm",
        "-rf",
        "/",
        "~",
        "*",
        "README.md",
        "'",
        "\"",
        "\\",
        "$",
        "$(",
        ")",
        "(",
        "`",
        "{",
        "}",
        ";",
        "&",
        "&&",
        "||",
        "|",
        "<",
        ">",
        ">>",
        "<<",
        "<<<",
        "EOF",
        "\n",
        "\t",
        " ",
        " ",
        " ",
        "#",
        "=",
        "X=1",
        "if",
        "then",
        "fi",
        "for",
        "in",
        "do",
        "done",
        "case",
        "esac",
        "while",
        "function",
        "f()",
        "[[",
        "]]",
        "[",
        "]",
        "!",
        "time",
        "env",
        "git",
        "find",
        "-exec",
        "sed",
        "s/a/b/",
        "2>&1",
        "9999999999",
        "${",
        "$((",
        "))",
        "coproc",
        "a[0]=1",
        "\u{200b}",
        "é",
        "?",
    ]);
    prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => any::<String>()]
}

fn script() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    // covers: S28
    #[test]
    fn analysis_never_panics_and_the_worst_segment_decides(text in script()) {
        let analysis = of(&text);
        prop_assert!(analysis.segments.iter().all(|segment| segment.class <= analysis.class));
    }

    // covers: S28
    #[test]
    fn analysis_never_panics_on_any_text(text in any::<String>()) {
        of(&text);
    }

    // covers: S28
    #[test]
    fn adding_a_command_never_lowers_the_class(text in script()) {
        let alone = of(&text).class;
        let longer = of(&format!("{text}; rm x")).class;
        // A comment, an open quote or a trailing backslash may swallow what was added, but nothing may get better.
        prop_assert!(alone <= longer, "{alone:?} became {longer:?}");
    }

    // covers: S28
    #[test]
    fn a_substitution_is_never_a_safe_read(before in "[a-z ./-]{0,12}", inside in "[a-z ]{0,8}", after in "[a-z ./-]{0,12}") {
        for (open, close) in [("$(", ")"), ("\"$(", ")\""), ("`", "`"), ("$((", "))"), ("<(", ")")] {
            let class = of(&[&before, open, &inside, close, &after].concat()).class;
            prop_assert!(class != Class::SafeRead);
        }
    }

    // covers: S30
    #[test]
    fn the_display_form_hides_nothing(text in any::<String>()) {
        let shown = of(&text).escaped;
        let hidden = |c: char| c.is_control() || matches!(c, '\u{200b}' | '\u{202e}' | '\u{feff}' | '\u{ad}');
        prop_assert!(!shown.contains(hidden));
    }
}

/// Cases of the corpus hold with any of these around them.
// covers: S28
#[test]
fn company_never_improves_a_command() {
    for (class, command) in corpus() {
        // An unfinished line would take what follows as its end.
        let unfinished = command.ends_with(['|', '&', '\\']);
        let after = if unfinished {
            command.clone()
        } else {
            format!("{command}\nls")
        };
        if command.starts_with('#') {
            // A comment is nothing, and nothing may be added to anything.
            continue;
        }
        for whole in [
            format!("ls; {command}"),
            after,
            format!("true && {command}"),
        ] {
            let found = of(&whole).class;
            assert!(
                class <= found,
                "{found:?} is better than {class:?}: {whole}"
            );
        }
    }
}

// covers: S28, R29
#[test]
fn awkward_shapes_neither_panic_nor_overflow_the_stack() {
    let cases: Vec<String> = vec![
        format!("{}ls{}", "( ".repeat(16), " )".repeat(16)),
        format!("{}ls{}", "(ls; ".repeat(16), ")".repeat(16)),
        format!("{}ls", "(ls; ".repeat(16)),
        format!("{}ls", "( ".repeat(16)),
        format!("{}ls; {}", "{ ".repeat(32), "}; ".repeat(32)),
        format!("{}ls; ", "{ ".repeat(32)),
        format!("{}ls; {}", "if ls; then ".repeat(32), "fi; ".repeat(32)),
        format!("{}ls; ", "if ls; then ".repeat(32)),
        format!("{}ls; ", "f() { ".repeat(32)),
        format!("{}ls; {}", "f() { ".repeat(16), "}; ".repeat(16)),
        format!("{}ls; {}", "while ls; do ".repeat(32), "done; ".repeat(32)),
        format!("{}ls; {}", "case x in a) ".repeat(32), ";; esac".repeat(32)),
        format!("[[ {} x {} ]]", "( ".repeat(16), " )".repeat(16)),
        format!("[[ {} x", "! ".repeat(5000)),
        format!("[[ {} x ]]", "! ".repeat(5000)),
        format!("[[ x {} ]]", "&& x ".repeat(3000)),
        format!("{} ls", "! ".repeat(5000)),
        format!("{} ls", "X=1 ".repeat(3000)),
        format!("{} ls", ">a ".repeat(3000)),
        format!("echo {}", "a".repeat(16000)),
        format!("echo {}", "{a,".repeat(5000)),
        format!("echo {}", "*".repeat(16000)),
        format!("cat {}", "*a".repeat(8000)),
        format!("cat {}", "[a".repeat(8000)),
        format!("cat {}]", "[".repeat(16000)),
        format!("cat {}", "/a".repeat(8000)),
        format!("cat {}", "*/".repeat(8000)),
        format!("cat {}", "* ".repeat(8000)),
        format!("frob {}", "a,".repeat(8000)),
        format!("frob {}", "a=".repeat(8000)),
        format!("a=({}", "x ".repeat(8000)),
        format!("a=({})", "x ".repeat(8000)),
        format!("a[{}=1", "a[".repeat(5000)),
        format!("{}", "a[".repeat(8000)),
        format!("a[{}]=1", "(".repeat(8000)),
        format!("(( {} ))", "(".repeat(14)),
        format!("(( {} ))", "x ".repeat(5000)),
        format!("x=~{}/", "9".repeat(50)),
        "sh -c 'ls".to_owned(),
        format!("cat {}", "<<A ".repeat(60)),
        format!("ls {}", "; cd a".repeat(48)),
        format!("ls {}", "; cd a b; cd ..".repeat(24)),
        // Documents that never end, or begin inside something else.
        "a[<<\"\">EOF;\t\n<\nEOF\n<($'$)a[|  )".to_owned(),
        "$(a $(b *ls$(in*9 << >>#9~]]env &&".to_owned(),
        "cat<<<fo(<<<-rfdone(||done]<<$(( >>]]if=*9))git >>)))))$($|/while]#$(; rm x".to_owned(),
        "coproc<<<<<fi$(()\t&||| ||]]in&&in)||?|| #9; rm x".to_owned(),
        "<<-A ".repeat(3000),
        "$(<<A\n".repeat(60),
        "ls |".repeat(4000),
        "ls\n".repeat(5000),
        "a b ".repeat(4000),
        "'".repeat(16001),
        "\"".repeat(16001),
        "\\".repeat(16001),
        format!("for x in {}; do ls; done", "a ".repeat(7000)),
        "(ls)|".repeat(3000),
        "((".repeat(8).to_string() + &"))".repeat(8),
        "$((".repeat(8).to_string() + &"))".repeat(8),
        "time ".repeat(3000),
        "$(( ".repeat(60),
        "${x:-".repeat(60),
        "`".repeat(64),
        format!("echo {}x{}", "$(echo ".repeat(20), ")".repeat(20)),
        format!("echo {}x{}", "${x:-".repeat(60), "}".repeat(60)),
        format!("echo {}x{}", "$[".repeat(60), "]".repeat(60)),
        format!("echo {}x{}", "$((".repeat(60), "))".repeat(60)),
        format!("eval {}", "eval ".repeat(3000)),
        format!("{}", "env -S ".repeat(2000)),
        format!("echo {}", "$(x)".repeat(64)),
    ];
    for case in cases {
        assert!(of(&case).rule.contains('.'), "{case}");
    }
}
