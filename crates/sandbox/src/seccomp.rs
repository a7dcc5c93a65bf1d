//! The system calls that a confined process cannot make.
//!
//! A deny list in three filters: ordinary programs of every kind run inside, so the list names what opens the kernel's
//! rarely walked rooms (namespaces, mounts, tracing, keys, BPF, `io_uring`, modules, clocks), what pushes input into a
//! terminal, what makes setuid files in a shared workspace, and local sockets. Filters stack; the strictest wins.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Why no filter could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no system call filter exists for this processor")]
    Processor(#[source] seccompiler::BackendError),
    #[error("the system call filter could not be compiled")]
    Compile(#[from] seccompiler::BackendError),
}

// Numbers from 424 on are the same on every architecture. Source: include/uapi/asm-generic/unistd.h of Linux 6.18.
const IO_URING_SETUP: i64 = 425;
const IO_URING_ENTER: i64 = 426;
const IO_URING_REGISTER: i64 = 427;
const OPEN_TREE: i64 = 428;
const MOVE_MOUNT: i64 = 429;
const FSOPEN: i64 = 430;
const FSCONFIG: i64 = 431;
const FSMOUNT: i64 = 432;
const FSPICK: i64 = 433;
const CLONE3: i64 = 435;
const OPENAT2: i64 = 437;
const PIDFD_GETFD: i64 = 438;
const PROCESS_MADVISE: i64 = 440;
const MOUNT_SETATTR: i64 = 442;
const QUOTACTL_FD: i64 = 443;
const FCHMODAT2: i64 = 452;
const STATMOUNT: i64 = 457;
const LISTMOUNT: i64 = 458;
const OPEN_TREE_ATTR: i64 = 467;

/// Calls that fail with `EPERM` whatever their arguments.
const DENIED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    IO_URING_SETUP,
    IO_URING_ENTER,
    IO_URING_REGISTER,
    OPEN_TREE,
    MOVE_MOUNT,
    FSOPEN,
    FSCONFIG,
    FSMOUNT,
    FSPICK,
    PIDFD_GETFD,
    PROCESS_MADVISE,
    MOUNT_SETATTR,
    QUOTACTL_FD,
    STATMOUNT,
    LISTMOUNT,
    OPEN_TREE_ATTR,
];

/// The same for calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[i64] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_nfsservctl,
    libc::SYS_sysfs,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[i64] = &[];

/// Calls that pretend not to exist, because their arguments lie in memory where no filter can look and because every
/// program knows how to do without: `clone3` falls back to `clone`, `openat2` to `openat`.
const ABSENT: &[i64] = &[CLONE3, OPENAT2];

/// `clone` flags that make a namespace.
const NAMESPACE_FLAGS: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Values of `personality` that are needed: ask, plain Linux, 32-bit look.
const PERSONALITIES: [u64; 3] = [0xffff_ffff, 0, 0x0008];

/// Bits that let a file act for its owner or group.
const SET_ID_BITS: [u64; 2] = [0o4000, 0o2000];

/// Puts one of the [`filters`] on this thread and all it starts.
pub(crate) fn apply(filter: &[u8]) -> std::io::Result<()> {
    let (steps, []) = filter.as_chunks::<8>() else {
        return Err(std::io::Error::other("this is no system call filter"));
    };
    let program: BpfProgram = steps.iter().map(step).collect();
    seccompiler::apply_filter(&program).map_err(std::io::Error::other)
}

/// The filters as bytes, each ready for `bwrap --add-seccomp-fd`.
pub(crate) fn filters() -> Result<Vec<Vec<u8>>, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(Error::Processor)?;
    let denied = compile(denied_rules()?, libc::EPERM, arch)?;
    let absent = compile(
        ABSENT.iter().map(|it| (*it, Vec::new())).collect(),
        libc::ENOSYS,
        arch,
    )?;
    let mut filters = vec![to_bytes(&denied), to_bytes(&absent)];
    if cfg!(target_arch = "x86_64") {
        filters.push(to_bytes(&without_x32()));
    }
    Ok(filters)
}

fn compile(rules: Rules, errno: i32, arch: TargetArch) -> Result<BpfProgram, Error> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?.try_into()?)
}

fn denied_rules() -> Result<Rules, Error> {
    let mut rules: Rules = DENIED
        .iter()
        .chain(DENIED_HERE)
        .map(|it| (*it, Vec::new()))
        .collect();
    let clone: Result<Vec<_>, Error> = NAMESPACE_FLAGS
        .iter()
        .map(|flag| all(&[has_bits(0, u64::from(flag.unsigned_abs()))?]))
        .collect();
    rules.insert(libc::SYS_clone, clone?);
    let odd: Result<Vec<_>, Error> = PERSONALITIES
        .iter()
        .map(|it| arg(0, SeccompCmpOp::Ne, *it))
        .collect();
    rules.insert(libc::SYS_personality, vec![all(&odd?)?]);
    rules.insert(
        libc::SYS_ioctl,
        vec![
            all(&[arg(1, SeccompCmpOp::Eq, libc::TIOCSTI)?])?,
            all(&[arg(1, SeccompCmpOp::Eq, libc::TIOCLINUX)?])?,
        ],
    );
    rules.insert(libc::SYS_socket, socket_rules()?);
    // A pair is unnamed and reaches nobody; runtimes use it between parent and child.
    rules.insert(
        libc::SYS_socketpair,
        vec![all(&[arg(0, SeccompCmpOp::Ne, family(libc::AF_UNIX))?])?],
    );
    add_set_id_rules(&mut rules)?;
    Ok(rules)
}

