//! Switches on the loopback interface of a new network namespace, so that programs inside can talk to themselves.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

// Source: include/uapi/linux/rtnetlink.h, netlink.h and if.h of Linux 6.18.
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// The loopback is the first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Header (16 bytes) and link message (16 bytes).
const MESSAGE_BYTES: u32 = 32;

pub(super) fn switch_on() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Routes are the protocol with the number 0.
        None,
    )?;
    rustix::net::send(&socket, &message(), SendFlags::empty())?;
    let mut answer = [0_u8; 256];
    let (n, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    judge(answer.get(..n).unwrap_or_default())
}

fn message() -> Vec<u8> {
    let header = [
        &MESSAGE_BYTES.to_ne_bytes()[..],
        &RTM_NEWLINK.to_ne_bytes(),
        &(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes(),
        // Sequence and sender: there is one message, and the kernel knows us.
        &[0; 8],
    ];
    let link = [
        // Family, padding and kind: any.
        &[0; 4][..],
        &LOOPBACK_INDEX.to_ne_bytes(),
        &IFF_UP.to_ne_bytes(),
        // Which flags are meant.
        &IFF_UP.to_ne_bytes(),
    ];
    [header.concat(), link.concat()].concat()
}

/// The answer is an error message whose number is 0 when all is well.
fn judge(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|it| it.try_into().ok());
    let number = answer.get(16..20).and_then(|it| it.try_into().ok());
    match (kind.map(u16::from_ne_bytes), number.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(number)) => {
            Err(io::Error::from_raw_os_error(number.saturating_neg()))
        }
        _ => Err(io::Error::other("the kernel's answer makes no sense")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_message_is_as_long_as_it_says_and_a_refusal_is_told() {
        let message = message();
        assert_eq!(message.len(), 32);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        let answer = |number: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
            bytes[16..20].copy_from_slice(&number.to_ne_bytes());
            bytes
        };
        assert!(judge(&answer(0)).is_ok());
        let refused = judge(&answer(-1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(judge(&[]).is_err());
    }
}
