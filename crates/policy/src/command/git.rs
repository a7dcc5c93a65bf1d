//! The part of `git` that only reads, as rows of the same table, and the surroundings in which it may run.
//!
//! A repository can name programs to run in its own configuration. The sandbox's base environment switches those off as
//! far as an environment can, for every command.

use super::row::{Check, Globs, Operands, Program};

const SUB: Program = Program {
    name: "",
    flags: "",
    valued: "",
    attached: "",
    files: "",
    operands: Operands::Revisions,
    globs: Globs::Anchored,
    check: Check::Nothing,
    subcommands: &[],
};

macro_rules! flags_of_diff {
    () => {
        "-p -u -s -z -a -b -w -R -W -# --patch --no-patch --stat --numstat --shortstat --summary --raw --name-only \
         --name-status --patch-with-stat --patch-with-raw --minimal --patience --histogram --full-index --binary \
         --no-color --check --exit-code --quiet --ignore-space-at-eol --ignore-space-change --ignore-all-space \
         --ignore-blank-lines --function-context --no-ext-diff --no-textconv --no-renames --find-copies-harder \
         --text --no-prefix --cached --staged --merge-base --pickaxe-all --pickaxe-regex --compact-summary --cc -c -m \
         --no-relative --dirstat "
    };
}
macro_rules! attached_of_diff {
    () => {
        "-U -M -C -B -D --unified --color --word-diff --color-words --abbrev --find-renames --find-copies --stat \
         --dirstat --relative --color-moved --diff-merges --submodule --ignore-submodules --diff-filter \
         --inter-hunk-context --diff-algorithm --word-diff-regex --src-prefix --dst-prefix --color-moved-ws "
    };
}
macro_rules! flags_of_log {
    () => {
        "--oneline --graph --all --merges --no-merges --first-parent --reverse --follow --decorate --no-decorate \
         --abbrev-commit --no-abbrev-commit --topo-order --date-order --author-date-order --parents --children \
         --left-right --cherry-pick --cherry-mark --cherry --boundary --no-walk --full-history --simplify-merges \
         --ancestry-path --walk-reflogs -g --relative-date -i -E -F -P --regexp-ignore-case --extended-regexp \
         --fixed-strings --perl-regexp --all-match --invert-grep --source --log-size --no-notes --use-mailmap \
         --branches --tags --remotes --reflog --clear-decorations --show-pulls --dense --sparse "
    };
}
const LOG_VALUED: &str = "-n -S -G -L --max-count --skip --since --after --until --before --author --committer --grep \
                          --format --date --min-parents --max-parents";
const LOG_ATTACHED: &str = concat!(
    attached_of_diff!(),
    "--pretty --decorate --branches --tags --remotes --glob --exclude --notes --no-walk --decorate-refs \
     --decorate-refs-exclude --encoding --expand-tabs"
);

