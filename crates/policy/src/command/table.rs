//! Programs that only read, as data: one row per program, and what it may be given.
//!
//! A row lists every option it allows. An option that is not listed makes the command ask, whether it is dangerous,
//! misspelt, abbreviated or newer than this table. When you add a row, read the manual for options that write a file,
//! run a program, load a file of settings or reach the network, and leave those out.

use super::row::{Check, Globs, Operands, Program};

const READ: Program = Program {
    name: "",
    flags: "",
    valued: "",
    attached: "",
    files: "",
    operands: Operands::Paths,
    globs: Globs::Anywhere,
    check: Check::Nothing,
    subcommands: &[],
};
const TEXT: Program = Program {
    operands: Operands::Text,
    ..READ
};
const BARE: Program = Program {
    operands: Operands::None,
    ..READ
};
const CAREFUL: Program = Program {
    globs: Globs::Anchored,
    ..READ
};
const SUM: Program = Program {
    flags: "-b -t -z --binary --text --tag --zero",
    ..CAREFUL
};
const GREP: Program = Program {
    flags: "-E -F -G -P -i -y -v -w -x -c -L -l -q -s -b -H -h -n -T -Z -r -R -a -I -U -z -o -# --extended-regexp \
            --fixed-strings --basic-regexp --perl-regexp --ignore-case --no-ignore-case --invert-match --word-regexp \
            --line-regexp --count --files-without-match --files-with-matches --quiet --silent --no-messages \
            --byte-offset --with-filename --no-filename --line-number --initial-tab --null --recursive \
            --dereference-recursive --text --null-data --only-matching --line-buffered --help --version -V",
    valued: "-e --regexp -m --max-count -A --after-context -B --before-context -C --context -d --directories -D \
             --devices --include --exclude --exclude-dir --label --binary-files",
    attached: "--color --colour",
    files: "-f --file --exclude-from",
    operands: Operands::PatternThenPaths,
    ..READ
};

