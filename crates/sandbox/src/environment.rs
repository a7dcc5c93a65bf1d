//! The environment of a confined process: built from nothing, never inherited (S33).

/// Variables every confined process sees.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) const BASE: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/tmp/home"),
    ("TMPDIR", "/tmp"),
    ("USER", "user"),
    ("LOGNAME", "user"),
    ("SHELL", "/bin/sh"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    // A repository must not run programs of its own while it is only being read: no hooks, pagers, file-system monitors,
    // attribute files or transports (threat model 6.2, step 8).
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_COUNT", "5"),
    ("GIT_CONFIG_KEY_0", "core.fsmonitor"),
    ("GIT_CONFIG_VALUE_0", "false"),
    ("GIT_CONFIG_KEY_1", "core.hooksPath"),
    ("GIT_CONFIG_VALUE_1", "/dev/null"),
    ("GIT_CONFIG_KEY_2", "core.pager"),
    ("GIT_CONFIG_VALUE_2", "cat"),
    ("GIT_CONFIG_KEY_3", "core.attributesFile"),
    ("GIT_CONFIG_VALUE_3", "/dev/null"),
    ("GIT_CONFIG_KEY_4", "protocol.allow"),
    ("GIT_CONFIG_VALUE_4", "never"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("PAGER", "cat"),
];

/// Names that steer a loader, an interpreter, a shell, a version control system, a compiler or a proxy.
/// Compared without regard to case.
const CONTROL: &[&str] = &[
    "_JAVA_OPTIONS",
    "AR",
    "AS",
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "CC",
    "CDPATH",
    "CFLAGS",
    "CLASSPATH",
    "CPATH",
    "CPP",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "DISPLAY",
    "EDITOR",
    "ENV",
    "FPATH",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "GREP_OPTIONS",
    "HGRCPATH",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LDFLAGS",
    "LD",
    "LESSOPEN",
    "LESSCLOSE",
    "LIBRARY_PATH",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "MAKEFLAGS",
    "MAKEFILES",
    "MANPAGER",
    "MFLAGS",
    "NLSPATH",
    "PAGER",
    "PATH",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "RES_OPTIONS",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TMPDIR",
    "TZDIR",
    "USER",
    "VISUAL",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "ZDOTDIR",
];

/// Prefixes of such names.
const CONTROL_PREFIXES: &[&str] = &[
    "BASH_FUNC_",
    "CARGO_",
    "CGO_",
    "CMAKE_",
    "DBUS_",
    "DOCKER_",
    "DYLD_",
    "GCC_",
    "GIT_",
    "GO",
    "HG",
    "LD_",
    "LUA_",
    "MALLOC_",
    "NODE_",
    "NPM_",
    "OPENSSL_",
    "PERL",
    "PHP",
    "PIP_",
    "PYTHON",
    "RUST",
    "SSH_",
    "SSL_",
    "SVN_",
    "UV_",
    "XDG_",
];

/// Endings of such names.
const CONTROL_SUFFIXES: &[&str] = &["_PROXY", "_PRELOAD"];

/// Longest value, in bytes: generous for a path list, far below what `exec` accepts.
const VALUE_BYTES_MAX: usize = 32 << 10;

/// Most variables one call may add.
const VARIABLES_MAX: usize = 128;

/// Checks the variables a caller wants to add; the error says which one and why.
///
/// # Errors
/// When there are too many, a name is none or steers other programs (S33), or a value cannot be passed on.
pub fn check(added: &[(String, String)]) -> Result<(), String> {
    if VARIABLES_MAX < added.len() {
        return Err(format!("more than {VARIABLES_MAX} environment variables"));
    }
    for (name, value) in added {
        if !is_name(name) {
            return Err(format!(
                "`{}` is not a variable name",
                name.escape_default()
            ));
        }
        if is_control(name) {
            return Err(format!(
                "the variable `{name}` steers other programs and cannot be set"
            ));
        }
        if value.contains('\0') || VALUE_BYTES_MAX < value.len() {
            return Err(format!(
                "the value of `{name}` is too long or contains a zero byte"
            ));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|it| it.is_ascii_alphabetic() || it == b'_');
    starts_well && name.len() <= 128 && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

fn is_control(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    CONTROL.contains(&upper.as_str())
        || CONTROL_PREFIXES.iter().any(|it| upper.starts_with(it))
        || CONTROL_SUFFIXES.iter().any(|it| upper.ends_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(name: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), "x".to_owned())]
    }

    // covers: S33
    #[test]
    fn control_variables_of_every_family_are_refused() {
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "GLIBC_TUNABLES",
            "DYLD_INSERT_LIBRARIES",
            "BASH_ENV",
            "ENV",
            "IFS",
            "BASH_FUNC_ls",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5OPT",
            "NODE_OPTIONS",
            "RUBYOPT",
            "GIT_SSH_COMMAND",
            "GIT_CONFIG_COUNT",
            "CC",
            "RUSTC_WRAPPER",
            "CARGO_HOME",
            "GOFLAGS",
            "http_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "PATH",
            "HOME",
            "SSH_AUTH_SOCK",
            "EDITOR",
            "JAVA_TOOL_OPTIONS",
            "ld_preload",
        ] {
            assert!(check(&added(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn ordinary_variables_pass() {
        for name in ["CI", "DEBUG", "MY_FLAG", "LC_ALL", "TZ", "_x1", "COLUMNS"] {
            assert_eq!(check(&added(name)), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_are_not_names_and_values_with_zero_bytes_are_refused() {
        for name in ["", "1A", "A B", "A=B", "Ä", "A\0"] {
            assert!(check(&added(name)).is_err(), "{name:?}");
        }
        assert!(check(&[("A".to_owned(), "x\0y".to_owned())]).is_err());
    }
}
