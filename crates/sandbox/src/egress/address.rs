//! Which addresses are on the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses: the base as a number and the length of the common prefix.
struct Block4(u32, u32);

const fn block(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> Block4 {
    Block4(u32::from_be_bytes([a, b, c, d]), prefix)
}

/// IPv4 blocks that are not globally reachable. Source: IANA IPv4 Special-Purpose Address Registry, plus multicast and
/// the reserved end.
const NOT_GLOBAL_4: &[Block4] = &[
    block(0, 0, 0, 0, 8),
    block(10, 0, 0, 0, 8),
    block(100, 64, 0, 0, 10),
    block(127, 0, 0, 0, 8),
    block(169, 254, 0, 0, 16),
    block(172, 16, 0, 0, 12),
    block(192, 0, 0, 0, 24),
    block(192, 0, 2, 0, 24),
    block(192, 88, 99, 0, 24),
    block(192, 168, 0, 0, 16),
    block(198, 18, 0, 0, 15),
    block(198, 51, 100, 0, 24),
    block(203, 0, 113, 0, 24),
    block(224, 0, 0, 0, 4),
    block(240, 0, 0, 0, 4),
];

/// Whether an address is on the public internet, in whatever form it is written or embedded.
///
/// Forms that carry an IPv4 address inside an IPv6 one are judged by the inner address where packets really go there
/// (mapped, NAT64), and refused where nobody should need them (6to4, Teredo).
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_global_4(it),
        IpAddr::V6(it) => is_global_6(it),
    }
}

fn is_global_4(address: Ipv4Addr) -> bool {
    let number = u32::from(address);
    let covers = |block: &Block4| (number ^ block.0) >> (32 - block.1) == 0;
    !NOT_GLOBAL_4.iter().any(covers)
}

fn is_global_6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_global_4(inner);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inner = || {
        let ([w, x], [y, z]) = (g.to_be_bytes(), h.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    match [a, b, c, d, e, f] {
        // NAT64, RFC 6052: the packet goes to the inner address.
        [0x64, 0xff9b, 0, 0, 0, 0] => is_global_4(inner()),
        // Assigned for special protocols: Teredo, benchmarking, ORCHID and more.
        [0x2001, 0..=0x01ff, ..] => false,
        // Documentation, RFC 3849 and RFC 9637.
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // 6to4, deprecated by RFC 7526.
        [0x2002, ..] => false,
        // Global unicast, RFC 4291. Everything else is local, multicast, unassigned or an old way to embed IPv4.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // covers: S37, D21
    #[test]
    fn no_notation_makes_a_local_address_public() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.255.255.254",
            "0.0.0.0",
            "0",
            "0x0",
            "10.0.0.1",
            "10.255.255.255",
            "012.0.0.1",
            "0xa.0.0.1",
            "167772161",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.1",
            "0xc0a80001",
            "3232235521",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:2::1]",
            "[2001:10::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[2002:a00:1::1]",
            "[3fff::1]",
            "[5f00::1]",
            "[fc00::1]",
            "[fd12:3456:789a::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "127。0。0。1",
            "①②⑦.0.0.1",
        ];
        assert!(40 <= hosts.len());
        for host in hosts {
            let url = url::Url::parse(&format!("http://{host}/")).unwrap();
            let address = match url.host().unwrap() {
                url::Host::Ipv4(it) => IpAddr::V4(it),
                url::Host::Ipv6(it) => IpAddr::V6(it),
                url::Host::Domain(it) => panic!("{host} was read as the name {it}"),
            };
            assert!(!is_global(address), "{host} is {address}");
        }
    }

    #[test]
    fn public_addresses_stay_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_global(address.parse().unwrap()), "{address}");
        }
    }
}