/// The rows.
pub(super) const SUBCOMMANDS: &[Program] = &[
    Program {
        name: "status",
        flags: "-s -b -v -z --short --branch --long --verbose --show-stash --ahead-behind --no-ahead-behind \
                --no-renames --renames",
        attached: "-u --untracked-files --ignored --ignore-submodules --porcelain --column --find-renames",
        ..SUB
    },
    Program {
        name: "log",
        flags: concat!(flags_of_diff!(), flags_of_log!()),
        valued: LOG_VALUED,
        attached: LOG_ATTACHED,
        ..SUB
    },
    Program {
        name: "show",
        flags: concat!(flags_of_diff!(), flags_of_log!()),
        valued: LOG_VALUED,
        attached: LOG_ATTACHED,
        ..SUB
    },
    Program {
        name: "diff",
        flags: flags_of_diff!(),
        valued: "-S -G",
        attached: attached_of_diff!(),
        ..SUB
    },
    Program {
        name: "shortlog",
        flags: concat!(
            "-s -n -e -c --summary --numbered --email --committer ",
            flags_of_log!()
        ),
        valued: "--since --until --author --grep",
        attached: "-w --group --format",
        ..SUB
    },
    Program {
        name: "rev-list",
        flags: concat!("--count --objects --quiet --timestamp ", flags_of_log!()),
        valued: LOG_VALUED,
        attached: "--pretty --branches --tags --remotes --glob --exclude --abbrev",
        ..SUB
    },
    Program {
        name: "rev-parse",
        flags: "--verify -q --quiet --show-toplevel --show-prefix --show-cdup --show-superproject-working-tree \
                --git-dir --absolute-git-dir --git-common-dir --is-inside-work-tree --is-inside-git-dir \
                --is-bare-repository --is-shallow-repository --symbolic-full-name --all --branches --tags --remotes \
                --revs-only --no-revs --flags --no-flags --sq --not --symbolic",
        attached: "--short --abbrev-ref --branches --tags --remotes --path-format --default --show-object-format",
        ..SUB
    },
    Program {
        name: "ls-files",
        flags: "-c -d -m -o -i -s -u -k -z -t -v -f --cached --deleted --modified --others --ignored --stage --unmerged \
                --killed --directory --no-empty-directory --eol --exclude-standard --error-unmatch --full-name \
                --deduplicate --recurse-submodules",
        valued: "-x --exclude",
        attached: "--abbrev --format",
        ..SUB
    },
    Program {
        name: "ls-tree",
        flags: "-d -r -t -l -z --long --name-only --name-status --object-only --full-name --full-tree",
        attached: "--abbrev --format",
        ..SUB
    },
    Program {
        name: "blame",
        flags: "-b -c -e -f -k -l -n -p -s -t -w --root --show-stats --porcelain --line-porcelain --incremental \
                --show-name --show-number --show-email --no-progress",
        valued: "-L --since",
        attached: "-M -C --date --abbrev",
        ..SUB
    },
    Program {
        name: "describe",
        flags: "--all --tags --contains --always --long --exact-match --first-parent --debug",
        attached: "--abbrev --candidates --match --exclude --dirty --broken",
        ..SUB
    },
    Program {
        name: "branch",
        flags: "-a -r -v -vv -i --all --remotes --verbose --list --show-current --no-color --ignore-case \
                --no-abbrev --no-column",
        valued: "--sort --format",
        attached: "--color --abbrev --column --contains --no-contains --merged --no-merged --points-at",
        check: Check::ListOnly,
        ..SUB
    },
    Program {
        name: "tag",
        flags: "-l --list -i --ignore-case --no-column --no-color -n",
        valued: "--sort --format",
        attached: "-n --color --column --contains --no-contains --merged --no-merged --points-at",
        check: Check::ListOnly,
        ..SUB
    },
    Program {
        name: "remote",
        flags: "-v --verbose --all --push",
        check: Check::Remote,
        ..SUB
    },
    Program {
        name: "stash",
        flags: concat!("--include-untracked --only-untracked ", flags_of_diff!()),
        attached: attached_of_diff!(),
        check: Check::ListOrShow,
        ..SUB
    },
    Program {
        name: "reflog",
        flags: flags_of_log!(),
        valued: LOG_VALUED,
        attached: "--pretty --format --decorate --abbrev",
        check: Check::ListOrShow,
        ..SUB
    },
    Program {
        name: "merge-base",
        flags: "-a --all --octopus --independent --is-ancestor --fork-point",
        ..SUB
    },
    Program {
        name: "name-rev",
        flags: "--tags --all --name-only --always",
        attached: "--refs --exclude",
        ..SUB
    },
    Program {
        name: "cat-file",
        flags: "-t -s -e -p",
        ..SUB
    },
    Program {
        name: "for-each-ref",
        flags: "--ignore-case --omit-empty",
        valued: "--count --sort --format",
        attached: "--points-at --merged --no-merged --contains --no-contains --exclude",
        ..SUB
    },
    Program {
        name: "show-ref",
        flags: "--head --heads --branches --tags -d --dereference --verify -q --quiet",
        attached: "-s --hash --abbrev",
        ..SUB
    },
    Program {
        name: "count-objects",
        flags: "-v -H --verbose --human-readable",
        operands: Operands::None,
        ..SUB
    },
    Program {
        name: "grep",
        flags: "-n -i -v -w -l -L -c -q -E -F -G -P -h -H -o -p -W -z -a -I -r -# --line-number --ignore-case \
                --invert-match --word-regexp --files-with-matches --name-only --files-without-match --count --quiet \
                --extended-regexp --fixed-strings --basic-regexp --perl-regexp --only-matching --heading --break \
                --column --cached --untracked --no-index --all-match --and --or --not --full-name --recursive \
                --no-color --show-function --function-context --text --null",
        valued: "-e -A -B -C -m --max-depth --max-count --after-context --before-context --context",
        attached: "--color",
        operands: Operands::PatternThenPaths,
        ..SUB
    },
    Program {
        name: "version",
        operands: Operands::None,
        ..SUB
    },
];