/// Every row, in the order in which the documentation lists them.
pub const TABLE: &[Program] = &[
    // Looking around.
    Program {
        name: "ls",
        flags: "-a -A -b -B -c -C -d -D -f -F -g -G -h -H -i -k -l -L -m -n -N -o -p -q -Q -r -R -s -S -t -u -U -v -x \
                -X -Z -1 --all --almost-all --author --escape --ignore-backups --directory --dired --classify \
                --file-type --full-time --group-directories-first --no-group --human-readable --si --inode \
                --kibibytes --dereference --numeric-uid-gid --literal --hide-control-chars --show-control-chars \
                --quote-name --reverse --recursive --size --context --zero --help --version",
        valued: "-I --ignore -w --width -T --tabsize --block-size --format --indicator-style --quoting-style --sort \
                 --time --time-style --hide",
        attached: "--color --hyperlink --classify",
        ..READ
    },
    Program {
        name: "pwd",
        flags: "-L -P --logical --physical",
        ..BARE
    },
    Program {
        name: "cd",
        flags: "-L -P -e",
        operands: Operands::OnePath,
        globs: Globs::Anchored,
        ..READ
    },
    Program {
        name: "tree",
        flags: "-a -d -f -l -x -p -s -h -u -g -D -F -q -N -Q -i -n -C -A -S -t -c -U -r -v -J -X --noreport --dirsfirst \
                --filesfirst --prune --si --du --inodes --device --gitignore --matchdirs --ignore-case --help --version",
        valued: "-L -P -I --filelimit --timefmt --charset --sort",
        ..CAREFUL
    },
    Program {
        name: "find",
        globs: Globs::Anchored,
        check: Check::Find,
        ..READ
    },
    Program {
        name: "stat",
        flags: "-L -f -t --dereference --file-system --terse --help --version",
        valued: "-c --format --printf",
        ..READ
    },
    Program {
        name: "file",
        flags: "-b -i -k -L -h -N -0 -r -s -v -E --brief --mime --mime-type --mime-encoding --keep-going --dereference \
                --no-dereference --no-pad --print0 --raw --extension --help --version",
        valued: "-F --separator -e --exclude -P --parameter",
        ..CAREFUL
    },
    Program {
        name: "du",
        flags: "-a -b -c -D -H -h -k -l -L -m -P -s -S -x -0 --all --apparent-size --bytes --total --dereference-args \
                --human-readable --inodes --count-links --dereference --no-dereference --separate-dirs --si \
                --summarize --one-file-system --null --help --version",
        valued: "-B --block-size -d --max-depth -t --threshold --exclude --time-style",
        attached: "--time",
        files: "-X --exclude-from",
        ..CAREFUL
    },
    Program {
        name: "df",
        flags: "-a -h -H -i -k -l -P -T --all --human-readable --si --inodes --local --portability --print-type --total \
                --no-sync --help --version",
        valued: "-B --block-size -t --type -x --exclude-type",
        attached: "--output",
        ..READ
    },
    Program {
        name: "basename",
        flags: "-a -z --multiple --zero",
        valued: "-s --suffix",
        ..TEXT
    },
    Program {
        name: "dirname",
        flags: "-z --zero",
        ..TEXT
    },
    Program {
        name: "realpath",
        flags: "-e -m -L -P -q -s -z --canonicalize-existing --canonicalize-missing --logical --physical --quiet --strip \
                --no-symlinks --zero",
        files: "--relative-to --relative-base",
        ..READ
    },
    Program {
        name: "readlink",
        flags: "-f -e -m -n -q -s -v -z --canonicalize --canonicalize-existing --canonicalize-missing --no-newline \
                --quiet --silent --verbose --zero",
        ..READ
    },
    Program {
        name: "which",
        flags: "-a",
        ..TEXT
    },
    Program {
        name: "type",
        flags: "-a -t -p -P -f",
        ..TEXT
    },
    // Reading files and streams.
    Program {
        name: "cat",
        flags: "-A -b -e -E -n -s -t -T -u -v --show-all --number-nonblank --show-ends --number --squeeze-blank \
                --show-tabs --show-nonprinting --help --version",
        ..READ
    },
    Program {
        name: "head",
        flags: "-q -v -z -# --quiet --silent --verbose --zero-terminated --help --version",
        valued: "-n --lines -c --bytes",
        ..READ
    },
    Program {
        name: "tail",
        flags: "-q -v -z -# --quiet --silent --verbose --zero-terminated --help --version",
        valued: "-n --lines -c --bytes",
        ..READ
    },
    Program {
        name: "wc",
        flags: "-c -m -l -L -w --bytes --chars --lines --max-line-length --words --help --version",
        valued: "--total",
        ..READ
    },
    Program {
        name: "nl",
        flags: "-p --no-renumber",
        valued: "-b -d -f -h -i -l -n -s -v -w --body-numbering --section-delimiter --footer-numbering \
                 --header-numbering --line-increment --join-blank-lines --number-format --number-separator \
                 --starting-line-number --number-width",
        ..READ
    },
    Program {
        name: "tac",
        flags: "-b -r --before --regex",
        valued: "-s --separator",
        ..READ
    },
    Program {
        name: "rev",
        ..READ
    },
    Program {
        name: "od",
        flags: "-a -b -c -d -f -i -l -o -s -x -v --output-duplicates --traditional",
        valued: "-A -j -N -S -t --address-radix --skip-bytes --read-bytes --strings --format",
        attached: "-w --width",
        ..READ
    },
    Program {
        name: "xxd",
        flags: "-a -b -C -d -e -E -i -p -ps -u",
        valued: "-c -g -l -n -o -s",
        operands: Operands::OnePath,
        ..CAREFUL
    },
    Program {
        name: "hexdump",
        flags: "-b -c -C -d -o -x -v",
        valued: "-e -n -s",
        ..CAREFUL
    },
    Program {
        name: "strings",
        flags: "-a -d -f -w --all --data --print-file-name --include-all-whitespace",
        valued: "-n -t -e --bytes --radix --encoding",
        check: Check::NoResponseFiles,
        ..CAREFUL
    },
    Program {
        name: "md5sum",
        ..SUM
    },
    Program {
        name: "sha1sum",
        ..SUM
    },
    Program {
        name: "sha224sum",
        ..SUM
    },
    Program {
        name: "sha256sum",
        ..SUM
    },
    Program {
        name: "sha384sum",
        ..SUM
    },
    Program {
        name: "sha512sum",
        ..SUM
    },
    Program {
        name: "b2sum",
        valued: "-l --length",
        ..SUM
    },
    Program {
        name: "cksum",
        flags: "",
        valued: "",
        ..CAREFUL
    },
    // Searching and comparing.
    Program {
        name: "grep",
        ..GREP
    },
    Program {
        name: "egrep",
        ..GREP
    },
    Program {
        name: "fgrep",
        ..GREP
    },
    Program {
        name: "rg",
        flags: "-i -s -S -v -w -x -c -l -o -n -N -H -I -p -q -a -F -P -U -u -. -0 -h -V --ignore-case \
                --case-sensitive --smart-case --invert-match --word-regexp --line-regexp --count --count-matches \
                --files --files-with-matches --files-without-match --only-matching --line-number --no-line-number \
                --with-filename --no-filename --pretty --quiet --text --fixed-strings --pcre2 --multiline \
                --multiline-dotall --unrestricted --hidden --no-ignore --no-ignore-vcs --no-messages --no-heading \
                --heading --column --json --null --stats --trim --vimgrep --crlf --no-config --type-list \
                --glob-case-insensitive --version --help --passthru --byte-offset --sort-files --no-require-git",
        valued: "-e --regexp -g --glob --iglob -t --type -T --type-not -m --max-count -A --after-context -B \
                 --before-context -C --context -d --max-depth --max-filesize -M --max-columns -j --threads -r --replace \
                 -E --encoding --color --colors --sort --sortr --engine --context-separator \
                 --field-match-separator --path-separator",
        files: "-f --file --ignore-file",
        operands: Operands::PatternThenPaths,
        ..CAREFUL
    },
    Program {
        name: "diff",
        flags: "-a -b -B -c -d -e -E -i -n -N -p -q -r -s -t -T -u -w -y -Z --brief --report-identical-files \
                --recursive --new-file --unidirectional-new-file --ignore-case --ignore-tab-expansion \
                --ignore-trailing-space --ignore-space-change --ignore-all-space --ignore-blank-lines --text \
                --minimal --speed-large-files --side-by-side --left-column --suppress-common-lines --expand-tabs \
                --initial-tab --strip-trailing-cr --show-c-function --no-dereference --ed --rcs --normal --help --version",
        valued: "-C -U -W --width -x --exclude -I --ignore-matching-lines --label -L -F --show-function-line -S \
                 --starting-file --tabsize --horizon-lines --line-format --palette",
        attached: "--color --unified --context",
        files: "-X --exclude-from",
        ..READ
    },
    Program {
        name: "cmp",
        flags: "-b -l -s --print-bytes --verbose --silent --quiet",
        valued: "-i -n --ignore-initial --bytes",
        ..READ
    },
    Program {
        name: "comm",
        flags: "-1 -2 -3 -i -z --check-order --nocheck-order --total --zero-terminated",
        valued: "--output-delimiter",
        ..READ
    },
    // Shaping text.
    Program {
        name: "sort",
        flags: "-b -d -f -g -h -i -M -n -R -r -V -c -C -m -s -u -z --ignore-leading-blanks --dictionary-order \
                --ignore-case --general-numeric-sort --human-numeric-sort --ignore-nonprinting --month-sort \
                --numeric-sort --random-sort --reverse --version-sort --merge --stable --unique --zero-terminated \
                --debug --help --version",
        valued: "-k --key -t --field-separator -S --buffer-size --parallel --batch-size --sort",
        attached: "--check",
        ..CAREFUL
    },
    Program {
        name: "uniq",
        flags: "-c -d -D -i -u -z --count --repeated --ignore-case --unique --zero-terminated",
        valued: "-f -s -w --skip-fields --skip-chars --check-chars",
        attached: "--all-repeated --group",
        operands: Operands::OnePath,
        ..CAREFUL
    },
    Program {
        name: "cut",
        flags: "-n -s -z --complement --only-delimited --zero-terminated",
        valued: "-b -c -d -f --bytes --characters --delimiter --fields --output-delimiter",
        ..READ
    },
    Program {
        name: "tr",
        flags: "-c -C -d -s -t --complement --delete --squeeze-repeats --truncate-set1",
        ..TEXT
    },
    Program {
        name: "sed",
        flags: "-n -E -r -s -u -z --quiet --silent --regexp-extended --separate --unbuffered --null-data --posix \
                --sandbox --debug",
        valued: "-e --expression -l --line-length",
        operands: Operands::PatternThenPaths,
        check: Check::Sed,
        ..CAREFUL
    },
    Program {
        name: "column",
        flags: "-t -x -e -L -J --table --fillrows --keep-empty-lines --json",
        valued: "-c -s -o -N -R -T -W -H -O --output-width --separator --output-separator --table-columns",
        ..READ
    },
    Program {
        name: "fold",
        flags: "-b -s --bytes --spaces",
        valued: "-w --width",
        ..READ
    },
    Program {
        name: "fmt",
        flags: "-c -s -t -u",
        valued: "-w --width -p --prefix -g --goal",
        ..READ
    },
    Program {
        name: "expand",
        flags: "-i --initial",
        valued: "-t --tabs",
        ..READ
    },
    Program {
        name: "unexpand",
        flags: "-a --all --first-only",
        valued: "-t --tabs",
        ..READ
    },
    Program {
        name: "paste",
        flags: "-s -z --serial --zero-terminated",
        valued: "-d --delimiters",
        ..READ
    },
    Program {
        name: "join",
        flags: "-i -z --ignore-case --check-order --nocheck-order --header --zero-terminated",
        valued: "-1 -2 -a -e -j -o -t -v",
        ..READ
    },
    Program {
        name: "jq",
        flags: "-r -c -S -s -n -e -a -j -M -C -R -h -V --raw-output --raw-output0 --compact-output --sort-keys --slurp \
                --null-input --exit-status --ascii-output --join-output --monochrome-output --color-output \
                --raw-input --tab --unbuffered --stream --seq --help --version",
        valued: "--indent",
        operands: Operands::PatternThenPaths,
        check: Check::Jq,
        ..CAREFUL
    },
    // Saying and deciding.
    Program {
        name: "echo",
        operands: Operands::Literal,
        ..READ
    },
    Program {
        name: "printf",
        operands: Operands::Literal,
        check: Check::Printf,
        ..READ
    },
    Program {
        name: "true",
        operands: Operands::Literal,
        ..READ
    },
    Program {
        name: "false",
        operands: Operands::Literal,
        ..READ
    },
    Program {
        name: ":",
        operands: Operands::Literal,
        ..READ
    },
    Program {
        name: "test",
        operands: Operands::Literal,
        check: Check::Test,
        globs: Globs::Anchored,
        ..READ
    },
    Program {
        name: "[",
        operands: Operands::Literal,
        check: Check::Test,
        globs: Globs::Anchored,
        ..READ
    },
    Program {
        name: "seq",
        flags: "-w -# --equal-width",
        valued: "-f -s --format --separator",
        ..TEXT
    },
    Program {
        name: "sleep",
        ..TEXT
    },
    Program {
        name: "exit",
        ..TEXT
    },
    Program {
        name: "set",
        operands: Operands::Literal,
        check: Check::Set,
        ..READ
    },
    // About the machine.
    Program {
        name: "date",
        flags: "-u -R --utc --universal --rfc-email --help --version",
        valued: "-d --date --rfc-3339",
        attached: "-I --iso-8601",
        files: "-r --reference",
        operands: Operands::Text,
        check: Check::Date,
        ..CAREFUL
    },
    Program {
        name: "uname",
        flags: "-a -s -n -r -v -m -p -i -o --all --kernel-name --nodename --kernel-release --kernel-version --machine \
                --processor --hardware-platform --operating-system",
        ..BARE
    },
    Program {
        name: "whoami",
        ..BARE
    },
    Program {
        name: "id",
        flags: "-u -g -G -n -r -z --user --group --groups --name --real --zero",
        ..TEXT
    },
    Program {
        name: "nproc",
        flags: "--all",
        valued: "--ignore",
        ..BARE
    },
    Program {
        name: "arch",
        ..BARE
    },
    Program {
        name: "git",
        check: Check::Git,
        globs: Globs::Anchored,
        subcommands: super::git::SUBCOMMANDS,
        ..READ
    },
];

/// All rows.
pub fn table() -> &'static [Program] {
    TABLE
}

/// The row of `name`.
pub(super) fn program(name: &str) -> Option<&'static Program> {
    TABLE.iter().find(|row| row.name == name)
}
