//! Variables that may be set in front of a command, and those that steer more than the command itself.

/// Variables that decide which program runs, what it loads or whom it talks to.
pub(super) fn is_control_variable(name: &str) -> bool {
    const EXACT: &[&str] = &[
        "PATH",
        "IFS",
        "ENV",
        "BASH_ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "PROMPT_COMMAND",
        "CDPATH",
        "HOME",
        "PWD",
        "OLDPWD",
        "SHELL",
        "EDITOR",
        "VISUAL",
        "PAGER",
        "MANPAGER",
        "BROWSER",
        "PS1",
        "PS2",
        "PS4",
        "GLOBIGNORE",
        "EXECIGNORE",
        "TMPDIR",
        "LOCPATH",
        "NLSPATH",
        "TERMINFO",
        "TERMCAP",
        "HOSTALIASES",
        "RES_OPTIONS",
        "CC",
        "CXX",
        "LESSOPEN",
        "LESSCLOSE",
        "LESS",
        "GREP_OPTIONS",
        "RIPGREP_CONFIG_PATH",
        "JQ_LIBRARY_PATH",
        "TAR_OPTIONS",
        "CLASSPATH",
        "MAKEFLAGS",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "GOFLAGS",
        "USER",
        "LOGNAME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "MALLOC_TRACE",
        "SSLKEYLOGFILE",
        "FPATH",
        "ZDOTDIR",
        "INPUTRC",
        "POSIXLY_CORRECT",
        "NODE_OPTIONS",
        "NODE_PATH",
        "RUBYOPT",
        "RUBYLIB",
        "TZDIR",
        "MAGIC",
        "XDG_CONFIG_DIRS",
        "OPENSSL_CONF",
    ];
    const BEGINNINGS: &[&str] = &[
        "LD_",
        "DYLD_",
        "GIT_",
        "PYTHON",
        "PERL",
        "SSH_",
        "BASH_FUNC_",
        "npm_config_",
        "NPM_CONFIG_",
        "PIP_",
        "CARGO_",
        "JAVA_",
        "_JAVA_",
        "JDK_",
        "SSL_",
        "CURL_",
        "DOCKER_",
        "KUBE",
        "AWS_",
        "ADJUTANT_",
        "NODE_",
        "RUBY",
        "LUA_",
        "PHP",
    ];
    let lower = name.to_ascii_lowercase();
    EXACT.contains(&name)
        || BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
        || lower.ends_with("_proxy")
}

/// Variables that only change language, time zone, width or colour, with a value that names nothing.
pub(super) fn is_harmless_assignment(name: &str, value: &str) -> bool {
    let named = name == "LANG"
        || name == "TZ"
        || matches!(name, "NO_COLOR" | "CLICOLOR" | "COLUMNS" | "LINES")
        || (name.starts_with("LC_") && name.chars().all(|c| c == '_' || c.is_ascii_uppercase()));
    named
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-' | '+'))
}