/// Internet sockets (which lead nowhere without a network) and the route family that `getifaddrs` needs; nothing else.
/// Local sockets are refused as a family: a path lookup inside a granted directory could find a host's agent or engine.
fn socket_rules() -> Result<Vec<SeccompRule>, Error> {
    let netlink = family(libc::AF_NETLINK);
    let other = [family(libc::AF_INET), family(libc::AF_INET6), netlink]
        .map(|it| arg(0, SeccompCmpOp::Ne, it));
    let other = other.into_iter().collect::<Result<Vec<_>, Error>>()?;
    let not_route = [
        arg(0, SeccompCmpOp::Eq, netlink)?,
        arg(2, SeccompCmpOp::Ne, 0)?,
    ];
    Ok(vec![all(&other)?, all(&not_route)?])
}

/// Files with set-id bits in a shared workspace would act for us on the host.
fn add_set_id_rules(rules: &mut Rules) -> Result<(), Error> {
    let mut modes = vec![
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (FCHMODAT2, 2),
        (libc::SYS_mknodat, 2),
    ];
    let mut opens = vec![(libc::SYS_openat, 2, 3)];
    modes.push((libc::SYS_mkdirat, 2));
    #[cfg(target_arch = "x86_64")]
    {
        modes.extend([
            (libc::SYS_chmod, 1),
            (libc::SYS_creat, 1),
            (libc::SYS_mknod, 1),
            (libc::SYS_mkdir, 1),
        ]);
        opens.push((libc::SYS_open, 1, 2));
    }
    for (call, mode_index) in modes {
        let chain = SET_ID_BITS
            .iter()
            .map(|bit| all(&[has_bits(mode_index, *bit)?]));
        rules.insert(call, chain.collect::<Result<Vec<_>, Error>>()?);
    }
    for (call, flags_index, mode_index) in opens {
        // Without O_CREAT the mode is whatever lay in the register.
        let creates = u64::from(libc::O_CREAT.unsigned_abs());
        let chain = SET_ID_BITS
            .iter()
            .map(|bit| all(&[has_bits(flags_index, creates)?, has_bits(mode_index, *bit)?]));
        rules.insert(call, chain.collect::<Result<Vec<_>, Error>>()?);
    }
    Ok(())
}

fn family(it: i32) -> u64 {
    u64::from(it.unsigned_abs())
}

fn arg(index: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    // The kernel reads all of these as 32-bit values, so the upper half must not hide them.
    Ok(SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        op,
        value,
    )?)
}

fn has_bits(index: u8, bits: u64) -> Result<SeccompCondition, Error> {
    arg(index, SeccompCmpOp::MaskedEq(bits), bits)
}

fn all(conditions: &[SeccompCondition]) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

/// Refuses the x32 call numbers, which would name every denied call a second time.
fn without_x32() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    const ERRNO: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_GREATER_OR_EQUAL, 0, 1, X32_BIT),
        step(RETURN, 0, 0, ERRNO | libc::ENOSYS.unsigned_abs()),
        step(RETURN, 0, 0, ALLOW),
    ]
}

fn step(bytes: &[u8; 8]) -> sock_filter {
    let [code_0, code_1, jt, jf, k @ ..] = *bytes;
    sock_filter {
        code: u16::from_ne_bytes([code_0, code_1]),
        jt,
        jf,
        k: u32::from_ne_bytes(k),
    }
}

fn to_bytes(program: &BpfProgram) -> Vec<u8> {
    program
        .iter()
        .flat_map(|it| {
            let mut bytes = [0_u8; 8];
            bytes[..2].copy_from_slice(&it.code.to_ne_bytes());
            bytes[2] = it.jt;
            bytes[3] = it.jf;
            bytes[4..].copy_from_slice(&it.k.to_ne_bytes());
            bytes
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_filter_is_the_same_program_after_its_way_through_bytes() {
        let program = without_x32();
        let bytes = to_bytes(&program);
        let again: BpfProgram = bytes.as_chunks::<8>().0.iter().map(step).collect();
        assert_eq!(again, program);
    }

    #[test]
    fn every_filter_is_a_whole_number_of_instructions_within_the_kernel_limit() {
        // Source: BPF_MAXINSNS of Linux.
        for filter in filters().unwrap() {
            assert_eq!(filter.len() % 8, 0);
            assert!((1..=4096).contains(&(filter.len() / 8)));
        }
    }
}
