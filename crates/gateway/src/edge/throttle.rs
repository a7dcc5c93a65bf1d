//! Failed credentials are counted per source and class, loopback included (S7).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failures within [`WINDOW`] before a source is locked out.
pub(crate) const FAILURES_MAX: u32 = 10;
/// In which failures are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// How long a source is locked out.
pub(crate) const LOCKED: Duration = Duration::from_secs(5 * 60);
/// Sources remembered; beyond, the oldest are forgotten first.
const SOURCES_MAX: usize = 4_096;

/// What kind of credential was wrong. One class however the field is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Whatever was compared with the shared token: bearer header, `auth.token`, `auth.password`, `auth.deviceToken`.
    Shared,
    /// A device signature.
    Device,
    /// Whatever was compared with the token of a device that had proved its key.
    DeviceToken,
    /// A setup code.
    Setup,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    since: Duration,
    locked_until: Option<Duration>,
}

/// The counters.
#[derive(Default)]
pub(crate) struct Throttle {
    sources: Mutex<HashMap<(IpAddr, Class), Record>>,
}

impl Throttle {
    /// How long this source must wait before a credential of this class is looked at.
    pub(crate) fn locked(&self, source: IpAddr, class: Class, now: Duration) -> Option<Duration> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let until = sources.get(&(canonical(source), class))?.locked_until?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Counts a wrong credential.
    pub(crate) fn failed(&self, source: IpAddr, class: Class, now: Duration) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX {
            let oldest = sources
                .iter()
                .min_by_key(|(_, record)| record.since)
                .map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                sources.remove(&oldest);
            }
        }
        let fresh = Record {
            failures: 0,
            since: now,
            locked_until: None,
        };
        let record = sources.entry((canonical(source), class)).or_insert(fresh);
        let lapsed = record.locked_until.is_some_and(|until| until <= now);
        if lapsed || record.since + WINDOW <= now && record.locked_until.is_none() {
            *record = fresh;
        }
        record.failures += 1;
        if record.failures >= FAILURES_MAX && record.locked_until.is_none() {
            record.locked_until = Some(now + LOCKED);
        }
    }
}

/// One source, whether it came as IPv4 or as IPv4 within IPv6; an IPv6 network of 64 bits is one source.
fn canonical(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn ten_failures_in_a_minute_lock_a_source_for_five_minutes_loopback_included() {
        // covers: S7, D4
        let throttle = Throttle::default();
        for n in 0..9 {
            throttle.failed(LOCAL, Class::Shared, at(n));
        }
        assert_eq!(throttle.locked(LOCAL, Class::Shared, at(9)), None);
        throttle.failed(LOCAL, Class::Shared, at(9));
        assert_eq!(throttle.locked(LOCAL, Class::Shared, at(9)), Some(LOCKED));
        assert_eq!(throttle.locked(LOCAL, Class::Device, at(9)), None);
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert!(throttle.locked(mapped, Class::Shared, at(10)).is_some());
        assert_eq!(throttle.locked(LOCAL, Class::Shared, at(9) + LOCKED), None);
    }

    #[test]
    fn attempts_while_locked_do_not_make_it_longer_and_a_lapsed_lock_starts_afresh() {
        let throttle = Throttle::default();
        for _ in 0..20 {
            throttle.failed(LOCAL, Class::Shared, at(0));
        }
        assert_eq!(throttle.locked(LOCAL, Class::Shared, at(299)), Some(at(1)));
        throttle.failed(LOCAL, Class::Shared, at(301));
        assert_eq!(throttle.locked(LOCAL, Class::Shared, at(301)), None);
    }

    #[test]
    fn failures_spread_over_time_do_not_lock() {
        let throttle = Throttle::default();
        for n in 0..100 {
            throttle.failed(LOCAL, Class::Shared, at(n * 10));
        }
        assert_eq!(throttle.locked(LOCAL, Class::Shared, at(1_000)), None);
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        // covers: S8
        let throttle = Throttle::default();
        for n in 0..10_000u32 {
            throttle.failed(
                IpAddr::V4(Ipv4Addr::from_bits(n)),
                Class::Shared,
                at(u64::from(n)),
            );
        }
        let n_sources = throttle.sources.lock().map(|s| s.len()).unwrap_or_default();
        assert!(n_sources <= SOURCES_MAX);
    }
}
